"""What each request to a model used, and what a run or project used in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, case, func, literal_column, or_, outerjoin, select, type_coerce
from sqlalchemy import Connection as Connection

from agentpane.clock import to_micros
from agentpane.db.references import new_id
from agentpane.db.schema import AgentTable, ModelCallTable, ProjectTable, RunTable, TaskTable
from agentpane.domain.budgets import Spent
from agentpane.domain.costs import CostGroup, CostLine
from agentpane.domain.ids import AgentId, ProjectId, RunId, TaskId

_M = ModelCallTable
_R = RunTable
_TOKENS = _M.input_tokens + _M.output_tokens + _M.cache_read_tokens + _M.cache_write_tokens
_ROOT: ColumnElement[Any] = func.coalesce(_R.root_run_id, _R.id)
# Times are microseconds since 1970; a day is the person's own.
_DAY: ColumnElement[Any] = func.date(type_coerce(_M.at, Integer) / 1_000_000, "unixepoch", "localtime")
_GROUPS: Mapping[CostGroup, tuple[ColumnElement[Any], ColumnElement[Any]]] = {
    CostGroup.RUN: (_ROOT, func.coalesce(TaskTable.title, "")),
    CostGroup.TASK: (_M.task_id.expression, TaskTable.title.expression),
    CostGroup.AGENT: (_M.agent_id.expression, AgentTable.name.expression),
    CostGroup.PROJECT: (_M.project_id.expression, ProjectTable.name.expression),
    CostGroup.DAY: (_DAY, _DAY),
    CostGroup.MODEL: (_M.model.expression, _M.model.expression),
}
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


def spent_by_run(connection: Connection, root_run_id: str) -> Spent:
    """What a run and its sub-agents have used."""
    mine = select(_R.id).where(or_(_R.id == root_run_id, _R.root_run_id == root_run_id))
    return _spent(connection, _M.run_id.in_(mine))


def spent_by_task(connection: Connection, task_id: str) -> Spent:
    return _spent(connection, _M.task_id == task_id)


def spent_by_project(connection: Connection, project_id: str) -> Spent:
    return _spent(connection, _M.project_id == project_id)


def spent_since(connection: Connection, moment: datetime) -> Spent:
    """What all projects together have used since a moment."""
    return _spent(connection, _M.at >= moment)


def _spent(connection: Connection, which: ColumnElement[bool]) -> Spent:
    cost = func.coalesce(_M.cost_usd, 0.0)
    query = select(
        func.coalesce(func.sum(cost), 0.0),
        func.coalesce(func.sum(_TOKENS), 0),
        func.count() - func.count(_M.cost_usd),
        func.coalesce(func.max(cost), 0.0),
        func.coalesce(func.max(_TOKENS), 0),
    ).where(which)
    return Spent(*connection.execute(query).one())


def costs(
    connection: Connection, group: CostGroup, project_id: str | None = None, since: datetime | None = None
) -> tuple[CostLine, ...]:
    """What models have cost, summed by `group`, the most expensive first; days in order."""
    key, label = _GROUPS[group]
    query = select(
        key,
        func.coalesce(func.max(label), key),
        func.count(),
        func.sum(_M.input_tokens),
        func.sum(_M.output_tokens),
        func.sum(_M.cache_read_tokens),
        func.sum(_M.cache_write_tokens),
        func.coalesce(func.sum(_M.cost_usd), 0.0),
        func.count() - func.count(_M.cost_usd),
        func.sum(_M.latency_ms),
    ).select_from(
        outerjoin(_M, _R, _R.id == _M.run_id)
        .outerjoin(TaskTable, TaskTable.id == _M.task_id)
        .outerjoin(AgentTable, AgentTable.id == _M.agent_id)
        .outerjoin(ProjectTable, ProjectTable.id == _M.project_id)
    )
    if project_id is not None:
        query = query.where(_M.project_id == project_id)
    if since is not None:
        query = query.where(_M.at >= since)
    order = key if group is CostGroup.DAY else literal_column("8").desc()
    found = connection.execute(query.where(key.is_not(None)).group_by(key).order_by(order))
    return tuple(CostLine(*row) for row in found)


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
