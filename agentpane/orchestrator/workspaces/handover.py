"""Giving a card a worktree that is kept ready, in the place of making one.

Written down before anything moves: cut off at any point, the worktree is ready again or lies at the card's path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agentpane.db import pool, worktrees
from agentpane.db.worktrees import NewWorktree
from agentpane.domain.ids import ProjectId
from agentpane.domain.worktrees import WorktreeRow
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository, Worktree


class Handover:
    """on_use: called with each project in which a card wanted a worktree."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.on_use: Callable[[ProjectId], None] = lambda _: None

    async def take(
        self, new: NewWorktree, repository: Repository, copied: tuple[str, ...]
    ) -> tuple[WorktreeRow, Worktree] | None:
        """A ready worktree made the one of `new`, its row still `creating`; None when none serves.

        Whoever cancels waits until it is done.
        """
        work = asyncio.ensure_future(self._take(new, repository, copied))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})
            raise
        finally:
            self.on_use(new.project_id)

    async def _take(
        self, new: NewWorktree, repository: Repository, copied: tuple[str, ...]
    ) -> tuple[WorktreeRow, Worktree] | None:
        for row in await self._core.db.read(worktrees.pooled, new.project_id):
            if row.base_sha == new.base_sha:
                given = await self._give(row, new, repository, copied)
                if given is not None:
                    return given
        return None

    async def _give(
        self, row: WorktreeRow, new: NewWorktree, repository: Repository, copied: tuple[str, ...]
    ) -> tuple[WorktreeRow, Worktree] | None:
        branch = await self._core.git.ready.free_branch(repository, new.branch)
        if branch is None:
            return None
        named = replace(new, branch=branch.name)
        claimed = await self._core.db.write(pool.claim, row.id, named, copied, self._core.clock.now())
        if claimed is None:
            return None
        ready = Worktree(Path(row.path), Path(row.git_dir or ""), "", row.id)
        try:
            card = await self._core.git.ready.hand_over(repository, ready, new.base_sha, Path(new.path), branch)
        except OSError:
            await self.settle(claimed, repository)
            return None
        if card is None:
            await self._core.db.write(pool.put_back, row.id, row.path, self._core.clock.now())
            return None
        return claimed, card

    async def settle(self, row: WorktreeRow, repository: Repository) -> bool:
        """Settle a worktree that was being given to a card. Whether it is ready again; if not, its row leads to it."""
        card = Worktree(Path(row.path), Path(row.git_dir or ""), row.branch, row.id)
        ready = await self._core.git.ready.put_back(repository, card, row.base_sha or "")
        if ready is None:
            return False
        await self._core.db.write(pool.put_back, row.id, str(ready.path), self._core.clock.now())
        return True
