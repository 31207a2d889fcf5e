"""The engine when its database cannot be opened: only what mends it works."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar, cast

from agentpane import __version__
from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.api.events import CatchUp, Published
from agentpane.db.files import copy_as_it_is, restore
from agentpane.domain.engine import EngineStatus
from agentpane.domain.health import DoctorReport, Finding
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.bus import EventBus
from agentpane.paths import DataFolder

R = TypeVar("R")


class Maintenance:
    """Implements `Workbench` with the doctor's and the database's commands; every other one meets the store's error."""

    def __init__(self, folder: DataFolder, problem: AgentPaneError) -> None:
        self._folder = folder
        self._problem = problem
        self._bus = EventBus()
        self.on_stop: Callable[[bool], None] = lambda now: None
        self.clients: Callable[[], int] = lambda: 0

    async def do(self, command: Command[R]) -> R:
        return cast(R, await self._answer(command))

    def events(self, after: int | None = None) -> AsyncIterator[Published | CatchUp]:
        return self._bus.read(after)

    async def _answer(self, command: object) -> object:
        match command:
            case c.GetStatus():
                return self._status()
            case c.StopEngine(now):
                self.on_stop(now)
                return self._status()
            case c.RaiseWindow():
                return 0
            case c.Doctor() | c.GetHealth():
                return self._report()
            case c.CheckDatabase():
                return (self._problem.message,)
            case c.BackupDatabase(file):
                return str(await asyncio.to_thread(copy_as_it_is, self._folder, Path(file).expanduser()))
            case c.RestoreDatabase(file):
                kept = await asyncio.to_thread(restore, self._folder, Path(file).expanduser())
                self.on_stop(False)
                return str(kept)
            case _:
                raise self._problem

    def _status(self) -> EngineStatus:
        return EngineStatus(True, os.getpid(), __version__, self.clients(), 0, self._problem.message)

    def _report(self) -> DoctorReport:
        problem = self._problem
        finding = Finding(problem.code.value, problem.message, str(self._folder.database), problem.hint)
        versions = {
            "agentpane": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        }
        return DoctorReport(False, (finding,), "", versions)
