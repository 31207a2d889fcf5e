"""A session: the durable, replayable record of what happened to one task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentpane.domain.ids import RunId
from agentpane.domain.json import JsonObject

EVENT_LIMIT = 64 * 1024  # bytes of one event's data as JSON; longer outputs are stored beside and referred to


class EventKind(StrEnum):
    TEXT = "text"
    THINKING = "thinking"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_DECIDED = "approval_decided"
    QUESTION = "question"
    ANSWER = "answer"
    USER_MESSAGE = "user_message"
    TURN_STARTED = "turn_started"
    TURN_FINISHED = "turn_finished"
    USAGE = "usage"
    RETRY = "retry"
    STATE = "state"
    WORKTREE = "worktree"
    SNAPSHOT = "snapshot"
    TERMINAL_OUTPUT = "terminal_output"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One entry of a session. `seq` starts at 1 and has no gaps; `turn` is 0 outside any turn."""

    seq: int
    at: datetime
    kind: EventKind
    turn: int
    run_id: RunId | None
    data: JsonObject


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that has not been stored yet, and so has no number."""

    at: datetime
    kind: EventKind
    turn: int
    run_id: RunId | None
    data: JsonObject
