"""What nobody waits for: audit log and recovery bin are kept to their time, and what removed cards leave goes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import audit, projects
from agentpane.domain.audit import KEEP_DAYS, KEEP_ENTRIES
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError
from agentpane.orchestrator import agent_homes
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.recovery_bin import RecoveryBin
from agentpane.orchestrator.turn_snapshots import TurnSnapshots

log = logging.getLogger(__name__)

DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Goes through every project when the engine starts, and once a day after that."""

    core: Core
    bin: RecoveryBin
    turns: TurnSnapshots

    async def run(self) -> None:
        """Serve until cancelled. A project that cannot be looked at is passed over, and the log says so."""
        while True:
            try:
                await agent_homes.sweep(self.core)
            except AgentPaneError as error:
                log.info("what agents have left is not looked at: %s", error.message)
            for project in await self.core.db.read(projects.list_all):
                try:
                    await self.tidy(project)
                except AgentPaneError as error:
                    log.info("%s is not looked at: %s", project.path, error.message)
            try:
                await self.bin.expire()
                await self.turns.tidy()
            except AgentPaneError as error:
                log.info("what is kept is not looked at: %s", error.message)
            await self.core.clock.sleep(DAY_SECONDS)

    async def tidy(self, project: Project) -> None:
        gone = await self.core.db.write(audit.prune, project.id, KEEP_DAYS, KEEP_ENTRIES, self.core.clock.now())
        if gone:
            log.info("%d audit entries of %s were past their time", gone, project.name)
        repository = await self.core.git.open_repository(Path(project.path))
        await self.core.git.empty_trash(repository)
        await self.turns.sweep(repository)
