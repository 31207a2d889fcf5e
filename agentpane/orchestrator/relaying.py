"""Laying a card's worktree out again from its branch, written down first: one that was cut off is none to work in."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from agentpane.db import unsettled, worktrees
from agentpane.domain.resolving import Stage
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.orchestrator.core import Core
from agentpane.worktrees import CreatedWorktree, Repository


async def lay_again(core: Core, row: WorktreeRow, repository: Repository) -> tuple[WorktreeRow, CreatedWorktree]:
    """Lay a worktree whose folder is gone out again from its branch, to be set up anew.

    Raises WORKTREE_CREATION_FAILED; the row is then what it was.
    """
    begun: dict[str, object] = {"status": WorktreeStatus.CREATING, "git_dir": None, "removed_at": None}
    await _store(core, row, begun)
    try:
        again = await core.git.attach_worktree(repository, Path(row.path), row.branch, row.copied, row.id)
    except BaseException:
        before = {"status": row.status, "git_dir": row.git_dir, "removed_at": row.removed_at}
        await _store(core, row, {**before, "last_error": row.last_error})
        raise
    fields: dict[str, object] = {"status": WorktreeStatus.ACTIVE, "deps_installed": False, "init_script_run": False}
    fields |= {"path": str(again.path), "git_dir": str(again.git_dir), "env_copied": bool(again.copied)}
    if row.merging is not None and row.merging.stage is Stage.WRITTEN:
        fields |= {"merging": replace(row.merging, stage=Stage.PLANNED)}  # it went with the folder
    return await _store(core, row, fields), again


async def is_its_own(core: Core, task: Task, row: WorktreeRow, repository: Repository) -> bool:
    """Whether the card goes on in this worktree: it is there, or can be laid out again from the card's branch."""
    if row.status in {WorktreeStatus.ACTIVE, WorktreeStatus.AWAY}:
        return True
    own = await core.db.read(unsettled.is_the_tasks, task.card.id, row.id)
    if row.status is not WorktreeStatus.REMOVED or not own:
        return False
    return await core.git.branch_tip(repository, row.branch) is not None


async def _store(core: Core, row: WorktreeRow, fields: dict[str, object]) -> WorktreeRow:
    return await core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=core.clock.now(), **fields))
