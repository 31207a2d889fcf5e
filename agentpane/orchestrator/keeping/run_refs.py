"""The commits that runs have pinned beside the branches: let go of when no card can ask for them any more.

Those of runs that this database does not know are another's, and are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import run_refs
from agentpane.domain.ids import TaskId
from agentpane.domain.keeping import is_needed
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository

log = logging.getLogger(__name__)
PREFIX = "refs/agentpane/run/"


@dataclass(frozen=True, slots=True)
class Pinned:
    """refs: with the commit that each names."""

    repository: Repository
    refs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunRefs:
    core: Core

    async def tidy(self) -> int:
        """Let go of what is not needed, in every repository that can be opened. Returns how many refs went."""
        gone = 0
        for path in await self.core.db.read(run_refs.repositories):
            try:
                gone += await self._tidy(await self.core.git.open_repository(Path(path)))
            except AgentPaneError as error:
                log.info("the commits of runs in %s stay: %s", path, error.message)
        return gone

    async def of_project(self, project: Project) -> Pinned | None:
        """What the runs of a project have pinned; None where its repository is away."""
        try:
            repository = await self.core.git.open_repository(Path(project.path))
            runs = await self.core.db.read(run_refs.of_project, project.id)
            refs = await self._named(repository)
        except AgentPaneError as error:
            log.info("the commits of runs in %s stay: %s", project.path, error.message)
            return None
        return Pinned(repository, {ref: sha for ref, sha in refs.items() if _run_of(ref) in runs})

    async def drop(self, pinned: Pinned) -> None:
        """Let go of all of it."""
        try:
            await self.core.git.delete_refs(pinned.repository, pinned.refs)
        except AgentPaneError as error:
            log.info("the commits of runs in %s stay: %s", pinned.repository.path, error.message)

    async def _tidy(self, repository: Repository) -> int:
        refs = await self._named(repository)
        cards = await self.core.db.read(run_refs.cards_of, {_run_of(ref) for ref in refs})
        gone = 0
        for task_id in sorted({*cards.values()}, key=str):
            of_card = {ref: sha for ref, sha in refs.items() if cards.get(_run_of(ref), "") == task_id}
            gone += await self._let_go(repository, task_id, of_card)
        return gone

    async def _let_go(self, repository: Repository, task_id: TaskId | None, refs: dict[str, str]) -> int:
        async with self.core.task_locks.of(task_id or "no card"):
            card = await self.core.db.read(run_refs.stand, task_id)
            now = self.core.clock.now()
            over = {ref: sha for ref, sha in refs.items() if not is_needed(sha, card, now)}
            stayed: Collection[str] = await self.core.git.delete_refs(repository, over) if over else ()
            return len(over) - len(stayed)

    async def _named(self, repository: Repository) -> dict[str, str]:
        refs = await self.core.git.inspection.refs(repository)
        return {ref: sha for ref, sha in refs.items() if ref.startswith(PREFIX)}


def _run_of(ref: str) -> str:
    return ref.removeprefix(PREFIX).partition("/")[0]
