"""Agents: the named configurations of a project, and what each is doing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, bindparam, case, func, insert, select, update
from sqlalchemy import Connection as Connection

from agentpane.db.documents import AgentConfigDocument
from agentpane.db.references import AnyRow, AnySelect, ambiguous, by_prefix, new_id
from agentpane.db.schema import AgentTable, ProjectTable, RunTable, TaskTable
from agentpane.domain.agents import Agent, AgentConfig, BackendName
from agentpane.domain.ids import AgentId, ProjectId
from agentpane.domain.limits import invalid
from agentpane.domain.runs import LIVE, AgentType, RunStatus, agent_status
from agentpane.errors import AgentPaneError, ErrorCode

_A = AgentTable
_PRESENT = _A.archived_at.is_(None)
_EDITABLE = frozenset({"name", "config", "is_default"})


def _agents() -> AnySelect:
    return select(
        _A.id,
        _A.project_id,
        _A.name,
        _A.type,
        _A.backend,
        _A.status,
        _A.is_default,
        _A.config,
        _A.source,
        ProjectTable.config.label("project_config"),
    ).join(ProjectTable, ProjectTable.id == _A.project_id)


_WANTED: BindParameter[Any] = bindparam("wanted")
_AGENT = _agents().where(_A.id == _WANTED)
_LIVE_NUMBER = func.max(
    case((RunTable.status.in_([status for status in RunStatus if status in LIVE]), RunTable.number))
)
_TALLY = select(
    func.coalesce(_LIVE_NUMBER, func.max(RunTable.number)),
    func.count(RunTable.task_id.distinct()),
    func.count(case((RunTable.status == RunStatus.COMPLETED, RunTable.task_id)).distinct()),
    func.count(case((RunTable.status == RunStatus.ERROR, RunTable.task_id)).distinct()),
).where(RunTable.agent_id == _WANTED, RunTable.depth == 0)
_NEWEST = (
    select(RunTable.status, RunTable.task_id, RunTable.session_id, TaskTable.worktree_id)
    .outerjoin(TaskTable, TaskTable.id == RunTable.task_id)
    .where(RunTable.number == _WANTED)
)
_UPDATE = update(_A).where(_A.id == _WANTED)


@dataclass(frozen=True, slots=True)
class NewAgent:
    project_id: ProjectId
    name: str
    backend: BackendName
    type: AgentType = AgentType.TASK
    config: AgentConfig = field(default_factory=AgentConfig)
    is_default: bool = False
    source: str | None = None


def create(connection: Connection, new: NewAgent, at: datetime) -> Agent:
    """Store an agent; the first of a project is its default. Raises VALIDATION_ERROR if the name is taken."""
    _check_name(connection, new.project_id, new.name, None)
    first = connection.execute(select(_A.id).where(_A.project_id == new.project_id, _PRESENT).limit(1)).first() is None
    if new.is_default:
        _no_default(connection, new.project_id)
    agent_id = AgentId(new_id())
    connection.execute(
        insert(_A).values(
            id=agent_id,
            project_id=new.project_id,
            name=new.name,
            type=new.type,
            backend=new.backend,
            config=AgentConfigDocument.of(new.config),
            is_default=new.is_default or first,
            source=new.source,
            created_at=at,
            updated_at=at,
        )
    )
    return get(connection, agent_id)


def list_for(connection: Connection, project_id: ProjectId) -> tuple[Agent, ...]:
    """The agents of a project, the default one first, then by name."""
    query = _agents().where(_A.project_id == project_id, _PRESENT)
    rows = connection.execute(query.order_by(_A.is_default.desc(), func.lower(_A.name))).all()
    return tuple(_agent(row) for row in rows)


def get(connection: Connection, agent_id: AgentId) -> Agent:
    """The agent, archived or not. Raises AgentPaneError with AGENT_NOT_FOUND."""
    row = connection.execute(_AGENT, {"wanted": agent_id}).one_or_none()
    if row is None:
        raise not_found(agent_id)
    return _agent(row)


def resolve(connection: Connection, ref: str, project_id: ProjectId | None) -> AgentId:
    """The agent that an id, a unique beginning of one, or (within a project) a name means.

    Raises AgentPaneError with AGENT_NOT_FOUND, or VALIDATION_ERROR if it may mean several.
    """
    within = (_PRESENT,) if project_id is None else (_PRESENT, _A.project_id == project_id)
    named = connection.execute(select(_A.id).where(_A.name == ref, *within)).scalars().all()
    if len(named) > 1:
        raise ambiguous("agent", ref, list(named))
    agent_id = named[0] if named else by_prefix(connection, "agent", _A.id, ref, *within)
    if agent_id is None:
        raise not_found(ref)
    return AgentId(agent_id)


def edit(connection: Connection, /, agent_id: AgentId, at: datetime, **changes: Any) -> Agent:
    """Change name, config or is_default. A default agent stays it until another becomes it."""
    unknown = changes.keys() - _EDITABLE
    if unknown:
        raise ValueError(f"not to be edited: {', '.join(sorted(unknown))}")
    agent = get(connection, agent_id)
    values: dict[str, Any] = {"updated_at": at}
    if "name" in changes:
        _check_name(connection, agent.project_id, changes["name"], agent_id)
        values["name"] = changes["name"]
    if "config" in changes:
        values["config"] = AgentConfigDocument.of(changes["config"])
    if changes.get("is_default"):
        _no_default(connection, agent.project_id)
        values["is_default"] = True
    connection.execute(update(_A).where(_A.id == agent_id).values(**values))
    return get(connection, agent_id)


def archive(connection: Connection, agent_id: AgentId, at: datetime) -> None:
    """Hide the agent; its runs stay. The oldest of the others becomes the default if it was that."""
    agent = get(connection, agent_id)
    connection.execute(update(_A).where(_A.id == agent_id).values(archived_at=at, updated_at=at, is_default=False))
    heir = select(_A.id).where(_A.project_id == agent.project_id, _PRESENT).order_by(_A.created_at).limit(1)
    if agent.is_default:
        connection.execute(update(_A).where(_A.id == heir.scalar_subquery()).values(is_default=True))


def default_for(connection: Connection, project_id: ProjectId) -> Agent:
    """The project's default agent. Raises AgentPaneError with AGENT_NOT_FOUND if it has no agent."""
    query = _agents().where(_A.project_id == project_id, _PRESENT)
    row = connection.execute(query.order_by(_A.is_default.desc(), _A.created_at).limit(1)).one_or_none()
    if row is None:
        raise AgentPaneError(
            ErrorCode.AGENT_NOT_FOUND,
            "This project has no agent.",
            hint="Add one with `agentpane agent add`, or in the project's settings.",
        )
    return _agent(row)


