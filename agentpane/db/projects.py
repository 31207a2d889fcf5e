"""Projects: stored, found, changed, archived and purged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, and_, bindparam, case, delete, exists, func, insert, or_, select, update
from sqlalchemy import Connection as Connection

from agentpane.db.documents import ProjectConfigDocument
from agentpane.db.references import AnyRow, AnySelect, ambiguous, by_prefix, new_id
from agentpane.db.schema import ApprovalTable, ProjectTable, RunTable, TaskTable
from agentpane.domain.approvals import ApprovalState
from agentpane.domain.board import Column
from agentpane.domain.ids import ProjectId
from agentpane.domain.projects import Project, ProjectConfig, ProjectCounts
from agentpane.domain.runs import RunStatus
from agentpane.errors import AgentPaneError, ErrorCode

_P = ProjectTable
_LIVE = _P.archived_at.is_(None)
_EDITABLE = frozenset({"name", "description", "base_branch", "max_concurrent_agents", "config"})


def _projects() -> AnySelect:
    return select(
        _P.id,
        _P.name,
        _P.path,
        _P.description,
        _P.base_branch,
        _P.trust_pending,
        _P.trust_digest,
        _P.always_allowed,
        _P.recorded,
        _P.max_concurrent_agents,
        _P.config,
        _P.created_at,
    )


def _counting() -> AnySelect:
    """What happens in each project, in one grouped query over the cards that are in work or wait."""
    newest = (
        select(func.max(RunTable.number)).where(RunTable.task_id == TaskTable.id).correlate(TaskTable).scalar_subquery()
    )
    working = TaskTable.column == Column.IN_PROGRESS
    asked = exists().where(ApprovalTable.task_id == TaskTable.id, ApprovalTable.state == ApprovalState.PENDING)
    status = RunTable.status
    waiting = or_(
        TaskTable.column == Column.WAITING_APPROVAL,
        status == RunStatus.PAUSED,
        and_(status == RunStatus.COMPLETED, TaskTable.code.is_not(None)),
        and_(working, asked),
    )
    return (
        select(
            TaskTable.project_id,
            _sum(status.in_((RunStatus.STARTING, RunStatus.RUNNING))),
            _sum(status == RunStatus.QUEUED),
            _sum(waiting),
            _sum(status.in_((RunStatus.ERROR, RunStatus.INTERRUPTED))),
        )
        .outerjoin(RunTable, and_(working, RunTable.task_id == TaskTable.id, RunTable.number == newest))
        .where(TaskTable.column.in_((Column.IN_PROGRESS, Column.WAITING_APPROVAL)), TaskTable.archived_at.is_(None))
        .group_by(TaskTable.project_id)
    )


def _sum(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


_WANTED: BindParameter[Any] = bindparam("wanted")
_PROJECT = _projects().where(_P.id == _WANTED)
_COUNTS = _counting()
_COUNTS_OF_ONE = _COUNTS.where(TaskTable.project_id == _WANTED)


@dataclass(frozen=True, slots=True)
class NewProject:
    """`path` is absolute, as the repository itself gives it."""

    name: str
    path: str
    base_branch: str
    description: str = ""
    config: ProjectConfig = field(default_factory=ProjectConfig)
    max_concurrent_agents: int = 3
    recorded: bool = False


def create(connection: Connection, new: NewProject, at: datetime) -> Project:
    """Store a project; an archived one of the same path comes back with its history.

    Raises AgentPaneError with PROJECT_PATH_EXISTS or PROJECT_PATH_INVALID.
    """
    _check_path(new.path)
    found = connection.execute(select(_P.id, _P.name, _P.archived_at).where(_P.path == new.path)).one_or_none()
    if found is not None and found.archived_at is None:
        raise AgentPaneError(
            ErrorCode.PROJECT_PATH_EXISTS,
            f"This folder is a project already: {found.name}.",
            hint="Open that project; `agentpane project` policy, pool, filters, check and trust change it. "
            "Nothing has been stored.",
            details={"project_id": found.id},
        )
    values: dict[str, Any] = {
        "name": new.name,
        "description": new.description,
        "base_branch": new.base_branch,
        "config": ProjectConfigDocument.of(new.config),
        "max_concurrent_agents": new.max_concurrent_agents,
        "recorded": new.recorded,
        "updated_at": at,
    }
    if found is not None:
        connection.execute(update(_P).where(_P.id == found.id).values(archived_at=None, **values))
        return get(connection, ProjectId(found.id))
    project_id = ProjectId(new_id())
    connection.execute(insert(_P).values(id=project_id, path=new.path, created_at=at, **values))
    return get(connection, project_id)


def list_all(connection: Connection) -> tuple[Project, ...]:
    """The projects that are not archived, by name."""
    rows = connection.execute(_projects().where(_LIVE).order_by(func.lower(_P.name), _P.created_at)).all()
    counts = _counts(connection, None)
    return tuple(_project(row, counts) for row in rows)


def get(connection: Connection, project_id: ProjectId) -> Project:
    """The project, archived or not. Raises AgentPaneError with PROJECT_NOT_FOUND."""
    row = connection.execute(_PROJECT, {"wanted": project_id}).one_or_none()
    if row is None:
        raise not_found(project_id)
    return _project(row, _counts(connection, project_id))


def on_board(connection: Connection, project_id: ProjectId) -> Project | None:
    """The project; None when it is archived, or there is none."""
    live = connection.execute(select(_P.id).where(_P.id == project_id, _LIVE)).first()
    return None if live is None else get(connection, project_id)


def resolve(connection: Connection, ref: str, *, archived: bool = False) -> ProjectId:
    """The project that an id, a unique beginning of one, a name or a path means.

    archived: look among the archived ones too.
    Raises AgentPaneError with PROJECT_NOT_FOUND, or VALIDATION_ERROR if it may mean several.
    """
    live = () if archived else (_LIVE,)
    exact = or_(_P.id == ref, _P.name == ref, _P.path == ref, _P.path == (ref.rstrip("/") or ref))
    found = list(connection.execute(select(_P.id, _P.path).where(exact, *live)))
    certain = [row.id for row in found if row.id == ref or row.path == ref] or [row.id for row in found]
    if len(certain) > 1:
        raise ambiguous("project", ref, certain)
    project_id = certain[0] if certain else by_prefix(connection, "project", _P.id, ref, *live)
    if project_id is None:
        raise not_found(ref)
    return ProjectId(project_id)


def edit(connection: Connection, /, project_id: ProjectId, at: datetime, **changes: Any) -> Project:
    """Change name, description, base_branch, max_concurrent_agents or config."""
    unknown = changes.keys() - _EDITABLE
    if unknown:
        raise ValueError(f"not to be edited: {', '.join(sorted(unknown))}")
    if "config" in changes:
        changes = {**changes, "config": ProjectConfigDocument.of(changes["config"])}
    _update(connection, project_id, at, changes)
    return get(connection, project_id)


def trusted_hash(connection: Connection, project_id: ProjectId) -> str | None:
    """The hash of the repository's configuration that the person trusted."""
    row = connection.execute(select(_P.trusted_hash).where(_P.id == project_id)).one_or_none()
    if row is None:
        raise not_found(project_id)
    return None if row.trusted_hash is None else str(row.trusted_hash)


