"""Worktrees that were being made when the last engine ended: no agent has been in them, so they are ready again, or go.

So does one that was kept ready and was being removed. What somebody put into one is in the recovery bin then.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import pool, projects
from agentpane.domain.worktrees import WorktreeRow
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.workspaces.handover import Handover
from agentpane.orchestrator.workspaces.settling import settle_each
from agentpane.orchestrator.workspaces.workspace import Workspaces

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unfinished:
    core: Core
    workspaces: Workspaces
    handover: Handover

    async def run(self) -> None:
        """Settle each, before a run starts."""
        rows = await self.core.db.read(pool.unfinished)
        await settle_each(self.core, rows, self._settle, "stays half made")

    async def _settle(self, row: WorktreeRow) -> None:
        project = await self.core.db.read(projects.get, row.project_id)
        repository = await self.core.git.open_repository(Path(project.path))
        if row.git_dir is not None and row.task_id is not None and await self.handover.settle(row, repository):
            return
        await self.workspaces.unmade.take_away(row, repository, "cut off by the end of the engine")
