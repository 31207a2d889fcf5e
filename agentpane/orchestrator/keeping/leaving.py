"""What would become of a card's branch, and of what git ignores in its worktree, if the card were cancelled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import projects, worktrees
from agentpane.domain.keeping import NAMED, Going
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.left_alone import why_left_alone
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.worktrees import Repository


@dataclass(frozen=True, slots=True)
class Leaving:
    core: Core

    async def foresee(self, command: c.ForeseeCancel) -> Going:
        """See `commands.ForeseeCancel`. Of a worktree that would be left where it is nothing goes."""
        task = await self.core.task(command.task)
        project = await self.core.db.read(projects.get, task.card.project_id)
        try:
            repository = await self.core.git.open_repository(Path(project.path))
        except AgentPaneError:
            return Going()
        ignored = await self._ignored(task, repository)
        return Going(await self._branch(task, repository), len(ignored), ignored[:NAMED])

    async def _branch(self, task: Task, repository: Repository) -> str | None:
        if task.branch is None or await self.core.git.branch_tip(repository, task.branch) in {None, task.base_sha}:
            return None
        return task.branch

    async def _ignored(self, task: Task, repository: Repository) -> tuple[str, ...]:
        row = await self.core.db.read(worktrees.for_task, task.card.id)
        if row is None or row.status is not WorktreeStatus.ACTIVE or not os.path.isdir(row.path):
            return ()
        worktree = as_worktree(row)
        if await why_left_alone(self.core, row, worktree, repository) is not None:
            return ()
        found = await self.core.git.ready.ignored(repository, worktree)
        return tuple(name for name in found if name.rstrip("/") not in row.copied)
