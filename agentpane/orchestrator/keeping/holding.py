"""A worktree that no card has, held by whoever takes it away: a card may be given it at any moment until then."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from agentpane.db import pool, worktrees
from agentpane.domain.ids import WorktreeId
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core


class ChangedError(AgentPaneError):
    """The worktree is not what it was when its row was read."""

    def __init__(self, row: WorktreeRow) -> None:
        super().__init__(
            ErrorCode.RESOURCE_LOCKED,
            f"The worktree {row.path} was given to a card, or taken away, meanwhile.",
            "`agentpane worktree list` shows whose it is. Nothing has changed.",
            {"worktree": row.id},
        )


def lock_of(core: Core, worktree_id: WorktreeId) -> asyncio.Lock:
    """Held by whoever makes, moves on or takes away a worktree without a card."""
    return core.task_locks.of(f"worktree:{worktree_id}")


async def check_unchanged(core: Core, row: WorktreeRow) -> None:
    """Raises ChangedError if the worktree is not as `row` says. The caller holds the lock of its card."""
    if await core.db.read(worktrees.get, row.id) != row:
        raise ChangedError(row)


@asynccontextmanager
async def reserved(core: Core, row: WorktreeRow) -> AsyncIterator[WorktreeRow]:
    """Let nobody else have a worktree while it is taken away: its row as it is, its status the one that it had.

    One of a card is held by the card's lock, which the caller has. One without a card is being removed from here on;
    where that fails, it is again what it was. Raises ChangedError when a card has it, or somebody took it away.
    """
    if row.task_id is not None:
        yield row
        return
    async with lock_of(core, row.id):
        now = await core.db.read(worktrees.get, row.id)
        went = now.status is WorktreeStatus.REMOVED and row.status is not WorktreeStatus.REMOVED
        taken = None if went else await core.db.write(pool.take_out, row.id, now.status, core.clock.now())
        if taken is None:
            raise ChangedError(row)
        try:
            yield replace(taken, status=now.status)
        except BaseException:
            await _put_back(core, now)
            raise


async def _put_back(core: Core, row: WorktreeRow) -> None:
    left = await core.db.read(worktrees.get, row.id)
    if left.status is WorktreeStatus.REMOVING and os.path.lexists(row.path):
        await core.db.write(worktrees.set_fields, row.id, core.clock.now(), status=row.status)
