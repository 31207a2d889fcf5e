"""The worktrees that a project keeps ready, so that a card has its own at once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import projects, worktrees
from agentpane.domain.pool import PoolStatus
from agentpane.orchestrator.core import Core


class Pool:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def status(self, command: c.GetPool) -> PoolStatus:
        """How the pool of a project stands. Raises PROJECT_NOT_FOUND."""
        project = await self._core.db.read(lambda db: projects.get(db, projects.resolve(db, command.project)))
        ready = await self._core.db.read(worktrees.pooled, project.id)
        size = await asyncio.to_thread(lambda: sum(_disk_bytes(Path(row.path)) for row in ready))
        return PoolStatus(project.config.pool_size, len(ready), size)


def _disk_bytes(folder: Path) -> int:
    """What a folder takes on the disk; nothing for what cannot be read."""
    total, waiting = 0, [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total
