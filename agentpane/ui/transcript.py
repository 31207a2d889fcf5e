"""A session's events as the blocks that a person reads. Pure: it knows no widget.

A call and its result are one block; a turn that was cut off is taken back; what is being written now is not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from PySide6.QtCore import QCoreApplication

from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.ui import figures
from agentpane.ui.plain import one_line
from agentpane.ui.tool_text import content_text


def tr(text: str) -> str:
    return QCoreApplication.translate("transcript", text)


class BlockKind(StrEnum):
    SAID = "said"  # by a person, or in a person's place
    TEXT = "text"
    THOUGHT = "thought"
    CALL = "call"
    NOTE = "note"
    OUTPUT = "output"
    FAULT = "fault"


@dataclass(slots=True)
class Block:
    """One thing in the transcript. A call's block changes when its result comes."""

    kind: BlockKind
    at: datetime
    turn: int
    text: str = ""
    icon: str = ""
    token: str = "muted"
    # of a call
    call_id: str = ""
    tool: str = ""
    input: JsonObject = field(default_factory=dict)
    result: str | None = None
    blob: str | None = None  # where the whole of a long result is
    failed: bool = False
    denied: str = ""
    started: bool = False
    duration_ms: int | None = None
    discarded: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What the agent wants to know, and the answers that it offers."""

    text: str
    options: tuple[str, ...]


class Transcript:
    """Takes events in order and keeps the blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.last_seq = 0
        self._calls: dict[str, Block] = {}
        self.question: Question | None = None  # the newest one that nobody has answered

    def take(self, events: Iterable[SessionEvent]) -> tuple[list[Block], list[Block]]:
        """Take events in. Returns the blocks that are new, and those that have changed."""
        new: list[Block] = []
        changed: list[Block] = []
        for event in events:
            if event.seq <= self.last_seq:
                continue
            self.last_seq = event.seq
            block = self._block(event, changed)
            if block is not None:
                new.append(block)
        self.blocks += new
        return new, [block for block in changed if not any(block is other for other in new)]

    def _block(self, event: SessionEvent, changed: list[Block]) -> Block | None:
        data = event.data
        match event.kind:
            case EventKind.TEXT:
                return self._plain(event, BlockKind.TEXT, str(data.get("text", "")))
            case EventKind.THINKING:
                return self._plain(event, BlockKind.THOUGHT, str(data.get("text", "")))
            case EventKind.QUESTION:
                options = data.get("options")
                offered = tuple(str(one) for one in options) if isinstance(options, list) else ()
                self.question = Question(str(data.get("question", "")), offered)
                return note_of(event)
            case EventKind.USER_MESSAGE | EventKind.ANSWER:
                self.question = None
                return self._plain(event, BlockKind.SAID, str(data.get("text", "")))
            case EventKind.TOOL_CALL:
                return self._call(event)
            case EventKind.TOOL_RESULT:
                return self._result(event, changed)
            case EventKind.TERMINAL_OUTPUT:
                return self._output(event)
            case EventKind.ERROR:
                text = " ".join(str(data.get(key, "")) for key in ("message", "hint")).strip()
                return Block(BlockKind.FAULT, event.at, event.turn, text)
            case EventKind.STATE:
                return self._state(event, changed)
            case _:
                return note_of(event)

    def _plain(self, event: SessionEvent, kind: BlockKind, text: str) -> Block | None:
        return Block(kind, event.at, event.turn, text) if text.strip() else None

    def _call(self, event: SessionEvent) -> Block:
        given = event.data.get("input")
        block = Block(
            BlockKind.CALL,
            event.at,
            event.turn,
            call_id=str(event.data.get("call_id", "")),
            tool=str(event.data.get("name", "")),
            input=given if isinstance(given, dict) else {},
        )
        self._calls[block.call_id] = block
        return block

    def _result(self, event: SessionEvent, changed: list[Block]) -> Block | None:
        data = event.data
        block = self._calls.get(str(data.get("call_id", "")))
        if block is None:
            return None
        block.result = content_text(data.get("content"))
        block.failed = data.get("is_error") is True
        block.denied = str(data.get("denied") or "")
        duration = data.get("duration_ms")
        block.duration_ms = duration if isinstance(duration, int) else None
        moved = data.get("blobs")
        where = moved.get("content") if isinstance(moved, dict) else None
        block.blob = str(where["id"]) if isinstance(where, dict) and "id" in where else None
        changed.append(block)
        return None

    def _output(self, event: SessionEvent) -> Block:
        data = event.data
        status = data.get("exit_code")
        block = Block(
            BlockKind.CALL, event.at, event.turn, tool=str(data.get("step", "")).replace("_", " ").capitalize()
        )
        block.input = {"command": data.get("command", "")}
        block.result = content_text(data.get("output"))
        block.failed = status not in (0, None)
        return block

    def _state(self, event: SessionEvent, changed: list[Block]) -> Block | None:
        state = event.data.get("state")
        if state == "tool_started":
            block = self._calls.get(str(event.data.get("call_id", "")))
            if block is not None:
                block.started = True
                changed.append(block)
            return None
        if state == "turn_discarded":
            for block in self.blocks:
                if block.turn == event.turn and block.kind is not BlockKind.SAID and not block.discarded:
                    block.discarded = True
                    changed.append(block)
        return note_of(event)


