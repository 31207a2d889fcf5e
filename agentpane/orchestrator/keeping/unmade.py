"""What is left of a worktree that was not made to the end: somebody has put something into it, which is kept first."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from agentpane.db import unsettled, worktrees
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.half_made import found, left_of, with_record
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.removal import Removal
from agentpane.orchestrator.merging.resolutions import Resolutions
from agentpane.worktrees import Repository

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """gone: nothing of the worktree is left. ref: where in the recovery bin lies what was in it, if anything was.

    stays: why its branch is there all the same, or what lies in its place.
    """

    path: str
    gone: bool
    ref: str | None = None
    stays: str | None = None

    def noted(self, words: str) -> str:
        """Why there is no worktree, with what is left of it, for its row."""
        return f"{words} {self.stays}" if self.stays else words

    def tell(self, error: BaseException) -> None:
        """Let the error that ended the making say what became of it."""
        if not isinstance(error, AgentPaneError) or (self.gone and self.ref is None):
            return
        kept = f"is in the recovery bin ({self.ref})" if self.gone else f"is still there, in {self.path}"
        error.message = f"{error.message} What somebody has put into the worktree meanwhile {kept}."
        error.args = (error.message,)
        error.details |= {"left": not self.gone, "recovery": self.ref}


@dataclass(frozen=True, slots=True)
class Unmade:
    core: Core
    bin: RecoveryBin

    async def take_away(self, row: WorktreeRow, repository: Repository, reason: str) -> WorktreeRow:
        """Take it away, with a branch on which nothing was committed. Raises as `Removal.take_away` does.

        A card's worktree of which nothing was laid out again yet is what it was: its folder may be away, and come back.
        """
        before = await self.as_before(row, repository)
        if before is not None:
            return before
        row = await with_record(self.core, row, repository)
        # A branch that was laid out again has commits of its own.
        unused = row.branch and await self.core.git.branch_tip(repository, row.branch) == row.base_sha
        await self._take_away(row, repository, reason, row.base_sha if unused else None)
        return await self.core.db.read(worktrees.get, row.id)

    async def as_before(self, row: WorktreeRow, repository: Repository) -> WorktreeRow | None:
        """The row of a card's worktree that was to be laid out again, as it was; None where anything of it was."""
        left = await left_of(self.core, row, repository) if row.git_dir is None else None
        if left is None or left.there or not await self._is_its_own(row, repository):
            return None
        return await found(self.core, row, left, WorktreeStatus.ACTIVE)

    async def settle(
        self, row: WorktreeRow, repository: Repository, branch_at: str | None, *, again: bool = False
    ) -> Left:
        """Take away what a making that has just failed has left.

        What cannot be kept stays, and its row is `creating` still: then the next run of its card tries again, or the
        next start of the engine.
        branch_at: delete its branch too, if it is at this commit.
        again: it has been there before, and a record whose folder is away is of that one; it stays.
        """
        try:
            left = await left_of(self.core, row, repository)
            if left is None or (again and not left.there):
                return Left(row.path, gone=True)
            row = await found(self.core, row, left)
            ref = await self._take_away(row, repository, "not made to the end", branch_at)
        except (AgentPaneError, OSError) as error:
            log.warning("the worktree %s stays half made: %s", row.path, error)
            return Left(row.path, gone=False)
        return Left(row.path, gone=True, ref=ref, stays=await self._stays(row, repository, branch_at))

    async def _stays(self, row: WorktreeRow, repository: Repository, branch_at: str | None) -> str | None:
        """What `Removal` has left, and why. A full disk has room for deleting the branch once the files are gone."""
        stays = (await self.core.db.read(worktrees.get, row.id)).last_error
        if stays is None or branch_at is None:
            return stays
        await self.core.git.settled()
        try:
            await self.core.git.delete_branch(repository, row.branch, branch_at)
        except (AgentPaneError, OSError):
            return stays
        return stays if os.path.lexists(row.path) else None

    async def _is_its_own(self, row: WorktreeRow, repository: Repository) -> bool:
        """Whether a card counts it as its worktree since long, and can go on in it."""
        if row.task_id is None or not await self.core.db.read(unsettled.is_the_tasks, row.task_id, row.id):
            return False
        return await self.core.git.branch_tip(repository, row.branch) is not None

    async def _take_away(self, row: WorktreeRow, repository: Repository, reason: str, at: str | None) -> str | None:
        # A conflict that is being resolved is written into it again when its card goes on.
        leaves = WorktreeStatus.REMOVED if row.merging is None else WorktreeStatus.AWAY
        removal = Removal(self.core, self.bin, Resolutions(self.core, self.bin))
        return await removal.take_away(row, repository, reason, delete_branch_at=at, leaves=leaves)
