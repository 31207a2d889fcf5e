"""Tasks: stored, found, changed and put in order; as cards and whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Row, and_, bindparam, case, func, insert, select, update
from sqlalchemy import Connection as Connection
from sqlalchemy import delete as delete_from

from agentpane.db import checks, runs
from agentpane.db.references import AnyRow, AnySelect, by_prefix, new_id
from agentpane.db.schema import (
    AgentTable,
    ApprovalTable,
    EventTable,
    ProjectTable,
    RunTable,
    TaskTable,
    WorktreeTable,
)
from agentpane.domain.approvals import ApprovalState
from agentpane.domain.board import Column
from agentpane.domain.checks import CheckResult
from agentpane.domain.ids import AgentId, ProjectId, SessionId, TaskId
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import RunBrief, Task, TaskCard
from agentpane.domain.worktrees import WorktreeStatus
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


def _cards() -> AnySelect:
    """Cards with their newest run, its place in the queue, their agent's name and their open approvals."""
    newest = (
        select(func.max(RunTable.number))
        .where(RunTable.task_id == _T.id, RunTable.depth == 0)
        .correlate(_T)
        .scalar_subquery()
    )
    queue = (
        select(
            RunTable.id,
            func.row_number()
            .over(partition_by=RunTable.project_id, order_by=(RunTable.queued_at, RunTable.number))
            .label("place"),
        )
        .where(RunTable.depth == 0, RunTable.status == RunStatus.QUEUED)
        .cte("queue")
    )
    asked = (
        select(ApprovalTable.task_id, func.count().label("pending"))
        .where(ApprovalTable.state == ApprovalState.PENDING)
        .group_by(ApprovalTable.task_id)
        .cte("asked")
    )
    newest_question = (
        select(func.json_extract(EventTable.data, "$.question"))
        .where(EventTable.session_id == _T.session_id, EventTable.kind == EventKind.QUESTION)
        .order_by(EventTable.seq.desc())
        .limit(1)
        .correlate(_T)
        .scalar_subquery()
    )
    return (
        select(
            _T.id,
            _T.project_id,
            _T.title,
            _T.labels,
            _T.column,
            _T.position,
            _T.agent_id,
            AgentTable.name,
            _T.files_changed,
            _T.lines_added,
            _T.lines_removed,
            _T.rejection_count,
            _T.conflicts,
            _T.code,
            func.coalesce(asked.c.pending, 0),
            _T.updated_at,
            _T.todos,
            _T.overlaps,
            WorktreeTable.merging,
            WorktreeTable.status,
            RunTable.status,
            RunTable.turn_count,
            RunTable.turn_limit,
            RunTable.cost_usd,
            RunTable.started_at,
            RunTable.completed_at,
            queue.c.place,
            RunTable.pause_reason,
            RunTable.sandbox_tier,
            RunTable.error_type,
            RunTable.error,
            RunTable.paused_at,
            RunTable.backend,
            RunTable.context_used,
            RunTable.context_window,
            case((RunTable.pause_reason == PauseReason.QUESTION, newest_question)),
            RunTable.rested_ms,
        )
        .select_from(_T)
        .outerjoin(AgentTable, AgentTable.id == _T.agent_id)
        .outerjoin(WorktreeTable, WorktreeTable.id == _T.worktree_id)
        .outerjoin(RunTable, and_(RunTable.task_id == _T.id, RunTable.number == newest))
        .outerjoin(queue, queue.c.id == RunTable.id)
        .outerjoin(asked, asked.c.task_id == _T.id)
    )


