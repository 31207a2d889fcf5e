"""Worktrees that were being made when the last engine ended: no agent has been in them, so they are ready again, or go.

So does one that was kept ready and was being removed. What somebody put into one is in the recovery bin then.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import pool, projects, worktrees
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.workspaces.handover import Handover
from agentpane.orchestrator.workspaces.settling import settle_each
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import Repository

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
        if row.git_dir is None:
            row = await self._found(row, repository)
        elif row.task_id is not None and await self.handover.settle(row, repository):
            return
        # A branch that was laid out again has commits of its own.
        unused = row.branch and await self.core.git.branch_tip(repository, row.branch) == row.base_sha
        base = row.base_sha if unused else None
        # A conflict that is being resolved is written into it again when its card goes on.
        leaves = WorktreeStatus.REMOVED if row.merging is None else WorktreeStatus.AWAY
        reason = "cut off by the end of the engine"
        await self.workspaces.take_away(row, repository, reason, delete_branch_at=base, leaves=leaves)

    async def _found(self, row: WorktreeRow, repository: Repository) -> WorktreeRow:
        """The row with what git had made by then."""
        left = await self.core.git.inspection.left_record(repository, Path(row.path), row.id)
        if left is None:
            return row
        await self.core.git.inspection.take_on(left)
        made = left.worktree
        fields = {"path": str(made.path), "git_dir": str(made.git_dir), "branch": made.branch or row.branch}
        now = self.core.clock.now()
        return await self.core.db.write(lambda db: worktrees.set_fields(db, row.id, now, **fields))
