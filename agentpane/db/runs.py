"""Runs: queued, started, followed to their end. The derived columns of their agents are kept up here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Float, and_, bindparam, case, func, insert, or_, select, update
from sqlalchemy import Connection as Connection

from agentpane.db import agents
from agentpane.db.references import by_prefix, new_id
from agentpane.db.run_rows import RunRow as RunRow
from agentpane.db.run_rows import run_row, run_rows
from agentpane.db.schema import AgentTable, ProjectTable, RunTable
from agentpane.domain.ids import AgentId, ProjectId, RunId, SessionId, TaskId
from agentpane.domain.policy import Policy
from agentpane.domain.runs import (
    ACTIVE,
    LIVE,
    PAUSED_PLACE_SECONDS,
    QUEUE_CAP,
    Run,
    RunError,
    RunStatus,
    check_step,
)
from agentpane.errors import AgentPaneError, ErrorCode

_R = RunTable
_ACTIVE = tuple(status for status in RunStatus if status in ACTIVE)
_LIVE = tuple(status for status in RunStatus if status in LIVE)
_ENDED = frozenset({RunStatus.COMPLETED, RunStatus.ERROR, RunStatus.CANCELLED, RunStatus.INTERRUPTED})
_SETTABLE = frozenset(
    {
        "pause_reason",
        "error",
        "result",
        "sandbox_tier",
        "turn_limit",
        "model",
        "session_id",
        "budget_usd",
        "budget_tokens",
        "unpriced_accepted",
    }
)


_WANTED: BindParameter[Any] = bindparam("wanted")
_RUN = run_rows().where(_R.id == _WANTED)
# What a card, the queue and the supervisor know of are a person's runs; those of sub-agents live inside them.
_OWN = _R.depth == 0
_OF_TASK = run_rows().where(_R.task_id == _WANTED, _OWN).order_by(_R.number)
_LIVE_OF_TASK = run_rows().where(_R.task_id == _WANTED, _OWN, _R.status.in_(_LIVE))
_ACTIVE_ONES = run_rows().where(_OWN, _R.status.in_(_ACTIVE)).order_by(_R.number)
_LIVE_ONES = run_rows().where(_OWN, _R.status.in_(_LIVE)).order_by(_R.number)
_WAITING = select(func.count()).where(_R.project_id == _WANTED, _OWN, _R.status == RunStatus.QUEUED)
_QUEUE = (
    select(_R.id, _R.task_id, _R.project_id, ProjectTable.max_concurrent_agents)
    .join(ProjectTable, ProjectTable.id == _R.project_id)
    .where(_OWN, _R.status == RunStatus.QUEUED, _R.task_id.is_not(None))
    .order_by(_R.queued_at, _R.number)
)
_OCCUPYING = select(func.count()).where(
    _R.project_id == _WANTED,
    _OWN,
    or_(_R.status.in_(_ACTIVE), and_(_R.status == RunStatus.PAUSED, _R.paused_at > bindparam("since"))),
)
_STATUS = select(_R.status).where(_R.id == _WANTED)
_TALLIES = select(_R.tool_calls).where(_R.id == _WANTED)
_NEXT_NUMBER = select(func.coalesce(func.max(_R.number), 0) + 1)
_BACKEND = select(AgentTable.backend).where(AgentTable.id == _WANTED)
_UPDATE = update(_R).where(_R.id == _WANTED)
_ANCESTORS = select(_R.ancestors).where(_R.id == _WANTED)
_BELOW = update(_R).where(_R.root_run_id == _WANTED)
_CUT_OFF = _BELOW.where(_R.status.in_(_ACTIVE)).values(
    status=RunStatus.INTERRUPTED, completed_at=bindparam("at"), paused_at=None, pause_reason=None
)
_GIVEN_UP = _BELOW.where(_R.status.not_in((RunStatus.COMPLETED, RunStatus.ERROR, RunStatus.CANCELLED))).values(
    status=RunStatus.CANCELLED, completed_at=bindparam("at"), paused_at=None, pause_reason=None
)
_COST: BindParameter[Any] = bindparam("cost", type_=Float)
_USE = _UPDATE.values(
    turn_count=_R.turn_count + bindparam("turns"),
    token_input_count=_R.token_input_count + bindparam("input"),
    token_output_count=_R.token_output_count + bindparam("output"),
    # Nothing is known yet before the first turn; a cost that is unknown later stays so.
    cost_usd=case(
        (and_(_R.cost_usd.is_(None), _R.turn_count > 0), None), else_=func.coalesce(_R.cost_usd, 0.0) + _COST
    ),
)


@dataclass(frozen=True, slots=True)
class NewRun:
    """`policy`: None is the project's."""

    task_id: TaskId
    project_id: ProjectId
    agent_id: AgentId
    session_id: SessionId
    prompt: str
    model: str
    turn_limit: int
    policy: str | None = None
    plan: bool = False


