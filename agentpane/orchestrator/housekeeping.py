"""What nobody waits for: audit log and recovery bin are kept to their time, and what removed cards leave goes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import audit, projects
from agentpane.domain.audit import KEEP_DAYS, KEEP_ENTRIES
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.agents import agent_homes
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.run_refs import RunRefs
from agentpane.orchestrator.keeping.turn_snapshots import TurnSnapshots

log = logging.getLogger(__name__)

DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Goes through every project when the engine starts, and once a day after that."""

    core: Core
    bin: RecoveryBin
    turns: TurnSnapshots

    async def run(self) -> None:
        """Serve until cancelled. What cannot be looked at is passed over, and the log says so."""
        while True:
            await self._passing_over("what agents have left", agent_homes.sweep(self.core))
            for project in await self.core.db.read(projects.list_all):
                await self._passing_over(project.path, self.tidy(project))
            await self._passing_over("the recovery bin", self.bin.expire())
            await self._passing_over("what turns have left", self.turns.tidy())
            await self._passing_over("what runs have pinned", RunRefs(self.core).tidy())
            await self.core.clock.sleep(DAY_SECONDS)

    async def _passing_over(self, what: str, look: Awaitable[object]) -> None:
        try:
            await look
        except AgentPaneError as error:
            log.info("not looked at: %s: %s", what, error.message)
        except Exception:
            log.exception("not looked at: %s", what)

    async def tidy(self, project: Project) -> None:
        gone = await self.core.db.write(audit.prune, project.id, KEEP_DAYS, KEEP_ENTRIES, self.core.clock.now())
        if gone:
            log.info("%d audit entries of %s were past their time", gone, project.name)
        repository = await self.core.git.open_repository(Path(project.path))
        await self.core.git.empty_trash(repository)
        await self.turns.sweep(repository)
