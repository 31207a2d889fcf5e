"""What a session's events say beside the conversation: files seen, commands left in the background, open questions.

Each function is given the events of one conversation, in order and with whole data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentpane.domain.json import JsonObject
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.transcript import AFRESH, BACKGROUND_ENDED

ENDED_WITH_THE_RUN = "run"


@dataclass(frozen=True, slots=True)
class Background:
    """started: how many commands the conversation has begun. left: those of whose end the agent does not know."""

    started: int
    left: tuple[str, ...]


def files_seen(events: Iterable[SessionEvent]) -> dict[str, str]:
    """Each file that the agent has read or written, with the SHA-256 of what it knows of it."""
    seen: dict[str, str] = {}
    for event in events:
        if _is_afresh(event):
            seen.clear()
        elif event.kind is EventKind.TOOL_RESULT:
            told = _object(_object(event.data.get("data")).get("seen"))
            if "path" in told:
                seen[str(told["path"])] = str(told["sha256"])
    return seen


def background(events: Iterable[SessionEvent]) -> Background:
    started = 0
    left: dict[str, None] = {}
    for event in events:
        data = event.data
        if event.kind is EventKind.TOOL_RESULT:
            name = _object(data.get("data")).get("shell_id")
            if isinstance(name, str):
                started += 1
                left[name] = None
        elif event.kind is EventKind.TERMINAL_OUTPUT and data.get("by") not in (None, ENDED_WITH_THE_RUN):
            left.pop(str(data.get("shell_id")), None)
        elif event.kind is EventKind.STATE and (data.get("state") == BACKGROUND_ENDED or _is_afresh(event)):
            left.clear()
    return Background(started, tuple(left))


def open_question(events: Sequence[SessionEvent]) -> SessionEvent | None:
    """The oldest question of the session that has no answer."""
    waiting: dict[tuple[str | None, str], SessionEvent] = {}
    for event in events:
        key = (event.run_id, str(event.data.get("call_id")))
        if event.kind is EventKind.QUESTION:
            waiting[key] = event
        elif event.kind in (EventKind.ANSWER, EventKind.TOOL_RESULT):
            waiting.pop(key, None)
        elif _is_afresh(event):
            waiting.clear()
    return next(iter(waiting.values()), None)


def question_of(events: Sequence[SessionEvent], run_id: str, turn: int, call_id: str) -> SessionEvent | None:
    """The question that this very call has asked."""
    for event in reversed(events):
        asked = (event.kind, event.run_id, event.turn, event.data.get("call_id"))
        if asked == (EventKind.QUESTION, run_id, turn, call_id):
            return event
    return None


def answer_to(events: Sequence[SessionEvent], question: SessionEvent) -> str | None:
    wanted = (EventKind.ANSWER, question.run_id, question.data.get("call_id"))
    for event in events:
        if event.seq > question.seq and (event.kind, event.run_id, event.data.get("call_id")) == wanted:
            return str(event.data["text"])
    return None


def _is_afresh(event: SessionEvent) -> bool:
    return event.kind is EventKind.STATE and event.data.get("state") == AFRESH


def _object(value: object) -> JsonObject:
    return value if isinstance(value, Mapping) else {}
