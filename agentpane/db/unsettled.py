"""Worktrees whose rows say that something about them was not carried to its end."""

from __future__ import annotations

from sqlalchemy import Connection as Connection
from sqlalchemy import and_, or_, select

from agentpane.db import worktrees
from agentpane.db.schema import TaskTable, WorktreeTable
from agentpane.domain.board import Column
from agentpane.domain.ids import TaskId, WorktreeId
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus

_W, _T = WorktreeTable, TaskTable


def cut_off(connection: Connection) -> tuple[WorktreeRow, ...]:
    """Those being removed; those of merged cards that nothing has kept; those of waiting cards that are gone."""
    of_merged = and_(_T.column == Column.VERIFIED, _W.status == WorktreeStatus.ACTIVE, _W.last_error.is_(None))
    of_waiting = and_(
        _T.column == Column.WAITING_APPROVAL, _W.status == WorktreeStatus.REMOVED, _T.snapshot.is_not(None)
    )
    its_own = select(_W.id).join(_T, _T.worktree_id == _W.id).where(or_(of_merged, of_waiting))
    found = select(_W.id).where(or_(_W.status == WorktreeStatus.REMOVING, _W.id.in_(its_own))).order_by(_W.created_at)
    return tuple(worktrees.get(connection, WorktreeId(each)) for each in connection.execute(found).scalars().all())


def is_the_tasks(connection: Connection, task_id: TaskId, worktree_id: WorktreeId) -> bool:
    """Whether a card still counts a worktree as its own, be it there or not."""
    its = connection.execute(select(_T.worktree_id).where(_T.id == task_id)).scalar_one_or_none()
    return bool(its == worktree_id)
