"""Every service of the orchestrator, made once and given what it needs of the others."""

from __future__ import annotations

from collections.abc import Callable

from agentpane.clock import Clock
from agentpane.db.connection import Database
from agentpane.orchestrator.agents.agent_sync import AgentFiles
from agentpane.orchestrator.agents.credentials import Credentials
from agentpane.orchestrator.agents.detecting import Detector
from agentpane.orchestrator.agents.keys import KeyChain
from agentpane.orchestrator.agents.secrets import SecretStore
from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.claude_code import ClaudeCodeBackend
from agentpane.orchestrator.backends.command import CommandBackend
from agentpane.orchestrator.backends.messages_api import DEFAULT_MODEL, MessagesApiBackend
from agentpane.orchestrator.backends.recorded import RecordedBackend
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.board import Board
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.catalog import Catalog
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.doctor import HouseDoctor
from agentpane.orchestrator.housekeeping import Housekeeping
from agentpane.orchestrator.keeping.leaving import Leaving
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.restoring import Restoring
from agentpane.orchestrator.keeping.setting_back import SettingBack
from agentpane.orchestrator.keeping.turn_snapshots import TurnSnapshots
from agentpane.orchestrator.mcp.registry import Registry
from agentpane.orchestrator.mcp.servers import Servers
from agentpane.orchestrator.merging.checks import Checks
from agentpane.orchestrator.merging.foresight import Foresight
from agentpane.orchestrator.merging.recovery import Recovery
from agentpane.orchestrator.merging.resolutions import Resolutions
from agentpane.orchestrator.merging.resolving import Resolving
from agentpane.orchestrator.merging.review import Review
from agentpane.orchestrator.merging.undoing import Undoing
from agentpane.orchestrator.merging.watching import Watching
from agentpane.orchestrator.patches import Patches
from agentpane.orchestrator.preferences import Preferences
from agentpane.orchestrator.records import Records
from agentpane.orchestrator.runs.awaited import Awaited
from agentpane.orchestrator.runs.budgets import Budgets
from agentpane.orchestrator.runs.cancelling import Cancelling
from agentpane.orchestrator.runs.completion import Completion
from agentpane.orchestrator.runs.decisions import Decisions
from agentpane.orchestrator.runs.dispatch import Dispatcher
from agentpane.orchestrator.runs.queueing import Queue
from agentpane.orchestrator.runs.runner import Runner
from agentpane.orchestrator.runs.supervisor import Supervisor
from agentpane.orchestrator.sample import Sample
from agentpane.orchestrator.workspaces.handover import Handover
from agentpane.orchestrator.workspaces.mending import Mending
from agentpane.orchestrator.workspaces.pool import Pool
from agentpane.orchestrator.workspaces.unfinished import Unfinished
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.paths import DataFolder
from agentpane.sandbox import Sandbox
from agentpane.worktrees import Worktrees


class Services:
    """What the engine is made of. runs_changed: called when what keeps the engine alive may have changed."""

    def __init__(
        self, folder: DataFolder, db: Database, clock: Clock, sandbox: Sandbox, runs_changed: Callable[[], None]
    ) -> None:
        self.core = Core(folder, db, EventBus(), Worktrees(noted=folder.at_work), clock, DEFAULT_MODEL)
        self.sandbox = sandbox
        self.blobs = BlobStore(folder.blobs)
        self.keys = KeyChain(folder.root)
        self.backends = Backends(
            (MessagesApiBackend(), ClaudeCodeBackend(), AcpBackend(), CommandBackend(), RecordedBackend())
        )
        self.patches = Patches(self.core)
        credentials = Credentials(self.core, self.keys)
        self.bin = RecoveryBin(self.core)
        self.leaving = Leaving(self.core)
        self.turns = TurnSnapshots(self.core)
        handover = Handover(self.core)
        workspaces = Workspaces(self.core, sandbox, self.bin, handover)
        self.pool = Pool(self.core, workspaces, handover)
        self.unfinished = Unfinished(self.core, workspaces, handover)
        resolutions = Resolutions(self.core, self.bin)
        completion = Completion(self.core, credentials, resolutions)
        self.budgets = Budgets(self.core)
        awaited = Awaited()
        secrets = SecretStore(folder.root)
        servers = Servers(sandbox, secrets)
        self.registry = Registry(self.core, servers, secrets)
        self.preferences = Preferences(self.core, self.registry, self.keys)
        self.agent_files = AgentFiles(self.core)
        self.detector = Detector(sandbox, self.keys)
        runner = Runner(
            self.core,
            self.blobs,
            sandbox,
            self.backends,
            workspaces,
            credentials,
            completion,
            self.budgets,
            awaited,
            servers,
            self.turns,
        )
        self.runner = runner
        self.supervisor = Supervisor(self.core, runner.play, runs_changed)
        self.setting_back = SettingBack(self.core, self.blobs, self.bin, self.supervisor)
        self.restoring_work = Restoring(self.core, self.blobs, self.bin)
        queue = Queue(self.core, self.blobs, self.backends, credentials, self.supervisor, self.budgets, sandbox.tier)
        dispatcher = Dispatcher(
            self.core,
            self.blobs,
            queue,
            runner,
            self.supervisor,
            workspaces,
            credentials,
            completion,
            self.setting_back,
        )
        self.cancelling = Cancelling(self.core, self.blobs, workspaces, dispatcher, self.leaving)
        self.decisions = Decisions(self.core, self.blobs, queue, awaited)
        self.catalog = Catalog(self.core, self.backends, dispatcher, self.cancelling, self.pool)
        self.checks = Checks(self.core, self.blobs, sandbox, runs_changed)
        self.review = Review(self.core, self.blobs, dispatcher, workspaces, self.patches, self.checks)
        self.mending = Mending(self.core, workspaces, self.review)
        self.board = Board(self.core, dispatcher, self.cancelling)
        self.dispatcher = dispatcher
        self.sample = Sample(self.core, self.catalog)
        self.undoing = Undoing(self.core, self.blobs, workspaces)
        self.resolving = Resolving(self.core, self.blobs, dispatcher, workspaces, resolutions)
        self.recovery = Recovery(self.core, self.blobs, self.review, self.undoing, self.resolving)
        self.records = Records(self.core, self.blobs)
        self.watching = Watching(self.core)
        self.foresight = Foresight(self.core)
        self.watching.subscribe(self.foresight.base_moved)
        self.watching.subscribe(self.checks.base_moved)
        self.watching.subscribe(self.pool.look_at)
        self.housekeeping = Housekeeping(self.core, self.bin, self.turns)
        self.doctor = HouseDoctor.of(self.core, sandbox, self.backends, workspaces, self.agent_files, self.recovery)
