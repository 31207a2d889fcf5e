"""The sample project: a small real repository of the data folder, with cards whose replies are recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentpane.api import commands as c
from agentpane.db import card_rows, projects, tasks
from agentpane.domain.board import Column
from agentpane.domain.demo import DemoReady
from agentpane.domain.ids import TaskId
from agentpane.domain.projects import Project
from agentpane.orchestrator.backends.recorded.sample import SampleCard, sample_cards, sample_files, sample_name
from agentpane.orchestrator.catalog import Catalog
from agentpane.orchestrator.core import Core

DESCRIPTION = "A sample to try AgentPane on. Its agent's replies are recorded; everything else is real."


@dataclass(frozen=True, slots=True)
class Sample:
    core: Core
    catalog: Catalog

    async def prepare(self, command: c.PrepareDemo) -> DemoReady:
        """The sample project and the card to play. A sample whose card is played already makes room for a fresh one."""
        async with self.core.task_locks.of("sample"):
            if not command.fresh:
                for project in await self.core.db.read(projects.list_all):
                    if project.recorded and (ready := await self._playable(project)) is not None:
                        return ready
            return await self._make()

    async def _playable(self, project: Project) -> DemoReady | None:
        title = next(card.title for card in sample_cards() if card.plays)
        for card in await self.core.db.read(card_rows.of_project, project.id, Column.BACKLOG):
            if card.title == title:
                return DemoReady(project.id, card.id, project.path)
        return None

    async def _make(self) -> DemoReady:
        files, cards, name = await asyncio.to_thread(lambda: (sample_files(), sample_cards(), sample_name()))
        folder = self.core.folder.demo
        number = 1
        while (path := folder / (name if number == 1 else f"{name}-{number}")).exists():
            number += 1
        await self.core.git.make_repository(path, files, f"{name}: a small program to try AgentPane on")
        command = c.AddProject(str(path), name=path.name, description=DESCRIPTION)
        project = await self.catalog.add(command, recorded=True)
        made = [await self._card(project, card, position) for position, card in enumerate(cards)]
        await self.core.announce_project(project.id)
        return DemoReady(
            project.id, next(task for card, task in zip(cards, made, strict=True) if card.plays), project.path
        )

    async def _card(self, project: Project, card: SampleCard, position: int) -> TaskId:
        new = tasks.NewTask(project.id, card.title, card.description, card.labels, None)

        def store(connection: tasks.Connection) -> TaskId:
            made = tasks.create(connection, new, self.core.clock.now())
            tasks.move(connection, made.card.id, Column.BACKLOG, position, self.core.clock.now())
            return made.card.id

        task_id = await self.core.db.write(store)
        await self.core.announce_task(task_id, counts=False)
        return task_id