@dataclass(frozen=True, slots=True)
class QueuedRun:
    run_id: RunId
    task_id: TaskId
    project_id: ProjectId
    max_concurrent: int


def create(connection: Connection, new: NewRun, at: datetime) -> Run:
    """Queue a run.

    Raises AgentPaneError with AGENT_ALREADY_RUNNING if the task has a live run, QUEUE_FULL if too many wait.
    """
    _check_alone(connection, new.task_id)
    if connection.execute(_WAITING, {"wanted": new.project_id}).scalar_one() >= QUEUE_CAP:
        raise AgentPaneError(
            ErrorCode.QUEUE_FULL,
            f"{QUEUE_CAP} runs of this project wait already.",
            hint="Wait until some have started, or allow more agents at once in the project's settings.",
        )
    run_id = RunId(new_id())
    connection.execute(
        insert(_R),
        {
            "id": run_id,
            "number": connection.execute(_NEXT_NUMBER).scalar_one(),
            "agent_id": new.agent_id,
            "task_id": new.task_id,
            "project_id": new.project_id,
            "session_id": new.session_id,
            "status": RunStatus.QUEUED,
            "prompt": new.prompt,
            "backend": connection.execute(_BACKEND, {"wanted": new.agent_id}).scalar_one().value,
            "model": new.model,
            "turn_limit": new.turn_limit,
            "policy": None if new.policy is None else Policy(new.policy),
            "plan": new.plan,
            "queued_at": at,
        },
    )
    agents.follow_runs(connection, new.agent_id, at)
    return get(connection, run_id)


def row(connection: Connection, run_id: RunId) -> RunRow:
    found = connection.execute(_RUN, {"wanted": run_id}).one_or_none()
    if found is None:
        raise not_found(run_id)
    return run_row(found)


def get(connection: Connection, run_id: RunId) -> Run:
    return row(connection, run_id).value()


def resolve(connection: Connection, ref: str) -> RunId:
    """The run that an id or a unique beginning of one means."""
    run_id = by_prefix(connection, "run", _R.id, ref)
    if run_id is None:
        raise not_found(ref)
    return RunId(run_id)


def of_task(connection: Connection, task_id: TaskId) -> tuple[Run, ...]:
    """The runs of a task, oldest first, without those of sub-agents."""
    found = connection.execute(_OF_TASK, {"wanted": task_id}).all()
    return tuple(run_row(one).value() for one in found)


def live_for_task(connection: Connection, task_id: TaskId) -> RunRow | None:
    found = connection.execute(_LIVE_OF_TASK, {"wanted": task_id}).one_or_none()
    return None if found is None else run_row(found)


def start(connection: Connection, run_id: RunId, at: datetime) -> bool:
    """Take a run out of the queue; False if it is not queued any longer."""
    if connection.execute(_STATUS, {"wanted": run_id}).scalar_one_or_none() is not RunStatus.QUEUED:
        return False
    set_status(connection, run_id, RunStatus.STARTING, at)
    return True


