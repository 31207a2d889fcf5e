"""The engine: every service of the orchestrator, put together behind the door's one protocol."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from agentpane import __version__
from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.api.events import CatchUp, EngineStopping, KeyChanged, Published, WindowRaised
from agentpane.clock import Clock
from agentpane.db import runs
from agentpane.db.connection import Database
from agentpane.domain.agents import DetectedBackend, ModelChoice
from agentpane.domain.board import Column
from agentpane.domain.engine import EngineStatus, KeyStatus
from agentpane.domain.health import Finding
from agentpane.domain.limits import invalid
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agent_sync import AgentFiles
from agentpane.orchestrator.awaited import Awaited
from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.claude_code import ClaudeCodeBackend
from agentpane.orchestrator.backends.command import CommandBackend
from agentpane.orchestrator.backends.messages_api import DEFAULT_MODEL, MessagesApiBackend, models
from agentpane.orchestrator.backends.recorded import RecordedBackend
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.board import Board
from agentpane.orchestrator.budgets import Budgets
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.catalog import Catalog
from agentpane.orchestrator.checks import Checks
from agentpane.orchestrator.completion import Completion
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.credentials import Credentials
from agentpane.orchestrator.decisions import Decisions
from agentpane.orchestrator.detecting import Detector
from agentpane.orchestrator.dispatch import Dispatcher
from agentpane.orchestrator.foresight import Foresight
from agentpane.orchestrator.handover import Handover
from agentpane.orchestrator.health.doctor import HouseDoctor
from agentpane.orchestrator.housekeeping import Housekeeping
from agentpane.orchestrator.keys import KeyChain
from agentpane.orchestrator.mcp.registry import OWN_CHAIN, Registry
from agentpane.orchestrator.mcp.servers import Servers
from agentpane.orchestrator.mending import Mending
from agentpane.orchestrator.patches import Patches
from agentpane.orchestrator.pool import Pool
from agentpane.orchestrator.preferences import Preferences
from agentpane.orchestrator.queueing import Queue
from agentpane.orchestrator.records import Records
from agentpane.orchestrator.recovery import Recovery
from agentpane.orchestrator.recovery_bin import RecoveryBin
from agentpane.orchestrator.resolutions import Resolutions
from agentpane.orchestrator.resolving import Resolving
from agentpane.orchestrator.restoring import Restoring
from agentpane.orchestrator.review import Review
from agentpane.orchestrator.runner import Runner
from agentpane.orchestrator.sample import Sample
from agentpane.orchestrator.secrets import SecretStore
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.setting_back import SettingBack
from agentpane.orchestrator.supervisor import Supervisor
from agentpane.orchestrator.turn_snapshots import TurnSnapshots
from agentpane.orchestrator.undoing import Undoing
from agentpane.orchestrator.unfinished import Unfinished
from agentpane.orchestrator.watching import Watching
from agentpane.orchestrator.workspace import Workspaces
from agentpane.paths import DataFolder
from agentpane.sandbox import Sandbox
from agentpane.worktrees import Worktrees

log = logging.getLogger(__name__)
R = TypeVar("R")
RESTORE_LOOKS, RESTORE_PAUSE_S = 200, 0.05
PAUSE_SECONDS = 5.0  # how long runs may take to reach a safe moment when the engine stops
Handler = Callable[[Any], Awaitable[Any]]


class Engine:
    """Implements `Workbench`. Make it with `Engine.open`, `serve` it, and `close` it at the end."""

    def __init__(self, folder: DataFolder, db: Database, clock: Clock, sandbox: Sandbox) -> None:
        self._core = Core(folder, db, EventBus(), Worktrees(), clock, DEFAULT_MODEL)
        self._sandbox = sandbox
        self._blobs = BlobStore(folder.blobs)
        self._keys = KeyChain(folder.root)
        self._backends = Backends(
            (MessagesApiBackend(), ClaudeCodeBackend(), AcpBackend(), CommandBackend(), RecordedBackend())
        )
        self._patches = Patches(self._core)
        credentials = Credentials(self._core, self._keys)
        self._bin = RecoveryBin(self._core)
        self._turns = TurnSnapshots(self._core)
        handover = Handover(self._core)
        workspaces = Workspaces(self._core, sandbox, self._bin, handover)
        self._pool = Pool(self._core, workspaces, handover)
        self._unfinished = Unfinished(self._core, workspaces, handover)
        resolutions = Resolutions(self._core, self._bin)
        completion = Completion(self._core, credentials, resolutions)
        self._budgets = Budgets(self._core)
        awaited = Awaited()
        secrets = SecretStore(folder.root)
        servers = Servers(sandbox, secrets)
        self._registry = Registry(self._core, servers, secrets)
        self._preferences = Preferences(self._core, self._registry)
        self._agent_files = AgentFiles(self._core)
        self._detector = Detector(sandbox, self._keys)
        runner = Runner(
            self._core,
            self._blobs,
            sandbox,
            self._backends,
            workspaces,
            credentials,
            completion,
            self._budgets,
            awaited,
            servers,
            self._turns,
        )
        self._runner = runner
        self._supervisor = Supervisor(self._core, runner.play, self._runs_changed)
        self._setting_back = SettingBack(self._core, self._blobs, self._bin, self._supervisor)
        self._restoring_work = Restoring(self._core, self._blobs, self._bin)
        queue = Queue(
            self._core, self._blobs, self._backends, credentials, self._supervisor, self._budgets, sandbox.tier
        )
        dispatcher = Dispatcher(
            self._core,
            self._blobs,
            queue,
            runner,
            self._supervisor,
            workspaces,
            credentials,
            completion,
            self._setting_back,
        )
        self._decisions = Decisions(self._core, self._blobs, queue, awaited)
        self._catalog = Catalog(self._core, self._backends, dispatcher, self._pool)
        self._checks = Checks(self._core, self._blobs, sandbox, self._runs_changed)
        self._review = Review(self._core, self._blobs, dispatcher, workspaces, self._patches, self._checks)
        self._mending = Mending(self._core, workspaces, self._review)
        self._board = Board(self._core, dispatcher)
        self._dispatcher = dispatcher
        self._sample = Sample(self._core, self._catalog)
        self._undoing = Undoing(self._core, self._blobs, workspaces)
        self._resolving = Resolving(self._core, self._blobs, dispatcher, workspaces, resolutions)
        self._recovery = Recovery(self._core, self._blobs, self._review, self._undoing, self._resolving)
        self._records = Records(self._core, self._blobs)
        self._watching = Watching(self._core)
        self._foresight = Foresight(self._core)
        self._watching.subscribe(self._foresight.base_moved)
        self._watching.subscribe(self._checks.base_moved)
        self._watching.subscribe(self._pool.look_at)
        self._housekeeping = Housekeeping(self._core, self._bin, self._turns)
        self._doctor = HouseDoctor.of(
            self._core, sandbox, self._backends, workspaces, self._agent_files, self._recovery
        )
        self._clients: Callable[[], int] = lambda: 0
        self._windows: Callable[[], int] = lambda: 0
        self.on_runs_changed: Callable[[], None] = lambda: None
        self.on_stop: Callable[[bool], None] = lambda now: None
        self._restoring = False
        self._under_way = 0  # commands that are being carried out
        self._handlers = self._table()

    @classmethod
    async def open(cls, folder: DataFolder, clock: Clock, sandbox: Sandbox) -> Engine:
        """Open the data folder. Raises AgentPaneError with a STORE_ code."""
        folder.make()
        return cls(folder, await Database.open(folder), clock, sandbox)

    @property
    def alive_runs(self) -> int:
        """How many runs and rounds of checks work or wait for a place."""
        return self._supervisor.alive + self._checks.alive

    def count_with(self, clients: Callable[[], int], windows: Callable[[], int]) -> None:
        """Say how the connected clients are counted."""
        self._clients, self._windows = clients, windows

    async def serve(self) -> None:
        """Mend what the last engine left, then play runs until cancelled."""
        await self._mending.unlock()
        await self._recovery.run()
        await self._unfinished.run()
        await self._mending.run()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._housekeeping.run(), name="housekeeping")
            group.create_task(self._pool.run(), name="pool")
            group.create_task(self._supervisor.run(), name="supervisor")
            group.create_task(self._checks.serve(), name="checks")
            group.create_task(self._watching.run(), name="watching")
            group.create_task(self._foresight.run(), name="foresight")
            group.create_task(self._doctor.run(), name="doctor")

    async def close(self) -> None:
        """Let go of everything. Runs have been paused or abandoned before."""
        await self._checks.close()
        await self._supervisor.drain(0)
        await self._backends.close()
        self._patches.close()
        await self._core.git.close()
        await self._core.db.close()

    async def pause_all(self) -> None:
        """Pause every run at its next safe moment, or where it is when that takes too long."""
        await self._checks.close()
        self._runner.ask_all_to_pause()
        await self._supervisor.drain(PAUSE_SECONDS)
        for active in await self._core.db.read(runs.active):
            await self._core.db.write(
                runs.set_status, active.id, RunStatus.PAUSED, self._core.clock.now(), pause_reason=PauseReason.PERSON
            )
            task = await self._core.task(active.task_id)
            paused = {"state": "paused", "reason": "engine_stop"}
            await note(self._core, self._blobs, task, active.id, EventKind.STATE, paused)

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
        return self._core.bus.read(self._core.bus.last if after is None else after)

    def _table(self) -> dict[type[Command[Any]], Handler]:
        files = self._agent_files
        return {
            c.AddProject: files.after(self._catalog.add),
            c.ListProjects: self._catalog.listed,
            c.GetProject: files.after(self._catalog.get),
            c.EditProject: self._catalog.edit,
            c.TrustProject: files.after(self._catalog.trust),
            c.RemoveProject: self._catalog.remove,
            c.GetPool: self._pool.status,
            c.ListAgents: files.before(self._catalog.agents, "project"),
            c.AddAgent: self._catalog.add_agent,
            c.EditAgent: self._catalog.edit_agent,
            c.ListModels: self._models,
            c.DetectBackends: self._detect,
            c.CheckAgentFiles: self._check_agent_files,
            c.AddMcpServer: self._registry.add,
            c.RemoveMcpServer: self._registry.remove,
            c.CheckMcpServer: self._registry.check,
            c.ListRepositoryServers: files.servers,
            c.AddTask: files.before(self._board.add, "project", lambda command: command.start),
            c.ListTasks: self._board.cards,
            c.GetTask: self._board.get,
            c.EditTask: self._board.edit,
            c.DeleteTask: self._board.delete,
            c.MoveTask: files.before(self._board.move, "task", lambda command: command.column is Column.IN_PROGRESS),
            c.StartRun: files.before(self._dispatcher.start, "task"),
            c.ResumeRun: self._dispatcher.resume,
            c.PauseRun: self._dispatcher.pause,
            c.Answer: self._dispatcher.answer,
            c.CancelTask: self._dispatcher.cancel,
            c.ListApprovals: self._decisions.pending,
            c.DecideApproval: self._decisions.decide,
            c.GetDiff: self._review.diff,
            c.GetPatch: self._review.patch,
            c.Approve: self._review.approve,
            c.RunChecks: self._checks.run,
            c.StopChecks: self._checks.stop,
            c.Undo: self._undoing.undo,
            c.Reject: self._review.reject,
            c.HandOverConflict: self._resolving.hand_over,
            c.WriteConflict: self._resolving.write,
            c.TakeResolution: self._resolving.take,
            c.AbandonResolution: self._resolving.abandon,
            c.ListTurns: self._turns.listed,
            c.ListRecoveries: self._bin.listed,
            c.DeleteRecovery: self._bin.delete,
            c.RestoreRecovery: self._restoring_work.restore,
            c.ResetWorktree: self._setting_back.reset,
            c.ReadSession: self._records.session,
            c.ReadOutput: self._records.output,
            c.ListCosts: self._budgets.costs,
            c.ListBudgets: self._budgets.of_task,
            c.ListAudit: self._records.audit_of,
            c.VerifyAudit: self._records.verify,
            c.GetStatus: self._status,
            c.StopEngine: self._stop,
            c.RaiseWindow: self._raise_window,
            c.Doctor: self._doctor.report,
            c.Repair: self._doctor.repair,
            c.GetHealth: self._doctor.health,
            c.ListWorktrees: self._doctor.listed,
            c.RemoveWorktree: self._doctor.remove,
            c.CheckDatabase: self._check_database,
            c.BackupDatabase: self._backup,
            c.RestoreDatabase: self._restore,
            c.PrepareDemo: self._sample.prepare,
            c.GetSettings: self._preferences.get,
            c.ChangeSettings: self._preferences.change,
            c.GetKeyStatus: self._key_status,
            c.StoreKey: self._store_key,
        }

    def _runs_changed(self) -> None:
        self.on_runs_changed()

    async def _models(self, command: c.ListModels) -> tuple[ModelChoice, ...]:
        return await asyncio.to_thread(models)

    async def _detect(self, command: c.DetectBackends) -> tuple[DetectedBackend, ...]:
        return await self._detector.detect(command.environment)

    async def _check_agent_files(self, command: c.CheckAgentFiles) -> tuple[Finding, ...]:
        return await self._agent_files.refresh_for(project=command.project)

    async def _status(self, command: c.GetStatus) -> EngineStatus:
        return EngineStatus(True, os.getpid(), __version__, self._clients(), self._supervisor.alive)

    async def _stop(self, command: c.StopEngine) -> EngineStatus:
        status = await self._status(c.GetStatus())
        self._core.bus.publish(EngineStopping("stopped by command"))
        self.on_stop(command.now)
        return status

    async def _raise_window(self, command: c.RaiseWindow) -> int:
        count = self._windows()
        if count:
            self._core.bus.publish(WindowRaised())
        return count

    async def _check_database(self, command: c.CheckDatabase) -> tuple[str, ...]:
        return await self._core.db.check()

    async def _backup(self, command: c.BackupDatabase) -> str:
        target = Path(command.file).expanduser()
        if not target.is_absolute():
            raise invalid("file", "The backup's path must be absolute.")
        await self._core.db.backup(target)
        return str(target)

    async def _restore(self, command: c.RestoreDatabase) -> str:
        source = Path(command.file).expanduser()
        if self._supervisor.active:
            raise AgentPaneError(
                ErrorCode.PROJECT_HAS_RUNNING_AGENTS,
                "Agents are at work; the database cannot be replaced under them.",
                hint="Pause or cancel the runs first. Nothing has changed.",
            )
        self._restoring = True
        await self._checks.end()
        try:
            await self._until_alone()
            kept = await self._core.db.replace_with(source)
            await self._recovery.run()
            await self._unfinished.run()
            told = {"file": str(source), "kept": str(kept)}
            await self._core.audit(self._core.record("db.restore", OWN_CHAIN, input=told))
        finally:
            self._restoring = False
        self._core.bus.forget()
        self._supervisor.wake()
        return str(kept)

    async def _until_alone(self) -> None:
        """Wait until the other commands have ended. Raises RESOURCE_LOCKED if that takes too long."""
        for _ in range(RESTORE_LOOKS):
            if self._under_way == 1:
                return
            await self._core.clock.sleep(RESTORE_PAUSE_S)
        raise AgentPaneError(
            ErrorCode.RESOURCE_LOCKED,
            "Other commands are still being carried out.",
            hint="Try again when they have ended. Nothing has changed.",
        )

    async def _key_status(self, command: c.GetKeyStatus) -> KeyStatus:
        return await self._keys.status(command.environment)

    async def _store_key(self, command: c.StoreKey) -> KeyStatus:
        status = await self._keys.store(command.key)
        act = "key.store" if command.key.strip() else "key.forget"
        await self._core.audit(self._core.record(act, OWN_CHAIN, output={"source": status.source.value}))
        self._core.bus.publish(KeyChanged(status))
        return status
