"""The states of a run, what may follow what, and the limits that hold for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentpane.domain.ids import AgentId, RunId, TaskId
from agentpane.errors import AgentPaneError, ErrorCode


class RunStatus(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


LIVE = frozenset({RunStatus.QUEUED, RunStatus.STARTING, RunStatus.RUNNING, RunStatus.PAUSED})
ACTIVE = frozenset({RunStatus.STARTING, RunStatus.RUNNING})

RESUMABLE = frozenset({RunStatus.PAUSED, RunStatus.ERROR, RunStatus.INTERRUPTED})

MAY_BECOME: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.STARTING, RunStatus.CANCELLED, RunStatus.PAUSED}),
    RunStatus.STARTING: frozenset(
        {RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.ERROR, RunStatus.CANCELLED, RunStatus.INTERRUPTED}
    ),
    RunStatus.RUNNING: frozenset(
        {RunStatus.PAUSED, RunStatus.COMPLETED, RunStatus.ERROR, RunStatus.CANCELLED, RunStatus.INTERRUPTED}
    ),
    RunStatus.PAUSED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset(),
    RunStatus.ERROR: frozenset({RunStatus.QUEUED, RunStatus.COMPLETED, RunStatus.CANCELLED}),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.INTERRUPTED: frozenset({RunStatus.QUEUED, RunStatus.COMPLETED, RunStatus.CANCELLED}),
}


class AgentType(StrEnum):
    TASK = "task"
    CONVERSATIONAL = "conversational"
    BACKGROUND = "background"


class AgentStatus(StrEnum):
    """What an agent does, derived from its newest live run."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    ERROR = "error"
    COMPLETED = "completed"


TURN_LIMITS: Mapping[AgentType, int] = {
    AgentType.TASK: 50,
    AgentType.CONVERSATIONAL: 100,
    AgentType.BACKGROUND: 200,
}
TURN_WARNING_SHARE = 0.8

QUEUE_CAP = 50
PAUSED_PLACE_SECONDS = 600.0  # a paused run keeps its place in the project for this long


class PauseReason(StrEnum):
    """Why a run waits for a person."""

    APPROVAL = "approval"
    TURN_LIMIT = "turn_limit"
    KEY = "key"
    SPEND_LIMIT = "spend_limit"
    PERSON = "person"
    QUESTION = "question"
    PLAN = "plan"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class RunError:
    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt by one agent at one task. Tokens of `input_tokens` include what the cache served."""

    id: RunId
    task_id: TaskId
    agent_id: AgentId
    agent: str
    backend: str
    model: str
    status: RunStatus
    turns: int
    turn_limit: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  # None: unknown, never to be shown as nothing
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    pause_reason: PauseReason | None
    sandbox_tier: str | None
    error: RunError | None
    paused_at: datetime | None = None
    context_used: int | None = None  # tokens that the newest request held
    context_window: int | None = None  # tokens that the model takes
    parent_run_id: RunId | None = None  # of a sub-agent's run: whose it is
    depth: int = 0
    rested_ms: int = 0  # since it began, how long it was paused, stopped over an error, or waited to go on


def turn_limit_is_near(turns: int, limit: int) -> bool:
    """Whether a run has used so many of its turns that the person should know."""
    return turns >= limit * TURN_WARNING_SHARE


def check_step(current: RunStatus, to: RunStatus) -> None:
    """Raises AgentPaneError with AGENT_NOT_RUNNING if a run may not go from `current` to `to`."""
    if to not in MAY_BECOME[current]:
        raise AgentPaneError(
            ErrorCode.AGENT_NOT_RUNNING,
            f"The run is {current} and cannot become {to}.",
            hint="Look at the card: it shows what the run is doing. Nothing has changed.",
            details={"status": current.value},
        )


def live_run(runs: Sequence[Run]) -> Run | None:
    """Of a card's runs, oldest first, the one that is queued, working or paused."""
    return next((run for run in reversed(runs) if run.status in LIVE), None)


def agent_status(newest: RunStatus | None) -> AgentStatus:
    """The status of an agent whose newest run has this status."""
    if newest is None or newest in {RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.INTERRUPTED}:
        return AgentStatus.IDLE
    return AgentStatus(newest.value)
