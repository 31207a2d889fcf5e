"""Runs of sub-agents: made by a call of another run, and found again by that call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, insert, select
from sqlalchemy import Connection as Connection

from agentpane.db import runs
from agentpane.db.references import new_id
from agentpane.db.schema import AgentTable, RunTable
from agentpane.domain.ids import AgentId, RunId, TaskId
from agentpane.domain.policy import Policy
from agentpane.domain.runs import RunStatus

_R = RunTable
_WANTED: BindParameter[Any] = bindparam("wanted")
_BY_CALL = (
    select(_R.id)
    .where(_R.parent_run_id == _WANTED, _R.call_id == bindparam("call"))
    .order_by(_R.number.desc())
    .limit(1)
)
_OF_TASK = select(_R.id).where(_R.task_id == _WANTED, _R.depth > 0)
_ANCESTORS = select(_R.ancestors).where(_R.id == _WANTED)
_NEXT_NUMBER = select(func.coalesce(func.max(_R.number), 0) + 1)
_BACKEND = select(AgentTable.backend).where(AgentTable.id == _WANTED)


@dataclass(frozen=True, slots=True)
class NewSubRun:
    """call_id: the call of `parent` that it carries out."""

    parent: runs.RunRow
    call_id: str
    agent_id: AgentId
    prompt: str
    model: str
    turn_limit: int
    policy: Policy | None


def create(connection: Connection, new: NewSubRun, at: datetime) -> runs.RunRow:
    """Store a sub-agent's run. It waits in no queue: its place is its parent's."""
    parent = new.parent
    above = connection.execute(_ANCESTORS, {"wanted": parent.id}).scalar_one()
    run_id = RunId(new_id())
    connection.execute(
        insert(_R),
        {
            "id": run_id,
            "number": connection.execute(_NEXT_NUMBER).scalar_one(),
            "agent_id": new.agent_id,
            "task_id": parent.task_id,
            "project_id": parent.project_id,
            "session_id": parent.session_id,
            "status": RunStatus.STARTING,
            "prompt": new.prompt,
            "backend": connection.execute(_BACKEND, {"wanted": new.agent_id}).scalar_one().value,
            "model": new.model,
            "turn_limit": new.turn_limit,
            "policy": new.policy,
            "queued_at": at,
            "started_at": at,
            "parent_run_id": parent.id,
            "root_run_id": parent.root_run_id or parent.id,
            "ancestors": (*above, parent.id),
            "depth": parent.depth + 1,
            "call_id": new.call_id,
        },
    )
    return runs.row(connection, run_id)


def of_call(connection: Connection, parent: RunId, call_id: str) -> runs.RunRow | None:
    """The newest sub-agent's run that this call has begun."""
    found = connection.execute(_BY_CALL, {"wanted": parent, "call": call_id}).scalar_one_or_none()
    return None if found is None else runs.row(connection, RunId(found))


def ids_of_task(connection: Connection, task_id: TaskId) -> frozenset[RunId]:
    """The runs of a task that are sub-agents'."""
    return frozenset(RunId(one) for one in connection.execute(_OF_TASK, {"wanted": task_id}).scalars())


def go_on(connection: Connection, run_id: RunId, at: datetime, more_turns: int) -> runs.RunRow:
    """Let a run play that is new, or that paused, failed or was cut off. One at its limit gets `more_turns`."""
    before = runs.row(connection, run_id)
    limit = before.turn_limit if before.turns < before.turn_limit else before.turns + more_turns
    if before.status in {RunStatus.ERROR, RunStatus.INTERRUPTED}:
        runs.set_status(connection, run_id, RunStatus.QUEUED, at)
        runs.set_status(connection, run_id, RunStatus.STARTING, at)
    if before.status is not RunStatus.RUNNING:
        runs.set_status(connection, run_id, RunStatus.RUNNING, at, turn_limit=limit, error=None)
    return runs.row(connection, run_id)
