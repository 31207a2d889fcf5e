"""What would become of a card's branch, and of what git ignores in its worktree, if the card were cancelled.

Only asked about: whatever is wrong with the worktree or takes long keeps nobody from stopping the card.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import projects, worktrees
from agentpane.domain.keeping import NAMED, NOT_KNOWN, Going
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.left_alone import why_left_alone
from agentpane.orchestrator.keeping.recovery_bin import NOWHERE
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.worktrees import Repository

log = logging.getLogger(__name__)
PATIENCE_S = 2.0  # a person waits for it before they are asked


@dataclass(frozen=True, slots=True)
class Leaving:
    core: Core
    patience_s: float = PATIENCE_S

    async def foresee(self, command: c.ForeseeCancel) -> Going:
        """See `commands.ForeseeCancel`. Of a worktree that would be left where it is nothing goes."""
        task = await self.core.task(command.task)
        going = NOT_KNOWN
        try:
            async with asyncio.timeout(self.patience_s):  # ends the git that is under way
                repository = await self._repository(task)
                if repository is None:
                    return replace(going, ignored=0)
                branch = await self._branch(task, repository)
                going = replace(going, branch=branch, branch_known=True)
                ignored = await self._ignored(task, repository)
                going = replace(going, ignored=len(ignored), some=ignored[:NAMED])
        except (AgentPaneError, OSError) as error:
            log.info("what a stop of task %s takes is not known: %r", task.card.id, error)
        return going

    async def _repository(self, task: Task) -> Repository | None:
        """The card's repository; None when it is away."""
        project = await self.core.db.read(projects.get, task.card.project_id)
        try:
            return await self.core.git.open_repository(Path(project.path))
        except AgentPaneError as error:
            if error.code in NOWHERE:
                return None
            raise

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