def set_status(connection: Connection, /, run_id: RunId, to: RunStatus, at: datetime, **fields: Any) -> Run:
    """Take a run's next step, with what changes beside it (`pause_reason`, `error`, `result`, `sandbox_tier`,
    `turn_limit`, `model`, `session_id`). Times, the pause's reason and the agent's columns follow by themselves.

    Raises AgentPaneError with AGENT_NOT_RUNNING if the step is not allowed, AGENT_ALREADY_RUNNING if it would
    bring a run back to life beside another of its task.
    """
    unknown = fields.keys() - _SETTABLE
    if unknown:
        raise ValueError(f"not to be set: {', '.join(sorted(unknown))}")
    before = row(connection, run_id)
    check_step(before.status, to)
    if before.status not in LIVE and to in LIVE and before.depth == 0:
        _check_alone(connection, before.task_id)
    values = _consequences(before, to, at) | _columns(fields)
    connection.execute(_UPDATE, {"wanted": run_id, "status": to, **values})
    _settle_below(connection, run_id, to, at)
    agents.follow_runs(connection, before.agent_id, at)
    error = fields.get("error")
    if to is RunStatus.ERROR and isinstance(error, RunError):
        agents.note_error(connection, before.agent_id, error.message, at)
    return get(connection, run_id)


def add_usage(
    connection: Connection,
    run_id: RunId,
    turns: int,
    input_tokens: int,
    output_tokens: int,
    cost_usd: float | None,
    at: datetime,
) -> None:
    """Add what a model call used, to the run and to those whose sub-agent it is; turns are its own only.

    A cost that is unknown once leaves the run's cost unknown.
    """
    used = {"input": input_tokens, "output": output_tokens, "cost": cost_usd}
    if connection.execute(_USE, {"wanted": run_id, "turns": turns, **used}).rowcount == 0:
        raise not_found(run_id)
    for ancestor in connection.execute(_ANCESTORS, {"wanted": run_id}).scalar_one():
        connection.execute(_USE, {"wanted": ancestor, "turns": 0, **used})


def conversation_of(connection: Connection, task_id: TaskId, agent_id: AgentId) -> str | None:
    """The name of the newest conversation that this agent has of this task, if it keeps its conversations itself."""
    named = select(_R.backend_session).where(
        _R.task_id == task_id, _R.agent_id == agent_id, _R.backend_session.is_not(None)
    )
    return connection.execute(named.order_by(_R.number.desc()).limit(1)).scalar_one_or_none()


def name_conversation(connection: Connection, run_id: RunId, name: str) -> None:
    """Keep under which name an agent has this run's conversation."""
    connection.execute(_UPDATE, {"wanted": run_id, "backend_session": name})


def measure_context(connection: Connection, run_id: RunId, used: int, window: int | None) -> None:
    """Keep how many tokens the newest request held, of how many that the model takes."""
    connection.execute(_UPDATE, {"wanted": run_id, "context_used": used, "context_window": window})


def count_tool_call(connection: Connection, run_id: RunId, tool: str, duration_ms: int) -> None:
    """Add one call to the run's summary of tools."""
    tallies = connection.execute(_TALLIES, {"wanted": run_id}).scalar_one_or_none()
    if tallies is None:
        raise not_found(run_id)
    counted = {one.tool: (one.count, one.total_duration) for one in tallies}
    count, duration = counted.get(tool, (0, 0))
    counted[tool] = (count + 1, duration + duration_ms)
    summary = [{"tool": name, "count": n, "total_duration": ms} for name, (n, ms) in counted.items()]
    connection.execute(_UPDATE, {"wanted": run_id, "tool_calls": summary})


