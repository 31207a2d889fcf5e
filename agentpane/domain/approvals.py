"""The approval of one tool call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentpane.domain.ids import ApprovalId, ProjectId, RunId, TaskId
from agentpane.domain.json import JsonObject


class ApprovalState(StrEnum):
    PENDING = "pending"
    ALLOWED = "allowed"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"  # its run was cancelled before anybody decided, or its call has become another


@dataclass(frozen=True, slots=True)
class Approval:
    id: ApprovalId
    project_id: ProjectId
    task_id: TaskId
    run_id: RunId
    call_id: str  # the model's own id of the tool call
    tool: str
    input: JsonObject
    summary: str  # one line: the command, or the path
    state: ApprovalState
    message: str | None  # what the agent reads when it is denied
    requested_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    rules: tuple[str, ...] = ()  # what "always" would allow in this project, as rules
    detail: str = ""  # the whole command, the diff or the plan that is asked about
    edited: JsonObject | None = None  # the input as the person changed it before allowing it

    def is_about(self, tool: str, input: JsonObject, detail: str) -> bool:
        """Whether this is what such a call would ask: the same tool and input, and the same to be seen."""
        same_call = (self.tool, dict(self.input)) == (tool, dict(input))
        return same_call and _stored(self.detail) == _stored(detail)


def _stored(words: str) -> bytes:
    """As a database keeps them, which has no half surrogates."""
    return words.encode("utf-8", "backslashreplace")