# A card does not show a worktree while its files are laid out: what a person wrote there could be written over.
_NONE_YET_OR_NO_MORE = (WorktreeStatus.CREATING, WorktreeStatus.REMOVED)
_WANTED: BindParameter[Any] = bindparam("wanted")
_CARD = _cards().where(_T.id == _WANTED)
_CARDS = _cards().where(_T.project_id == _WANTED, _PRESENT).order_by(_T.position)
_CARDS_OF_COLUMN = _CARDS.where(_T.column == bindparam("of_column"))
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
        WorktreeTable, and_(WorktreeTable.id == _T.worktree_id, WorktreeTable.status.not_in(_NONE_YET_OR_NO_MORE))
    )
    .where(_T.id == _WANTED)
)
_PLACE = select(_T.project_id, _T.column, _T.position).where(_T.id == _WANTED)
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
    row = connection.execute(_CARD, {"wanted": task_id}).one_or_none()
    if row is None:
        raise not_found(task_id)
    return _card(row, checks.shown_on_card(connection, task_id))


def cards(connection: Connection, project_id: ProjectId, column: Column | None) -> tuple[TaskCard, ...]:
    """The cards of a project, or of one column of it, by column and position. Two queries."""
    query = _CARDS if column is None else _CARDS_OF_COLUMN
    wanted = {"wanted": project_id} if column is None else {"wanted": project_id, "of_column": column}
    checked = checks.shown_on_cards(connection, project_id)
    made = [_card(row, checked.get(row.id, ())) for row in connection.execute(query, wanted)]
    order = {name: index for index, name in enumerate(Column)}
    made.sort(key=lambda one: order[one.column])
    return tuple(made)


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
    return _shift(connection, place.project_id, place.column, place.position + 1, None, -1, at)


def archive(connection: Connection, task_id: TaskId, at: datetime) -> tuple[tuple[str, int], ...]:
    """Hide a card from the board; those below it move up. Returns the cards whose positions changed."""
    place = _place(connection, task_id)
    connection.execute(update(_T).where(_T.id == task_id).values(archived_at=at, updated_at=at))
    return _shift(connection, place.project_id, place.column, place.position + 1, None, -1, at)


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


def _place(connection: Connection, task_id: TaskId) -> Row[str, Column, int]:
    row = connection.execute(_PLACE, {"wanted": task_id}).one_or_none()
    if row is None:
        raise not_found(task_id)
    return row


def _length(connection: Connection, project_id: str, column: Column) -> int:
    return int(connection.execute(_LENGTH, {"wanted": project_id, "of_column": column}).scalar_one())


def _shift(
    connection: Connection, project_id: str, column: Column, first: int, end: int | None, step: int, at: datetime
) -> tuple[tuple[str, int], ...]:
    """Add `step` to the positions from `first` up to `end`, and say which cards stand where now."""
    span = {"wanted": project_id, "of_column": column, "first": first, "end": _NO_END if end is None else end}
    found = connection.execute(_IN_SPAN, span).all()
    if found:
        connection.execute(_SHIFT, {**span, "step": step, "at": at})
    return tuple((row.id, row.position + step) for row in found)


def _card(row: AnyRow, checked: tuple[CheckResult, ...]) -> TaskCard:
    values = tuple(row)
    run = None if values[20] is None else RunBrief(*values[20:])
    (task_id, project_id, title, labels, column, position, agent_id, agent, files, added, removed) = values[:11]
    (rejections, conflicts, code, pending, updated_at, todos, overlaps, merging, worktree) = values[11:20]
    return TaskCard(
        id=TaskId(task_id),
        project_id=ProjectId(project_id),
        title=title,
        labels=labels,
        column=column,
        position=position,
        agent_id=agent_id,
        agent=agent,
        run=run,
        files_changed=files,
        lines_added=added,
        lines_removed=removed,
        rejection_count=rejections,
        conflicts=conflicts,
        code=code,
        approvals_pending=pending,
        updated_at=updated_at,
        todos=todos,
        checks=checked,
        overlaps=overlaps,
        resolving=None if merging is None or worktree is WorktreeStatus.CREATING else merging.shown,
        restored=column is Column.BACKLOG and worktree is not None and worktree not in _NONE_YET_OR_NO_MORE,
    )
