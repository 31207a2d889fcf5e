"""Tasks: stored, found, changed and put in order; whole, or one of them as a card."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Row, and_, bindparam, func, insert, select, update
from sqlalchemy import Connection as Connection
from sqlalchemy import delete as delete_from

from agentpane.db import card_rows, runs
from agentpane.db.references import by_prefix, new_id
from agentpane.db.schema import ProjectTable, TaskTable, WorktreeTable
from agentpane.domain.board import Column
from agentpane.domain.ids import AgentId, ProjectId, SessionId, TaskId
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode

_T = TaskTable
_PRESENT = _T.archived_at.is_(None)
_SETTABLE = frozenset(
    {
        "title",
        "description",
        "labels",
        "agent_id",
        "session_id",
        "branch",
        "base_branch",
        "base_sha",
        "worktree_id",
        "snapshot",
        "diff_summary",
        "files_changed",
        "lines_added",
        "lines_removed",
        "code",
        "conflicts",
        "overlaps",
        "todos",
        "rejection_reason",
        "rejection_count",
        "merge_commit",
        "approved_at",
        "approved_by",
        "started_at",
        "completed_at",
        "turn_count",
    }
)


_WANTED: BindParameter[Any] = bindparam("wanted")
_WHOLE = (
    select(
        _T.description,
        _T.branch,
        _T.base_branch,
        _T.base_sha,
        WorktreeTable.path,
        _T.snapshot,
        _T.merge_commit,
        _T.rejection_reason,
        _T.session_id,
        _T.created_at,
        _T.approved_at,
        _T.approved_by,
    )
    .outerjoin(
        WorktreeTable,
        and_(WorktreeTable.id == _T.worktree_id, WorktreeTable.status.not_in(card_rows.NONE_YET_OR_NO_MORE)),
    )
    .where(_T.id == _WANTED)
)
_PLACE = select(_T.project_id, _T.column, _T.position, _T.archived_at).where(_T.id == _WANTED)
_LENGTH = select(func.count()).where(_T.project_id == _WANTED, _T.column == bindparam("of_column"), _PRESENT)
_UPDATE = update(_T).where(_T.id == _WANTED)
_SPAN = (
    _T.project_id == _WANTED,
    _T.column == bindparam("of_column"),
    _T.position >= bindparam("first"),
    _T.position < bindparam("end"),
    _PRESENT,
)
_IN_SPAN = select(_T.id, _T.position).where(*_SPAN).order_by(_T.position)
_SHIFT = update(_T).where(*_SPAN).values(position=_T.position + bindparam("step"), updated_at=bindparam("at"))
_NO_END = 2**62
_Place = Row[str, Column, int, datetime | None]


@dataclass(frozen=True, slots=True)
class NewTask:
    project_id: ProjectId
    title: str
    description: str = ""
    labels: tuple[str, ...] = ()
    agent_id: AgentId | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A card in its new place, and the other cards of both columns whose positions changed with it."""

    card: TaskCard
    renumbered: tuple[tuple[str, int], ...]


def create(connection: Connection, new: NewTask, at: datetime) -> Task:
    """Store a card at the end of the backlog."""
    task_id = TaskId(new_id())
    connection.execute(
        insert(_T),
        {
            "id": task_id,
            "project_id": new.project_id,
            "title": new.title,
            "description": new.description,
            "labels": new.labels,
            "agent_id": new.agent_id,
            "column": Column.BACKLOG,
            "position": _length(connection, new.project_id, Column.BACKLOG),
            "created_at": at,
            "updated_at": at,
        },
    )
    return get(connection, task_id)


def resolve(connection: Connection, ref: str) -> TaskId:
    """The task that an id or a unique beginning of one means; one of an archived project by its whole id only.

    Raises AgentPaneError with TASK_NOT_FOUND, or VALIDATION_ERROR if it may mean several.
    """
    if connection.execute(select(_T.id).where(_T.id == ref)).first() is not None:
        return TaskId(ref)
    live = select(ProjectTable.id).where(ProjectTable.archived_at.is_(None))
    task_id = by_prefix(connection, "task", _T.id, ref, _T.project_id.in_(live))
    if task_id is None:
        raise not_found(ref)
    return TaskId(task_id)


def card(connection: Connection, task_id: TaskId) -> TaskCard:
    """Raises AgentPaneError with TASK_NOT_FOUND."""
    found = card_rows.one(connection, task_id)
    if found is None:
        raise not_found(task_id)
    return found


