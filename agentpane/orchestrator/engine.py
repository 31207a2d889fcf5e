"""The engine: its beginning, its end, and every service of the orchestrator behind the door's one protocol."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from agentpane import __version__
from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.api.events import CatchUp, EngineStopping, Published, WindowRaised
from agentpane.clock import Clock
from agentpane.db import runs
from agentpane.db.connection import Database
from agentpane.domain.engine import EngineStatus
from agentpane.domain.limits import invalid
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.handling import Handler, handlers
from agentpane.orchestrator.mcp.registry import OWN_CHAIN
from agentpane.orchestrator.services import Services
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.side_jobs import SideJobs
from agentpane.paths import DataFolder
from agentpane.sandbox import Sandbox

log = logging.getLogger(__name__)
R = TypeVar("R")
RESTORE_LOOKS, RESTORE_PAUSE_S = 200, 0.05
PAUSE_SECONDS = 5.0  # how long runs may take to reach a safe moment when the engine stops


class Engine:
    """Implements `Workbench`. Make it with `Engine.open`, `serve` it, and `close` it at the end."""

    def __init__(self, folder: DataFolder, db: Database, clock: Clock, sandbox: Sandbox) -> None:
        self.services = Services(folder, db, clock, sandbox, lambda: self.on_runs_changed())
        self._clients: Callable[[], int] = lambda: 0
        self._windows: Callable[[], int] = lambda: 0
        self.on_runs_changed: Callable[[], None] = lambda: None
        self.on_stop: Callable[[bool], None] = lambda now: None
        self._restoring = False
        self._under_way = 0  # commands that are being carried out
        self._handlers = self._table()
        self._beside = self._side_jobs()

    @classmethod
    async def open(cls, folder: DataFolder, clock: Clock, sandbox: Sandbox) -> Engine:
        """Open the data folder. Raises AgentPaneError with a STORE_ code."""
        folder.make()
        engine = cls(folder, await Database.open(folder), clock, sandbox)
        await engine.services.catalog.recall_filters()
        await engine.services.recovery.interrupt()
        return engine

    @property
    def alive_runs(self) -> int:
        """How many runs and rounds of checks work or wait for a place."""
        return self.services.supervisor.alive + self.services.checks.alive

    def count_with(self, clients: Callable[[], int], windows: Callable[[], int]) -> None:
        """Say how the connected clients are counted."""
        self._clients, self._windows = clients, windows
        self.services.bin.windows = windows

    async def serve(self) -> None:
        """Mend what the last engine left, then play runs until cancelled."""
        self._under_way += 1  # the database stays what it is meanwhile
        try:
            await self.services.mending.unlock()
            await self._settle()
        finally:
            self._under_way -= 1
        self._beside.start()
        try:
            await self.services.supervisor.run()
        finally:
            await self._beside.end()

    async def _settle(self) -> None:
        """Finish or take back what the database says was begun."""
        await self.services.recovery.run()
        await self.services.unfinished.run()
        await self.services.mending.run()

    async def close(self) -> None:
        """Let go of everything. Runs have been paused or abandoned before."""
        await self.services.checks.close()
        await self.services.supervisor.drain(0)
        await self.services.backends.close()
        self.services.patches.close()
        await self.services.core.git.close()
        await self.services.core.db.close()

    async def pause_all(self) -> None:
        """Pause every run at its next safe moment, or where it is when that takes too long."""
        await self.services.checks.close()
        self.services.runner.ask_all_to_pause()
        await self.services.supervisor.drain(PAUSE_SECONDS)
        core = self.services.core
        for active in await core.db.read(runs.active):
            now, why = core.clock.now(), PauseReason.PERSON
            await core.db.write(runs.set_status, active.id, RunStatus.PAUSED, now, pause_reason=why)
            task = await core.task(active.task_id)
            paused = {"state": "paused", "reason": "engine_stop"}
            await note(core, self.services.blobs, task, active.id, EventKind.STATE, paused)

    async def do(self, command: Command[R]) -> R:
        """See `Workbench.do`."""
        if self._restoring:
            raise AgentPaneError(
                ErrorCode.RESOURCE_LOCKED, "The database is being restored.", hint="Try again in a moment."
            )
        self._under_way += 1
        try:
            return cast(R, await self._handlers[type(command)](command))
        finally:
            self._under_way -= 1

    def events(self, after: int | None = None) -> AsyncIterator[Published | CatchUp]:
        """See `Workbench.events`."""
        self.services.bin.greet()
        return self.services.core.bus.read(self.services.core.bus.last if after is None else after)

    def _table(self) -> dict[type[Command[Any]], Handler]:
        return {
            **handlers(self.services),
            c.GetStatus: self._status,
            c.StopEngine: self._stop,
            c.RaiseWindow: self._raise_window,
            c.CheckDatabase: self._check_database,
            c.BackupDatabase: self._backup,
            c.RestoreDatabase: self._restore,
        }

    def _side_jobs(self) -> SideJobs:
        s = self.services
        jobs = {
            "housekeeping": s.housekeeping.run,
            "recovery bin": s.bin.serve,
            "pool": s.pool.run,
            "checks": s.checks.serve,
            "watching": s.watching.run,
            "foresight": s.foresight.run,
            "doctor": s.doctor.run,
        }
        return SideJobs(s.core.clock, jobs)

    async def _status(self, command: c.GetStatus) -> EngineStatus:
        return EngineStatus(True, os.getpid(), __version__, self._clients(), self.services.supervisor.alive)

    async def _stop(self, command: c.StopEngine) -> EngineStatus:
        status = await self._status(c.GetStatus())
        self.services.core.bus.publish(EngineStopping("stopped by command"))
        self.on_stop(command.now)
        return status

    async def _raise_window(self, command: c.RaiseWindow) -> int:
        count = self._windows()
        if count:
            self.services.core.bus.publish(WindowRaised())
        return count

    async def _check_database(self, command: c.CheckDatabase) -> tuple[str, ...]:
        return await self.services.core.db.check()

    async def _backup(self, command: c.BackupDatabase) -> str:
        target = Path(command.file).expanduser()
        if not target.is_absolute():
            raise invalid("file", "The backup's path must be absolute.")
        await self.services.core.db.backup(target)
        return str(target)

    async def _restore(self, command: c.RestoreDatabase) -> str:
        source = Path(command.file).expanduser()
        if self.services.supervisor.active:
            raise AgentPaneError(
                ErrorCode.PROJECT_HAS_RUNNING_AGENTS,
                "Agents are at work; the database cannot be replaced under them.",
                hint="Pause or cancel the runs first. Nothing has changed.",
            )
        self._restoring = True
        serving = False
        await self.services.checks.end()
        try:
            await self._until_alone()
            serving = await self._beside.end()  # they know the rows that were
            await self.services.checks.end()
            kept = await self.services.core.db.replace_with(source)
            await self.services.catalog.recall_filters()
            await self._settle()
            told = {"file": str(source), "kept": str(kept)}
            await self.services.core.audit(self.services.core.record("db.restore", OWN_CHAIN, input=told))
        finally:
            self._restoring = False
            if serving:
                self._beside.start()
        self.services.core.bus.forget()
        self.services.supervisor.wake()
        return str(kept)

    async def _until_alone(self) -> None:
        """Wait until the other commands have ended. Raises RESOURCE_LOCKED if that takes too long."""
        for _ in range(RESTORE_LOOKS):
            if self._under_way == 1:
                return
            await self.services.core.clock.sleep(RESTORE_PAUSE_S)
        raise AgentPaneError(
            ErrorCode.RESOURCE_LOCKED,
            "Other commands are still being carried out.",
            hint="Try again when they have ended. Nothing has changed.",
        )
