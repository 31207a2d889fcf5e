"""Settling what the last engine left about a worktree, one row after the other, each under its card's lock."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from agentpane.db import worktrees
from agentpane.domain.worktrees import WorktreeRow
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core

log = logging.getLogger(__name__)


async def settle_each(
    core: Core, rows: Iterable[WorktreeRow], settle: Callable[[WorktreeRow], Awaitable[object]], otherwise: str
) -> None:
    """Settle each row that is still as it was read. What cannot be settled waits for the doctor, and the log says so.

    otherwise: what becomes of such a worktree, in words that follow its path.
    """
    for row in rows:
        try:
            async with core.task_locks.of(row.task_id or row.id):  # a person may be acting already
                if await core.db.read(worktrees.get, row.id) == row:
                    await settle(row)
        except AgentPaneError as error:
            log.warning("the worktree %s %s: %s", row.path, otherwise, error.message)
        except Exception:  # nothing about one worktree is to keep the engine from its start
            log.exception("the worktree %s %s", row.path, otherwise)
