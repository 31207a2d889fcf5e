"""Taking a worktree away without losing anything: what it holds is kept first, and what is not ours is left alone."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agentpane.db import worktrees
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.branch_back import branch_back
from agentpane.orchestrator.keeping.half_made import with_record
from agentpane.orchestrator.keeping.holding import reserved
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.merging.resolutions import Resolutions
from agentpane.worktrees import Late, Repository, Worktree

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Removal:
    core: Core
    bin: RecoveryBin
    resolutions: Resolutions

    async def take_away(
        self,
        row: WorktreeRow,
        repository: Repository | None,
        reason: str,
        *,
        task: Task | None = None,
        actor: str = "engine",
        delete_branch_at: str | None = None,
        leaves: WorktreeStatus = WorktreeStatus.REMOVED,
    ) -> str | None:
        """Keep what a worktree holds, then remove it. Returns the recovery's ref, if there is one.

        What is not ours is forgotten, and left where it is. Its card may be gone.

        repository: None when it is not where it was; then the worktree is left as it is.
        delete_branch_at: delete the branch too, if it is at this commit; where it cannot be deleted, the row says why.
        leaves: `away` for a worktree that its card gets again when it goes on.
        Raises AgentPaneError with WORKTREE_REMOVAL_FAILED, or RESOURCE_LOCKED when it is a card's, or gone, by then;
        then everything is still there.
        """
        async with reserved(self.core, row) as row:
            return await self._take_away(row, repository, reason, task, actor, delete_branch_at, leaves)

    async def _take_away(
        self,
        row: WorktreeRow,
        repository: Repository | None,
        reason: str,
        task: Task | None,
        actor: str,
        delete_branch_at: str | None,
        leaves: WorktreeStatus,
    ) -> str | None:
        row = row if repository is None else await with_record(self.core, row, repository)
        if repository is None or row.git_dir is None:
            if repository is None:
                await self._let_go(row, "its repository is away")
            else:
                await self._let_go(row, "it was not made to the end", leaves)
            return None
        worktree = as_worktree(row)
        if row.status is WorktreeStatus.AWAY and delete_branch_at is not None:
            await self._delete_branch(row, repository, delete_branch_at)
        why = await self.core.git.why_not_ours(repository, worktree)
        if why is not None:
            await self._let_go(row, why)
            return None
        ref, compared = await self._kept_and_removed(row, worktree, repository, reason, task)
        if compared is not None and compared == row.base_sha and leaves is WorktreeStatus.REMOVED:
            delete_branch_at = compared  # somebody had deleted it, and nothing was ever committed on it
        branch_stays = await self._delete_branch(row, repository, delete_branch_at)
        now = self.core.clock.now()
        gone = {"status": leaves, "removed_at": now, "last_error": branch_stays}
        await self.core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=now, **gone))
        entry = self.core.record(
            "worktree.remove",
            row.project_id,
            actor=actor,
            task=task.card if task else None,
            task_id=row.task_id,
            input={"path": row.path, "branch": row.branch, "reason": reason},
            output={
                "recovery": ref,
                "branch_deleted_at": None if branch_stays else delete_branch_at,
                "branch_stays": branch_stays,
            },
        )
        await self.core.audit(entry)
        if row.merging is not None and leaves is WorktreeStatus.REMOVED:
            await self.resolutions.forget(row.merging, repository)
        return ref

    async def _kept_and_removed(
        self, row: WorktreeRow, worktree: Worktree, repository: Repository, reason: str, task: Task | None
    ) -> tuple[str | None, str | None]:
        """Returns the recovery's ref, and where a branch that was gone was made again in order to compare with it."""
        now = self.core.clock.now
        if not os.path.lexists(worktree.path):  # an earlier removal of it may have been cut off
            await self.core.git.put_back(repository, worktree)
        obstacle = await self.core.git.held_by(worktree)
        if obstacle is not None:
            raise obstacle.failure(worktree.path)
        await self._check_nothing_inside(repository, worktree)
        refs: list[str] = []

        async def keep(where: Worktree) -> None:
            ref = await self._keep(row, where, repository, reason)
            refs.extend([] if ref is None else [ref])

        late = Late(keep)
        compared = await branch_back(self.core, row, repository, task.snapshot if task else None, row.base_sha)
        await keep(worktree)
        if worktree.path.is_dir():
            await self.core.db.write(worktrees.set_fields, row.id, now(), status=WorktreeStatus.REMOVING)
        try:
            await self.core.git.remove_worktree(repository, worktree, late=late)
        except BaseException as error:
            there = WorktreeStatus.ACTIVE if row.branch else WorktreeStatus.POOLED
            there = row.status if row.status is WorktreeStatus.CREATING else there  # no run is to take it up
            stays = there if worktree.path.is_dir() else WorktreeStatus.REMOVING
            words = error.message if isinstance(error, AgentPaneError) else "It was stopped while it was being removed."
            await self.core.db.write(worktrees.set_fields, row.id, now(), status=stays, last_error=words)
            raise
        return refs[-1] if refs else None, compared  # the last holds what those before it hold

    async def _check_nothing_inside(self, repository: Repository, worktree: Worktree) -> None:
        """What lies inside of a worktree goes with it, and one that somebody made there has a life of its own."""
        for inner in await self.core.git.worktrees_inside(repository, worktree):
            raise AgentPaneError(
                ErrorCode.WORKTREE_REMOVAL_FAILED,
                f"{worktree.path} was not removed: another worktree lies inside of it, {inner.path}.",
                hint="Nothing was deleted. Move that one away with `git worktree move`, or remove it, then try again.",
                details={"path": str(worktree.path), "inside": str(inner.path)},
            )

    async def _keep(self, row: WorktreeRow, worktree: Worktree, repository: Repository, reason: str) -> str | None:
        """Keep what goes. In one that no agent has been in, what git ignores is somebody's as well."""
        there = os.path.lexists(worktree.path)
        being_made = row.status is WorktreeStatus.CREATING
        if there and being_made and os.listdir(worktree.path) == [".git"] and not (worktree.git_dir / "index").exists():
            return None  # its making was cut off before there was any file, and nothing was staged there either
        unused = there and (being_made or not row.branch)
        also = await self.core.git.ready.ignored(repository, worktree) if unused else ()
        return await self.bin.keep(row.task_id, row, worktree, repository, reason, also)

    async def _delete_branch(self, row: WorktreeRow, repository: Repository, at: str | None) -> str | None:
        """Delete the branch of a worktree that is gone, if it is at this commit. Why it stays; None if it does not."""
        try:
            if at is not None:
                await self.core.git.delete_branch(repository, row.branch, at)
        except AgentPaneError as error:
            log.warning("%s %s", error.message, error.hint)
            return error.message
        return None

    async def _let_go(self, row: WorktreeRow, why: str, leaves: WorktreeStatus = WorktreeStatus.REMOVED) -> None:
        """Forget a worktree that is not ours (any more): what may lie at its path is not touched."""
        left = f"What lies at {row.path} was left alone: {why}."
        told = left if os.path.lexists(row.path) else None
        now = self.core.clock.now()
        await self.core.db.write(worktrees.set_fields, row.id, now, status=leaves, removed_at=now, last_error=told)


def as_worktree(row: WorktreeRow) -> Worktree:
    return Worktree(Path(row.path), Path(row.git_dir or ""), row.branch, row.id)