def get(connection: Connection, task_id: TaskId) -> Task:
    """Everything about a task. Raises AgentPaneError with TASK_NOT_FOUND."""
    row = connection.execute(_WHOLE, {"wanted": task_id}).one_or_none()
    if row is None:
        raise not_found(task_id)
    return Task(
        card=card(connection, task_id),
        description=row.description or "",
        branch=row.branch,
        base_branch=row.base_branch,
        base_sha=row.base_sha,
        worktree=row.path,
        snapshot=row.snapshot,
        merge_commit=row.merge_commit,
        rejection_reason=row.rejection_reason,
        session_id=None if row.session_id is None else SessionId(row.session_id),
        created_at=row.created_at,
        approved_at=row.approved_at,
        approved_by=row.approved_by,
        runs=runs.of_task(connection, task_id),
    )


def set_fields(connection: Connection, /, task_id: TaskId, at: datetime, **fields: Any) -> None:
    """Change what a task says of itself; its column and position change by `move` only."""
    unknown = fields.keys() - _SETTABLE
    if unknown:
        raise ValueError(f"not to be set: {', '.join(sorted(unknown))}")
    if connection.execute(_UPDATE, {"wanted": task_id, "updated_at": at, **fields}).rowcount == 0:
        raise not_found(task_id)


def edit(connection: Connection, /, task_id: TaskId, at: datetime, **fields: Any) -> Task:
    """Like `set_fields`; returns the task as it then is."""
    set_fields(connection, task_id, at, **fields)
    return get(connection, task_id)


def delete(connection: Connection, task_id: TaskId, at: datetime) -> tuple[tuple[str, int], ...]:
    """Delete a card; those below it move up. Returns the cards whose positions changed."""
    place = _place(connection, task_id)
    connection.execute(delete_from(_T).where(_T.id == task_id))
    return _close_gap(connection, place, at)


def archive(connection: Connection, task_id: TaskId, at: datetime) -> tuple[tuple[str, int], ...]:
    """Hide a card from the board; those below it move up. Returns the cards whose positions changed."""
    place = _place(connection, task_id)
    connection.execute(_UPDATE, {"wanted": task_id, "archived_at": at, "updated_at": at})
    return _close_gap(connection, place, at)


def unarchive(connection: Connection, task_id: TaskId, at: datetime) -> tuple[tuple[str, int], ...]:
    """Put an archived card back into its column, where it stood or at the end. Returns the cards that moved down."""
    place = _place(connection, task_id)
    position = min(place.position, _length(connection, place.project_id, place.column))
    renumbered = _shift(connection, place.project_id, place.column, position, None, 1, at)
    connection.execute(_UPDATE, {"wanted": task_id, "archived_at": None, "position": position, "updated_at": at})
    return renumbered


def move(connection: Connection, task_id: TaskId, column: Column, position: int | None, at: datetime) -> Moved:
    """Put a card at `position` (0 is the top, None the end) of `column`; a place beyond the end is the end.

    The positions of both columns stay 0, 1, 2 … without gaps.
    """
    place = _place(connection, task_id)
    same = place.column is column
    last = _length(connection, place.project_id, column) - (1 if same else 0)
    target = last if position is None else max(0, min(position, last))
    if same:
        first, end, step = (
            (place.position + 1, target + 1, -1) if target > place.position else (target, place.position, 1)
        )
        renumbered = _shift(connection, place.project_id, column, first, end, step, at)
    else:
        renumbered = _shift(connection, place.project_id, place.column, place.position + 1, None, -1, at)
        renumbered += _shift(connection, place.project_id, column, target, None, 1, at)
    connection.execute(_UPDATE, {"wanted": task_id, "column": column, "position": target, "updated_at": at})
    return Moved(card(connection, task_id), tuple(pair for pair in renumbered if pair[0] != task_id))


def not_found(ref: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.TASK_NOT_FOUND,
        f"There is no task “{ref}”.",
        hint="`agentpane task list` shows the tasks of a project.",
        details={"task": ref},
    )


def _place(connection: Connection, task_id: TaskId) -> _Place:
    row = connection.execute(_PLACE, {"wanted": task_id}).one_or_none()
    if row is None:
        raise not_found(task_id)
    return row


def _length(connection: Connection, project_id: str, column: Column) -> int:
    return int(connection.execute(_LENGTH, {"wanted": project_id, "of_column": column}).scalar_one())


def _close_gap(connection: Connection, place: _Place, at: datetime) -> tuple[tuple[str, int], ...]:
    """Move those up that stood below a card which has left the board; an archived one had left no gap."""
    if place.archived_at is not None:
        return ()
    return _shift(connection, place.project_id, place.column, place.position + 1, None, -1, at)


def _shift(
    connection: Connection, project_id: str, column: Column, first: int, end: int | None, step: int, at: datetime
) -> tuple[tuple[str, int], ...]:
    """Add `step` to the positions from `first` up to `end`, and say which cards stand where now."""
    span = {"wanted": project_id, "of_column": column, "first": first, "end": _NO_END if end is None else end}
    found = connection.execute(_IN_SPAN, span).all()
    if found:
        connection.execute(_SHIFT, {**span, "step": step, "at": at})
    return tuple((row.id, row.position + step) for row in found)
