"""Cards as they are stored: the query that makes them whole, and how its rows are read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, Connection, and_, bindparam, case, func, select

from agentpane.db import checks
from agentpane.db.references import AnyRow, AnySelect
from agentpane.db.schema import AgentTable, ApprovalTable, EventTable, RunTable, TaskTable, WorktreeTable
from agentpane.domain.approvals import ApprovalState
from agentpane.domain.board import Column
from agentpane.domain.checks import CheckResult
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import RunBrief, TaskCard
from agentpane.domain.worktrees import WorktreeStatus

_T = TaskTable


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
            _T.archived_at,
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
NONE_YET_OR_NO_MORE = (WorktreeStatus.CREATING, WorktreeStatus.REMOVED)
_WANTED: BindParameter[Any] = bindparam("wanted")
_COLUMN: BindParameter[Any] = bindparam("of_column")
_CARD = _cards().where(_T.id == _WANTED)
_OF_PROJECT = _cards().where(_T.project_id == _WANTED)
_CARDS = _OF_PROJECT.where(_T.archived_at.is_(None)).order_by(_T.position)
_ARCHIVED = _OF_PROJECT.where(_T.archived_at.is_not(None)).order_by(_T.archived_at.desc(), _T.id)


def one(connection: Connection, task_id: TaskId) -> TaskCard | None:
    """None when there is no such task."""
    row = connection.execute(_CARD, {"wanted": task_id}).one_or_none()
    return None if row is None else _card(row, checks.shown_on_card(connection, task_id))


def of_project(
    connection: Connection, project_id: ProjectId, column: Column | None, *, archived: bool = False
) -> tuple[TaskCard, ...]:
    """The cards of a project, or of one column of it, by column and position. Two queries.

    archived: those that are off the board instead, the newest first.
    """
    query = _ARCHIVED if archived else _CARDS
    wanted: dict[str, object] = {"wanted": project_id}
    if column is not None:
        query, wanted["of_column"] = query.where(_T.column == _COLUMN), column
    checked = checks.shown_on_cards(connection, project_id)
    made = [_card(row, checked.get(row.id, ())) for row in connection.execute(query, wanted)]
    if not archived:
        order = {name: index for index, name in enumerate(Column)}
        made.sort(key=lambda each: order[each.column])
    return tuple(made)


def _card(row: AnyRow, checked: tuple[CheckResult, ...]) -> TaskCard:
    values = tuple(row)
    run = None if values[21] is None else RunBrief(*values[21:])
    (task_id, project_id, title, labels, column, position, agent_id, agent, files, added, removed) = values[:11]
    (rejections, conflicts, code, pending, updated_at, todos, overlaps, merging, worktree, archived_at) = values[11:21]
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
        restored=column is Column.BACKLOG and worktree is not None and worktree not in NONE_YET_OR_NO_MORE,
        archived_at=archived_at,
    )
