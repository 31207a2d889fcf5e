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
from agentpane.orchestrator.keeping.branch_back import branch_back
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.unmade import Unmade
from agentpane.worktrees import CreatedWorktree, Repository, Worktree


async def lay_again(
    core: Core, bin_: RecoveryBin, row: WorktreeRow, repository: Repository
) -> tuple[WorktreeRow, CreatedWorktree]:
    """Lay a worktree whose folder is gone out again from its branch, to be set up anew.

    What git's record of the old one still holds is in the recovery bin then. A branch that is gone too is made again
    where that record knows it to have been.
    Raises WORKTREE_CREATION_FAILED; the row is then what it was, and so is git's record of the old one where git has
    not come to make another. Where somebody has put something into the new one that cannot be kept: see
    `Unmade.settle`.
    """
    await branch_back(core, row, repository)
    await core.git.check_place(repository, Path(row.path), row.id)
    await bin_.keep_record(row, repository, "its folder was gone")
    begun = await _store(core, row, {"status": WorktreeStatus.CREATING, "git_dir": None, "removed_at": None})
    try:
        again = await core.git.attach_worktree(repository, Path(row.path), row.branch, row.copied, row.id)
    except BaseException as error:
        left = await Unmade(core, bin_).settle(begun, repository, None, again=True)
        if left.gone:
            before = {"status": row.status, "git_dir": row.git_dir, "removed_at": row.removed_at}
            await _store(core, row, {**before, "last_error": row.last_error})
        left.tell(error)
        raise
    fields: dict[str, object] = {"status": WorktreeStatus.ACTIVE, "deps_installed": False, "init_script_run": False}
    fields |= {"path": str(again.path), "git_dir": str(again.git_dir), "env_copied": bool(again.copied)}
    if row.merging is not None and row.merging.stage is Stage.WRITTEN:
        fields |= {"merging": replace(row.merging, stage=Stage.PLANNED)}  # it went with the folder
    return await _store(core, row, fields), again


async def named(core: Core, row: WorktreeRow, branch: str) -> None:
    """Write down that the worktree's branch gets this name, before git makes it."""
    await _store(core, row, {"branch": branch})


async def taken_back(core: Core, task: Task, repository: Repository) -> WorktreeRow | None:
    """The row of a card's worktree, whose removal is taken back where it was cut off: the card goes on in it.

    Where it was removed all the same, it is away, and can be laid out again while its branch is known.
    Raises WORKTREE_REMOVAL_FAILED where its folder cannot be put back; it stays in the trash then.
    """
    row = await core.db.read(worktrees.for_task, task.card.id)
    if row is None or row.status is not WorktreeStatus.REMOVING or row.git_dir is None:
        return row
    worktree = Worktree(Path(row.path), Path(row.git_dir), row.branch, row.id)
    if await core.git.put_back(repository, worktree):
        return await _store(core, row, {"status": WorktreeStatus.ACTIVE})
    await branch_back(core, row, repository, task.snapshot)
    known = await core.git.branch_tip(repository, row.branch) is not None
    return await _store(core, row, {"status": WorktreeStatus.AWAY if known else WorktreeStatus.REMOVED})


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