def queued(connection: Connection) -> tuple[QueuedRun, ...]:
    """The runs that wait, first in first."""
    found = connection.execute(_QUEUE)
    return tuple(QueuedRun(RunId(one[0]), TaskId(str(one[1])), ProjectId(one[2]), one[3]) for one in found)


def active(connection: Connection) -> tuple[RunRow, ...]:
    """The runs that are starting or running, without those of sub-agents."""
    found = connection.execute(_ACTIVE_ONES).all()
    return tuple(run_row(one) for one in found)


def live(connection: Connection) -> tuple[RunRow, ...]:
    """The runs that are queued, starting, running or paused, without those of sub-agents."""
    found = connection.execute(_LIVE_ONES).all()
    return tuple(run_row(one) for one in found)


def occupying(connection: Connection, project_id: ProjectId, now: datetime) -> int:
    """How many places of a project are taken; a paused run keeps its place for a while only."""
    since = now - timedelta(seconds=PAUSED_PLACE_SECONDS)
    return int(connection.execute(_OCCUPYING, {"wanted": project_id, "since": since}).scalar_one())


def interrupt_orphans(connection: Connection, at: datetime) -> tuple[Run, ...]:
    """Say of every run that an engine left starting or running that it was interrupted, and so of its sub-agents'."""
    return tuple(set_status(connection, one.id, RunStatus.INTERRUPTED, at) for one in active(connection))


def not_found(ref: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.AGENT_NOT_RUNNING, f"There is no run “{ref}”.", hint="The card shows its runs.", details={"run": ref}
    )


def _check_alone(connection: Connection, task_id: TaskId) -> None:
    living = live_for_task(connection, task_id)
    if living is not None:
        raise AgentPaneError(
            ErrorCode.AGENT_ALREADY_RUNNING,
            f"{living.agent} already works on this card ({living.status}).",
            hint="Wait for it, send it a message, or cancel it. Nothing has changed.",
            details={"run_id": living.id},
        )


def _settle_below(connection: Connection, run_id: RunId, to: RunStatus, at: datetime) -> None:
    """What becomes of a run's sub-agents when it stops: they can be taken up again for as long as it can."""
    if to in {RunStatus.COMPLETED, RunStatus.CANCELLED}:
        connection.execute(_GIVEN_UP, {"wanted": run_id, "at": at})
    elif to in {RunStatus.PAUSED, RunStatus.ERROR, RunStatus.INTERRUPTED}:
        connection.execute(_CUT_OFF, {"wanted": run_id, "at": at})


def _consequences(before: RunRow, to: RunStatus, at: datetime) -> dict[str, Any]:
    """What a step changes besides the status."""
    rested = before.rested_ms + _rest(before, at) // timedelta(milliseconds=1)
    values: dict[str, Any] = {"paused_at": None, "pause_reason": None, "rested_ms": rested}
    if to is RunStatus.PAUSED:
        values["paused_at"] = at
    elif to is RunStatus.QUEUED:
        values |= {"queued_at": at, "completed_at": None, "duration": None}
    elif to is RunStatus.STARTING and before.started_at is None:
        values["started_at"] = at
    elif to in _ENDED:
        began = before.started_at or at
        values |= {"completed_at": at, "duration": (at - began) // timedelta(milliseconds=1) - rested}
    return values


def _rest(before: RunRow, at: datetime) -> timedelta:
    """How long a run that had begun has been at rest in the state that it leaves."""
    since = {
        RunStatus.QUEUED: before.queued_at,
        RunStatus.PAUSED: before.paused_at,
        RunStatus.ERROR: before.ended_at,
        RunStatus.INTERRUPTED: before.ended_at,
    }.get(before.status)
    return timedelta() if since is None or before.started_at is None else max(at - since, timedelta())


def _columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in fields.items() if name != "error"}
    if "error" in fields:
        error: RunError | None = fields["error"]
        values |= {
            "error": error.message if error else None,
            "error_type": error.code if error else None,
            "error_hint": error.hint if error else None,
        }
    return values
