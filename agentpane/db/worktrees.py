"""Worktrees: every one that AgentPane made has a row, and only those are ever removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Connection
from sqlalchemy import insert, literal_column, or_, select, update

from agentpane.db.references import AnyRow, AnySelect, by_prefix, new_id
from agentpane.db.schema import WorktreeTable
from agentpane.domain.ids import ProjectId, TaskId, WorktreeId
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode

_W = WorktreeTable
_SETTABLE = frozenset(
    {
        "status",
        "branch",
        "base_branch",
        "base_sha",
        "path",
        "git_dir",
        "env_copied",
        "deps_installed",
        "init_script_run",
        "copied",
        "last_error",
        "merged_at",
        "removed_at",
        "merging",
    }
)


@dataclass(frozen=True, slots=True)
class NewWorktree:
    """`path` is absolute."""

    project_id: ProjectId
    task_id: TaskId | None
    branch: str
    base_branch: str
    base_sha: str
    path: str
    restored_from: str = ""


def create(connection: Connection, new: NewWorktree, at: datetime) -> WorktreeRow:
    """Record a worktree that is about to be made, as `creating`."""
    worktree_id = WorktreeId(new_id())
    connection.execute(
        insert(_W).values(
            id=worktree_id,
            project_id=new.project_id,
            task_id=new.task_id,
            branch=new.branch,
            base_branch=new.base_branch,
            base_sha=new.base_sha,
            path=new.path,
            restored_from=new.restored_from,
            created_at=at,
            updated_at=at,
        )
    )
    return get(connection, worktree_id)


def get(connection: Connection, worktree_id: WorktreeId) -> WorktreeRow:
    """Raises AgentPaneError with WORKTREE_NOT_FOUND."""
    row = connection.execute(_rows().where(_W.id == worktree_id)).one_or_none()
    if row is None:
        raise _not_found(worktree_id)
    return _value(row)


def resolve(connection: Connection, ref: str) -> WorktreeId:
    """The worktree that an id or a unique beginning of one means. Raises WORKTREE_NOT_FOUND or VALIDATION_ERROR."""
    found = by_prefix(connection, "worktree", _W.id, ref, _W.status != WorktreeStatus.REMOVED)
    if found is None:
        raise _not_found(ref)
    return WorktreeId(found)


def set_fields(connection: Connection, /, worktree_id: WorktreeId, at: datetime, **fields: Any) -> WorktreeRow:
    """Change what is known of a worktree. A status other than `error` clears the last error.

    `removed` ends the resolution of a conflict too.
    """
    unknown = fields.keys() - _SETTABLE
    if unknown:
        raise ValueError(f"not to be set: {', '.join(sorted(unknown))}")
    if fields.get("status", WorktreeStatus.ERROR) is not WorktreeStatus.ERROR:
        fields = {"last_error": None, **fields}
    if fields.get("status") is WorktreeStatus.REMOVED:
        fields = {"merging": None, **fields}
    if connection.execute(update(_W).where(_W.id == worktree_id).values(updated_at=at, **fields)).rowcount == 0:
        raise _not_found(worktree_id)
    return get(connection, worktree_id)


def for_task(connection: Connection, task_id: TaskId) -> WorktreeRow | None:
    """The newest worktree of a task, whatever its status."""
    newest = _rows().where(_W.task_id == task_id).order_by(_W.created_at.desc(), literal_column("rowid").desc())
    row = connection.execute(newest.limit(1)).one_or_none()
    return None if row is None else _value(row)


def live(connection: Connection) -> tuple[WorktreeRow, ...]:
    """Every worktree that is not removed, oldest first."""
    found = connection.execute(_rows().where(_W.status != WorktreeStatus.REMOVED).order_by(_W.created_at)).all()
    return tuple(_value(row) for row in found)


def pooled(connection: Connection, project_id: ProjectId) -> tuple[WorktreeRow, ...]:
    """The worktrees that are ready for a project's next cards, oldest first."""
    ready = _rows().where(_W.project_id == project_id, _W.status == WorktreeStatus.POOLED).order_by(_W.created_at)
    return tuple(_value(row) for row in connection.execute(ready).all())


def with_resolution(connection: Connection) -> tuple[WorktreeRow, ...]:
    """Every worktree in which a conflict is being resolved, oldest first."""
    found = connection.execute(_rows().where(_W.merging.is_not(None)).order_by(_W.created_at)).all()
    return tuple(_value(row) for row in found)


def all_for_project(connection: Connection, project_id: ProjectId) -> tuple[WorktreeRow, ...]:
    """Every worktree that a project ever had, oldest first."""
    found = connection.execute(_rows().where(_W.project_id == project_id).order_by(_W.created_at)).all()
    return tuple(_value(row) for row in found)


def beside(connection: Connection, project_id: ProjectId, common_dir: str) -> tuple[WorktreeRow, ...]:
    """The worktrees that other projects ever had in the repository of this folder, and those of any being made."""
    there = or_(_W.git_dir.startswith(f"{common_dir}/worktrees/", autoescape=True), _W.git_dir.is_(None))
    found = connection.execute(_rows().where(_W.project_id != project_id, there).order_by(_W.created_at)).all()
    return tuple(_value(row) for row in found)


def _rows() -> AnySelect:
    return select(
        _W.id,
        _W.project_id,
        _W.task_id,
        _W.branch,
        _W.base_branch,
        _W.base_sha,
        _W.path,
        _W.git_dir,
        _W.status,
        _W.env_copied,
        _W.deps_installed,
        _W.init_script_run,
        _W.copied,
        _W.last_error,
        _W.created_at,
        _W.updated_at,
        _W.merged_at,
        _W.removed_at,
        _W.merging,
        _W.restored_from,
    )


def _value(row: AnyRow) -> WorktreeRow:
    return WorktreeRow(*row)


def _not_found(worktree_id: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.WORKTREE_NOT_FOUND,
        f"There is no worktree “{worktree_id}”.",
        hint="The card shows its worktree while it has one.",
        details={"worktree": worktree_id},
    )
