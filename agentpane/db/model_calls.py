"""What each request to a model used, and what a run or project used in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import case, func, select

from agentpane.clock import to_micros
from agentpane.db.references import new_id
from agentpane.db.schema import ModelCallTable
from agentpane.domain.ids import AgentId, ProjectId, RunId, TaskId

_M = ModelCallTable
_INSERT = (
    "INSERT INTO model_calls (id, project_id, task_id, agent_id, run_id, turn, model, input_tokens, output_tokens,"
    " cache_read_tokens, cache_write_tokens, cost_usd, latency_ms, stop_reason, request_id, at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class NewModelCall:
    """`input_tokens` excludes what the cache read and wrote. `cost_usd`: None when the price is unknown."""

    run_id: RunId
    task_id: TaskId
    agent_id: AgentId
    project_id: ProjectId
    turn: int
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float | None
    latency_ms: int
    stop_reason: str | None
    request_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """`cost_usd`: None when the cost of any of the calls is unknown."""

    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float | None


def add_many(connection: Connection, calls: Sequence[NewModelCall]) -> None:
    if calls:
        connection.exec_driver_sql(_INSERT, [_as_row(call) for call in calls])


def totals(
    connection: Connection, *, run_id: RunId | None = None, task_id: TaskId | None = None, project_id: str | None = None
) -> UsageTotals:
    """What the calls of a run, a task or a project used in all."""
    query = select(
        func.count(),
        func.coalesce(func.sum(_M.input_tokens), 0),
        func.coalesce(func.sum(_M.output_tokens), 0),
        func.coalesce(func.sum(_M.cache_read_tokens), 0),
        func.coalesce(func.sum(_M.cache_write_tokens), 0),
        case((func.count() == func.count(_M.cost_usd), func.coalesce(func.sum(_M.cost_usd), 0.0))),
    )
    for column, wanted in ((_M.run_id, run_id), (_M.task_id, task_id), (_M.project_id, project_id)):
        if wanted is not None:
            query = query.where(column == wanted)
    return UsageTotals(*connection.execute(query).one())


def _as_row(call: NewModelCall) -> tuple[object, ...]:
    return (
        new_id(),
        call.project_id,
        call.task_id,
        call.agent_id,
        call.run_id,
        call.turn,
        call.model,
        call.input_tokens,
        call.output_tokens,
        call.cache_read_tokens,
        call.cache_write_tokens,
        call.cost_usd,
        call.latency_ms,
        call.stop_reason,
        call.request_id,
        to_micros(call.at),
    )