def follow_runs(connection: Connection, agent_id: AgentId, at: datetime) -> None:
    """Bring the derived columns up to date after a run of the agent has changed."""
    tally = connection.execute(_TALLY, {"wanted": agent_id}).one()
    newest = connection.execute(_NEWEST, {"wanted": tally[0]}).one_or_none()
    busy = newest is not None and newest.status in LIVE
    values: dict[str, Any] = {
        "status": agent_status(newest.status if newest else None),
        "current_task_id": newest.task_id if newest and busy else None,
        "current_session_id": newest.session_id if newest and busy else None,
        "current_worktree_id": newest.worktree_id if newest and busy else None,
        "total_tasks": tally[1],
        "completed_tasks": tally[2],
        "failed_tasks": tally[3],
        "updated_at": at,
    }
    connection.execute(_UPDATE, {"wanted": agent_id, **values})


def note_error(connection: Connection, agent_id: AgentId, message: str, at: datetime) -> None:
    connection.execute(update(_A).where(_A.id == agent_id).values(last_error=message, last_error_at=at))


def not_found(ref: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.AGENT_NOT_FOUND,
        f"There is no agent “{ref}”.",
        hint="`agentpane agent list` shows the agents of a project.",
        details={"agent": ref},
    )


def _check_name(connection: Connection, project_id: str, name: str, but: str | None) -> None:
    taken = connection.execute(
        select(_A.id).where(_A.project_id == project_id, _A.name == name, _PRESENT, _A.id != (but or ""))
    ).first()
    if taken is not None:
        raise invalid("name", f"This project has an agent called “{name}” already.")


def _no_default(connection: Connection, project_id: str) -> None:
    connection.execute(update(_A).where(_A.project_id == project_id, _A.is_default).values(is_default=False))


def _agent(row: AnyRow) -> Agent:
    return Agent(
        id=AgentId(row.id),
        project_id=ProjectId(row.project_id),
        name=row.name,
        type=row.type,
        backend=row.backend,
        status=row.status,
        is_default=row.is_default,
        config=row.config.value(),
        model=row.config.model or row.project_config.model or "",
        source=row.source,
    )
