"""Bringing a worktree to where its resolution says it has to be: the conflict written into it, or set back.

What has to be done is recorded on the worktree's row before a file changes, so that it can be done once more after an
engine that did not live to finish it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from agentpane.db import worktrees
from agentpane.domain.gitpaths import display_path
from agentpane.domain.json import JsonObject
from agentpane.domain.resolving import Merging, Stage
from agentpane.domain.worktrees import WorktreeRow
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.branch_back import branch_back
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.worktrees import Repository, Worktree, merging_ref
from agentpane.worktrees.places import head_branch

REASONS = {
    Stage.PLANNED: "before a conflict was written",
    Stage.ABANDONED: "before a resolution was abandoned",
}


@dataclass(frozen=True, slots=True)
class Settled:
    """The row as it is afterwards. recovery: the ref that keeps what the worktree held, where that was anything."""

    row: WorktreeRow
    recovery: str | None = None


@dataclass(frozen=True, slots=True)
class Resolutions:
    core: Core
    bin: RecoveryBin

    async def settle(self, row: WorktreeRow, worktree: Worktree, repository: Repository) -> Settled:
        """Do what is left to do: write the conflict, or set the worktree back. Whatever else it holds is kept first.

        Raises AgentPaneError when that cannot be kept or written; it is still to be done then.
        """
        merging = row.merging
        if merging is None or merging.stage is Stage.WRITTEN:
            return Settled(row)
        abandoned = merging.stage is Stage.ABANDONED
        refs: list[str | None] = []

        async def keep(lost: tuple[str, ...]) -> None:
            refs.append(await self._keep(row, merging, worktree, repository, lost))

        commit = merging.card if abandoned else merging.laid
        if abandoned:
            await branch_back(self.core, row, repository, commit)
        await self.core.git.set_back(repository, worktree, commit, row.copied, keep, abandoned)
        left = None if abandoned else replace(merging, stage=Stage.WRITTEN)
        stored = await self.core.db.write(partial(_store, row=row, merging=left, at=self.core.clock.now()))
        if abandoned:
            await self.forget(merging, repository)
        return Settled(stored, next(filter(None, reversed(refs)), None))

    async def forget(self, merging: Merging, repository: Repository) -> None:
        """Let go of what was laid out for a resolution that is over."""
        await self.core.git.delete_refs(repository, {merging_ref(merging.run_id): merging.laid})

    async def _keep(
        self, row: WorktreeRow, merging: Merging, worktree: Worktree, repository: Repository, lost: tuple[str, ...]
    ) -> str | None:
        """Keep the worktree unless it is exactly what the branch or what was laid out gives back."""
        away = merging.card if merging.stage is Stage.ABANDONED else None
        ours = not lost and (away is None or await self._stands_at(away, worktree, repository))
        for commit in (merging.card, merging.laid):
            if ours and not await self.core.git.differs(repository, worktree, commit, row.copied):
                return None
        return await self.bin.keep(row.task_id, row, worktree, repository, REASONS[merging.stage], lost, away)

    async def _stands_at(self, commit: str, worktree: Worktree, repository: Repository) -> bool:
        """Whether nothing was committed beside it: its branch is there, and HEAD on the branch."""
        if await asyncio.to_thread(head_branch, worktree.git_dir) != worktree.branch:
            return False
        return await self.core.git.branch_tip(repository, worktree.branch) == commit


def _store(connection: worktrees.Connection, *, row: WorktreeRow, merging: Merging | None, at: datetime) -> WorktreeRow:
    return worktrees.set_fields(connection, row.id, at, merging=merging)


def not_written(merging: Merging) -> AgentPaneError:
    """Nothing is decided yet in a worktree that the conflict does not lie in."""
    return AgentPaneError(
        ErrorCode.MERGE_CONFLICT,
        f"The conflict with {display_path(merging.target)} is not in the worktree yet.",
        hint="Resume the run: it is written there first. Nothing has changed.",
        details={"paths": [laid.path for laid in merging.paths], "undecided": []},
    )


def resolved(merging: Merging) -> JsonObject:
    """What a session is told when a conflict has become a commit with both parents."""
    return {"state": "resolved", "target": merging.target, "commit": merging.sha}


def staged(connection: worktrees.Connection, row: WorktreeRow | None, stage: Stage, at: datetime) -> None:
    """Record in a transaction what has to become of a resolution; without one there is nothing to record."""
    if row is not None and row.merging is not None:
        worktrees.set_fields(connection, row.id, at, merging=replace(row.merging, stage=stage))