NOTES = {
    "queued": ("queue", "muted", "Queued for {agent}, {model}"),
    "running": ("play", "accent", "Started, sandbox tier {sandbox_tier}"),
    "paused": ("pause", "attention", "Paused: {reason}"),
    "completed": ("check", "success", "Finished"),
    "cancelled": ("stop", "muted", "Stopped"),
    "interrupted": ("alert", "danger", "Interrupted: the engine ended"),
    "turn_discarded": ("retry", "attention", "The answer was cut off and is asked for again"),
    "afresh": ("retry", "muted", "Started afresh"),
    "merge_refused": ("alert", "attention", "The merge was refused: {code}"),
    "merged": ("merge", "success", "Merged"),
    "not_trusted": ("alert", "attention", "Left out until you trust it: {pending}"),
    "turn_limit_near": ("alert", "attention", "{turns} of {limit} turns are used"),
    "sub_run": ("play", "accent", "Sub-agent {agent}: {description}"),
    "background_ended": ("info", "muted", "Commands in the background were ended with the pause: {shells}"),
    "worktree_stays": ("alert", "attention", "The worktree could not be removed: {message}"),
    "rejected": ("x", "attention", "Rejected"),
    "budget_near": ("coin", "attention", "{message}"),
    "compacted": ("half", "muted", "The conversation was summarised; it had {before} tokens"),
    "host_refused": ("shield", "attention", "A command wanted to reach {host}, which is not allowed"),
}


def note_of(event: SessionEvent) -> Block | None:
    """A line about what happened around the conversation, or None for what need not be said."""
    data = {key: one_line(_words(value)) for key, value in event.data.items() if value is not None}
    match event.kind:
        case EventKind.STATE:
            icon, token, words = NOTES.get(data.get("state", ""), ("info", "muted", ""))
            if data.get("code") == "TASK_NO_DIFF":
                icon, token, words = "info", "attention", "Finished without changing anything"
            text = fill_in(tr(words), data) if words else ""
        case EventKind.WORKTREE:
            icon, token, text = "branch", "muted", fill_in(tr("Worktree {state} on {branch}"), data)
        case EventKind.SNAPSHOT:
            icon, token = "commit", "success"
            text = fill_in(tr("Snapshot {sha:.10}: +{added} −{removed} in {files} files"), data)
        case EventKind.RETRY:
            icon, token, text = "retry", "attention", fill_in(tr("{reason} Try {attempt} of {of}"), data)
        case EventKind.QUESTION:
            icon, token, text = "message", "attention", data.get("question", data.get("text", ""))
        case EventKind.APPROVAL_DECIDED:
            allowed = data.get("state") == "allowed"
            icon, token = ("check", "success") if allowed else ("x", "danger")
            text = tr("You allowed the call") if allowed else tr("You denied the call")
            if data.get("message"):
                text += f": {data['message']}"
        case _:
            return None
    return Block(BlockKind.NOTE, event.at, event.turn, text, icon, token) if text else None


def _words(value: JsonValue) -> str:
    return "; ".join(str(item) for item in value) if isinstance(value, list) else str(value)


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "–"


def fill_in(words: str, data: dict[str, str]) -> str:
    return words.format_map(_Blank(data))


def outcome(block: Block) -> tuple[str, str, str]:
    """How a call stands: icon, token, word."""
    if block.denied:
        return "x", "danger", tr("denied")
    if block.result is None:
        return ("clock", "accent", tr("running")) if block.started else ("clock", "muted", tr("waiting"))
    took = figures.milliseconds(block.duration_ms) if block.duration_ms is not None else ""
    return ("error", "danger", took or tr("failed")) if block.failed else ("check", "success", took or tr("done"))