def set_trust(
    connection: Connection,
    project_id: ProjectId,
    digest: str | None,
    pending: Sequence[str],
    at: datetime,
    waiting: str | None = None,
) -> None:
    """Remember what is trusted, and what waits for trust (one line each; nothing waiting means trusted).

    digest, waiting: the hashes of the configuration that is trusted, and of the one that waits.
    """
    values = {"trusted_hash": digest, "trust_pending": tuple(pending), "trust_digest": waiting if pending else None}
    _update(connection, project_id, at, values)


def archive(connection: Connection, project_id: ProjectId, at: datetime) -> None:
    """Hide the project; all of its history stays."""
    _update(connection, project_id, at, {"archived_at": at})


def purge(connection: Connection, project_id: ProjectId, at: datetime) -> None:
    """Delete the project and everything that hangs on it, the audit log aside."""
    if connection.execute(delete(_P).where(_P.id == project_id)).rowcount == 0:
        raise not_found(project_id)


def not_found(ref: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.PROJECT_NOT_FOUND,
        f"There is no project “{ref}”.",
        hint="`agentpane project list` shows the projects.",
        details={"project": ref},
    )


def _update(connection: Connection, project_id: ProjectId, at: datetime, values: Mapping[str, Any]) -> None:
    if connection.execute(update(_P).where(_P.id == project_id).values(updated_at=at, **values)).rowcount == 0:
        raise not_found(project_id)


def _check_path(path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise AgentPaneError(
            ErrorCode.PROJECT_PATH_INVALID,
            "The folder's name is not valid UTF-8.",
            hint="Rename the folder, or reach it by another path. Nothing has been stored.",
        ) from error


def _project(row: AnyRow, counts: Mapping[str, ProjectCounts]) -> Project:
    return Project(
        id=ProjectId(row.id),
        name=row.name,
        path=row.path,
        description=row.description or "",
        base_branch=row.base_branch,
        trusted=not row.trust_pending,
        trust_pending=row.trust_pending,
        trust_digest=row.trust_digest,
        recorded=row.recorded,
        max_concurrent_agents=row.max_concurrent_agents,
        config=row.config.value(),
        created_at=row.created_at,
        counts=counts.get(row.id, ProjectCounts()),
        always=tuple(row.always_allowed),
    )


def _counts(connection: Connection, project_id: ProjectId | None) -> dict[str, ProjectCounts]:
    if project_id is None:
        rows = connection.execute(_COUNTS)
    else:
        rows = connection.execute(_COUNTS_OF_ONE, {"wanted": project_id})
    return {row[0]: ProjectCounts(*row[1:]) for row in rows}
