"""A task: as a card on the board, and whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentpane.domain.board import Column
from agentpane.domain.checks import CheckResult
from agentpane.domain.conflicts import Conflict, Overlap
from agentpane.domain.ids import AgentId, ProjectId, SessionId, TaskId
from agentpane.domain.resolving import Resolving
from agentpane.domain.runs import PauseReason, Run, RunStatus


@dataclass(frozen=True, slots=True)
class RunBrief:
    """What a card shows of its newest run."""

    status: RunStatus
    turns: int
    turn_limit: int
    cost_usd: float | None
    started_at: datetime | None
    ended_at: datetime | None
    queue_place: int | None  # 1 is next
    pause_reason: PauseReason | None
    sandbox_tier: str | None
    error_code: str | None
    error_message: str | None
    paused_at: datetime | None = None
    backend: str = ""
    context_used: int | None = None  # tokens that the newest request held
    context_window: int | None = None  # tokens that the model takes
    question: str | None = None  # what it asks a person, while it waits for the answer
    rested_ms: int = 0  # see `Run`


class TodoState(StrEnum):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Todo:
    """One line of an agent's own list."""

    text: str
    state: TodoState


@dataclass(frozen=True, slots=True)
class TaskCard:
    """A task as the board shows it: a plain value, safe on any thread."""

    id: TaskId
    project_id: ProjectId
    title: str
    labels: tuple[str, ...]
    column: Column
    position: int  # 0 is the top
    agent_id: AgentId | None
    agent: str | None
    run: RunBrief | None
    files_changed: int | None
    lines_added: int | None
    lines_removed: int | None
    rejection_count: int
    conflicts: tuple[Conflict, ...]  # with the base branch as it is
    code: str | None  # TASK_NO_DIFF and the like
    approvals_pending: int
    updated_at: datetime
    todos: tuple[Todo, ...] = ()
    checks: tuple[CheckResult, ...] = ()  # of its snapshot, in their order
    overlaps: tuple[Overlap, ...] = ()  # with other cards that wait or run
    resolving: Resolving | None = None  # while a conflict is being resolved in its worktree
    restored: bool = False  # what was restored lies in its worktree, and the next run goes on from there
    archived_at: datetime | None = None  # it is off the board since then


@dataclass(frozen=True, slots=True)
class Task:
    """Everything about one task."""

    card: TaskCard
    description: str
    branch: str | None
    base_branch: str | None
    base_sha: str | None
    worktree: str | None  # absolute path
    snapshot: str | None
    merge_commit: str | None
    rejection_reason: str | None
    session_id: SessionId | None
    created_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    runs: tuple[Run, ...]  # oldest first

    @property
    def is_restored(self) -> bool:
        """Whether restored work lies in its worktree: the next run goes on from there."""
        return self.card.column is Column.BACKLOG and self.worktree is not None
