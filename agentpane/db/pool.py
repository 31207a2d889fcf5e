"""Ready worktrees as rows: given to a card, and put back. A row is a card's or ready, never both."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import func, select, update

from agentpane.db import worktrees
from agentpane.db.schema import WorktreeTable
from agentpane.domain.ids import ProjectId, WorktreeId
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus

_W = WorktreeTable


def claim(
    connection: Connection, worktree_id: WorktreeId, new: worktrees.NewWorktree, copied: tuple[str, ...], at: datetime
) -> WorktreeRow | None:
    """Write down that a ready worktree is being made the one of `new`; None when it is not ready any more."""
    given = (
        update(_W)
        .where(_W.id == worktree_id, _W.status == WorktreeStatus.POOLED)
        .values(
            status=WorktreeStatus.CREATING,
            task_id=new.task_id,
            branch=new.branch,
            base_branch=new.base_branch,
            path=new.path,
            copied=copied,
            created_at=at,  # a card's newest worktree is the one that it was given last
            updated_at=at,
        )
    )
    if connection.execute(given).rowcount == 0:
        return None
    return worktrees.get(connection, worktree_id)


def hold(connection: Connection, worktree_id: WorktreeId, status: WorktreeStatus, at: datetime) -> WorktreeRow | None:
    """Let nobody else have a ready worktree: it has this status from here on. None when it is not ready any more."""
    held = update(_W).where(_W.id == worktree_id, _W.status == WorktreeStatus.POOLED)
    if connection.execute(held.values(status=status, updated_at=at)).rowcount == 0:
        return None
    return worktrees.get(connection, worktree_id)


def take_out(
    connection: Connection, worktree_id: WorktreeId, status: WorktreeStatus, at: datetime
) -> WorktreeRow | None:
    """Write down that a worktree without a card is being removed; None when it has one, or another status, by then."""
    out = update(_W).where(_W.id == worktree_id, _W.status == status, _W.task_id.is_(None))
    if connection.execute(out.values(status=WorktreeStatus.REMOVING, updated_at=at)).rowcount == 0:
        return None
    return worktrees.get(connection, worktree_id)


def put_back(connection: Connection, worktree_id: WorktreeId, path: str, at: datetime) -> WorktreeRow:
    """The worktree lies at `path`, ready, and is nobody's."""
    ready = {"status": WorktreeStatus.POOLED, "task_id": None, "branch": "", "path": path, "copied": ()}
    connection.execute(update(_W).where(_W.id == worktree_id).values(updated_at=at, **ready))
    return worktrees.get(connection, worktree_id)


def adopt(
    connection: Connection, worktree_id: WorktreeId, new: worktrees.NewWorktree, git_dir: str, at: datetime
) -> WorktreeRow:
    """Put a ready worktree that no row speaks of on the list again, under the id that is its mark."""
    made = worktrees.create(connection, new, at)
    ready = {"id": worktree_id, "git_dir": git_dir, "status": WorktreeStatus.POOLED}
    connection.execute(update(_W).where(_W.id == made.id).values(**ready))
    return worktrees.get(connection, worktree_id)


def last_given(connection: Connection, project_id: ProjectId) -> datetime | None:
    """When a card of the project was given a worktree last."""
    newest = select(func.max(_W.created_at)).where(_W.project_id == project_id, _W.task_id.is_not(None))
    return connection.execute(newest).scalar_one()


def unfinished(connection: Connection) -> tuple[WorktreeRow, ...]:
    """Every worktree that is being made, and every one without a card that is being removed, oldest first."""
    return tuple(
        row
        for row in worktrees.live(connection)
        if row.status is WorktreeStatus.CREATING or (row.status is WorktreeStatus.REMOVING and row.task_id is None)
    )
