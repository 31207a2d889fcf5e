"""A small workbench that keeps everything in memory, obeys the board's rules and announces what it does.

It stands in for the engine where a test is about the window. Runs end when a test says so (`finish`, `say`, …).
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from agentpane.api import commands as c
from agentpane.api import events as e
from agentpane.api.command import Command
from agentpane.domain.agents import Agent, AgentConfig, BackendName, DetectedBackend, ModelChoice
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.board import BoardEvent, Column, after, check_drag
from agentpane.domain.budgets import Standing
from agentpane.domain.checks import CheckResult
from agentpane.domain.costs import CostGroup, CostLine
from agentpane.domain.demo import DemoReady
from agentpane.domain.engine import EngineStatus, KeySource, KeyStatus, Settings
from agentpane.domain.health import DoctorReport, RepairOutcome, WorktreeEntry
from agentpane.domain.ids import AgentId, ApprovalId, ProjectId, RunId, SessionId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.keeping import Cancelled, Going
from agentpane.domain.limits import TASK_TITLE, check_labels, check_line
from agentpane.domain.mcp import McpCheck, RepositoryServers
from agentpane.domain.pool import PoolStatus
from agentpane.domain.projects import Project, ProjectConfig, ProjectCounts
from agentpane.domain.recoveries import RecoverySnapshot, RestoredWork
from agentpane.domain.resolving import LaidPath, Layout, Resolver, Resolving, Stage
from agentpane.domain.review import ApproveOutcome, ApproveResult, DiffSummary, FileDiff, PatchChunk
from agentpane.domain.runs import ACTIVE, AgentStatus, AgentType, PauseReason, Run, RunStatus
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import RunBrief, Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode

R = TypeVar("R")
START = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)
SHA = "4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d"


class MemoryEngine:
    """The world behind the door. `connect` gives a client of it; `die` ends every one of them."""

    def __init__(self) -> None:
        self.standings: tuple[Standing, ...] = ()
        self.costs: dict[CostGroup, tuple[CostLine, ...]] = {}
        self.servers: dict[str, RepositoryServers] = {}  # of a project's repository
        self.checks: dict[str, McpCheck | asyncio.Future[McpCheck]] = {}
        self.secrets: dict[str, str] = {}
        self.health: DoctorReport | None = None
        self.worktrees: dict[str, WorktreeEntry] = {}
        self.recoveries: dict[str, RecoverySnapshot] = {}
        self.going: dict[str, Going] = {}  # by card
        self.kept_by_cancel: dict[str, RecoverySnapshot] = {}  # by the card that leaves it in the bin
        self.projects: dict[str, Project] = {}
        self.agents: dict[str, Agent] = {}
        self.tasks: dict[str, Task] = {}
        self.sessions: dict[str, list[SessionEvent]] = {}
        self.approvals: dict[str, Approval] = {}
        self.patches: dict[str, tuple[DiffSummary, bytes]] = {}
        self.outcomes: dict[str, ApproveOutcome] = {}  # what Approve answers for a task, instead of merging
        self.faults: dict[type[Command[Any]], AgentPaneError] = {}
        self.holds: dict[type[Command[Any]], asyncio.Event] = {}  # commands that are answered only after this
        self.settings = Settings()
        self.key = KeyStatus(KeySource.NONE, "")
        self.stored_keys: list[str] = []
        self.done: list[Command[Any]] = []
        self.running = True
        self.clients: list[MemoryBench] = []
        self._numbers = itertools.count(1)
        self._seq = itertools.count(1)
        self._now = START

    async def connect(self) -> MemoryBench:
        if not self.running:
            raise AgentPaneError(ErrorCode.ENGINE_UNREACHABLE, "No engine is running.", "It is being started.")
        client = MemoryBench(self)
        self.clients.append(client)
        return client

    def die(self) -> None:
        self.running = False
        for client in self.clients:
            client.queue.put_nowait(None)
        self.clients.clear()

    def come_back(self) -> None:
        self.running = True

    def publish(self, event: e.Event) -> None:
        published = e.Published(next(self._seq), event)
        for client in self.clients:
            client.queue.put_nowait(published)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def new_id(self, kind: str) -> str:
        return f"{kind}{next(self._numbers):04d}"

    # Making things

    def add_project(self, name: str = "ledger", *, recorded: bool = False, **fields: Any) -> Project:
        project = Project(
            id=ProjectId(self.new_id("p")),
            name=name,
            path=fields.pop("path", f"/home/sam/src/{name}"),
            description="",
            base_branch="main",
            trusted=True,
            trust_pending=(),
            recorded=recorded,
            max_concurrent_agents=3,
            config=ProjectConfig(),
            created_at=self.now(),
        )
        project = replace(project, **fields)
        self.projects[project.id] = project
        self.add_agent(project.id, "default", default=True)
        return project

    def add_agent(self, project: str, name: str, *, default: bool = False, config: AgentConfig | None = None) -> Agent:
        config = config or AgentConfig()
        agent = Agent(
            AgentId(self.new_id("a")), ProjectId(project), name, AgentType.TASK, BackendName.ANTHROPIC,
            AgentStatus.IDLE, default, config, config.model or "claude-sonnet-5",
        )  # fmt: skip
        self.agents[agent.id] = agent
        return agent

    def add_task(
        self, project: str, title: str, column: Column = Column.BACKLOG, *, description: str = "", **fields: Any
    ) -> Task:
        agent = next(agent for agent in self.agents.values() if agent.project_id == project)
        card = TaskCard(
            id=TaskId(self.new_id("t")),
            project_id=ProjectId(project),
            title=title,
            labels=(),
            column=column,
            position=len(self.column(project, column)),
            agent_id=agent.id,
            agent=agent.name,
            run=None,
            files_changed=None,
            lines_added=None,
            lines_removed=None,
            rejection_count=0,
            conflicts=(),
            code=None,
            approvals_pending=0,
            updated_at=self.now(),
        )
        task = Task(
            card=replace(card, **fields),
            description=description,
            branch=None,
            base_branch="main",
            base_sha=None,
            worktree=None,
            snapshot=None,
            merge_commit=None,
            rejection_reason=None,
            session_id=SessionId(self.new_id("s")),
            created_at=self.now(),
            approved_at=None,
            approved_by=None,
            runs=(),
        )
        self.tasks[task.card.id] = task
        self.sessions[task.card.id] = []
        return task

    def add_task_fast(self, project: str, title: str, column: Column, position: int) -> None:
        """The same for thousands of cards: nobody is asked where the column ends."""
        agent = next(agent for agent in self.agents.values() if agent.project_id == project)
        card = TaskCard(
            TaskId(self.new_id("t")), ProjectId(project), title, (), column, position, agent.id, agent.name, None,
            None, None, None, 0, (), None, 0, START,
        )  # fmt: skip
        self.tasks[card.id] = Task(
            card, "", None, "main", None, None, None, None, None, None, START, None, None, ()
        )  # fmt: skip

    def column(self, project: str, column: Column) -> list[Task]:
        here = [task for task in self.tasks.values() if task.card.project_id == project]
        found = [task for task in here if task.card.column is column and task.card.archived_at is None]
        return sorted(found, key=lambda task: task.card.position)

    # Changing things

    def change(self, task_id: str, *, whole: dict[str, Any] | None = None, **fields: Any) -> Task:
        """Change a card's fields, and the whole task's, and announce it."""
        old = self.tasks[task_id]
        task = replace(old, card=replace(old.card, updated_at=self.now(), **fields), **(whole or {}))
        self.tasks[task_id] = task
        self.publish(e.TaskChanged(task.card))
        self.count(task.card.project_id)
        return task

    def count(self, project_id: str) -> None:
        cards = [task.card for task in self.tasks.values() if task.card.project_id == project_id]
        counts = ProjectCounts(
            running=sum(card.run is not None and card.run.status in ACTIVE for card in cards),
            queued=sum(card.run is not None and card.run.status is RunStatus.QUEUED for card in cards),
            waiting=sum(card.column is Column.WAITING_APPROVAL or bool(card.approvals_pending) for card in cards),
            failed=sum(card.run is not None and card.run.status is RunStatus.ERROR for card in cards),
        )
        self.projects[project_id] = replace(self.projects[project_id], counts=counts)
        self.publish(e.ProjectChanged(self.projects[project_id]))

    def put(self, task_id: str, column: Column, position: int | None) -> Task:
        card = self.tasks[task_id].card
        order = [task.card.id for task in self.column(card.project_id, column) if task.card.id != task_id]
        order.insert(len(order) if position is None else position, TaskId(task_id))
        renumbered = []
        for number, other in enumerate(order):
            if other != task_id and self.tasks[other].card.position != number:
                renumbered.append((str(other), number))
                self.tasks[other] = replace(self.tasks[other], card=replace(self.tasks[other].card, position=number))
        old = self.tasks[task_id]
        changed = replace(old.card, column=column, position=order.index(TaskId(task_id)), updated_at=self.now())
        self.tasks[task_id] = replace(old, card=changed)
        self.publish(e.TaskChanged(changed, tuple(renumbered)))
        return self.tasks[task_id]

    def start(
        self, task_id: str, status: RunStatus = RunStatus.RUNNING, position: int | None = None, **run: Any
    ) -> Task:
        self.put(task_id, Column.IN_PROGRESS, position)
        brief = RunBrief(status, 0, 50, None, datetime.now(UTC), None, None, None, "A", None, None)
        brief = replace(brief, **run)
        task = self.tasks[task_id]
        whole = Run(
            RunId(self.new_id("r")), task.card.id, AgentId(task.card.agent_id or ""), task.card.agent or "",
            "anthropic",
            "claude-sonnet-5", status, brief.turns, 50, 0, 0, brief.cost_usd, START, brief.started_at, brief.ended_at,
            brief.pause_reason, brief.sandbox_tier, None,
        )  # fmt: skip
        runs = (*task.runs, whole)
        return self.change(
            task_id, run=brief, whole={"runs": runs, "worktree": f"/w/{task_id}", "branch": f"agentpane/{task_id}"}
        )

    def say(
        self, task_id: str, kind: EventKind, data: JsonObject, turn: int = 1, run_id: str | None = None,
        at: datetime | None = None,
    ) -> SessionEvent:  # fmt: skip
        """run_id: the sub-agent's that says it; else the task's newest run."""
        events = self.sessions[task_id]
        runs = self.tasks[task_id].runs
        run = RunId(run_id) if run_id else (runs[-1].id if runs else None)
        event = SessionEvent(len(events) + 1, at or self.now(), kind, turn, run, data)
        events.append(event)
        self.publish(e.SessionAppended(task_id, (event,)))
        return event

    def ask(
        self,
        task_id: str,
        tool: str,
        data: JsonObject,
        summary: str,
        *,
        rules: tuple[str, ...] = ("allow Bash(curl:*)",),
        detail: str = "",
        reason: PauseReason = PauseReason.APPROVAL,
    ) -> Approval:
        task = self.tasks[task_id]
        approval = Approval(
            ApprovalId(self.new_id("q")), task.card.project_id, task.card.id, task.runs[-1].id, self.new_id("call"),
            tool, data, summary, ApprovalState.PENDING, None, self.now(), None, None,
            rules, detail,
        )  # fmt: skip
        self.approvals[approval.id] = approval
        brief = task.card.run
        assert brief is not None
        paused = replace(brief, status=RunStatus.PAUSED, pause_reason=reason)
        self.change(task_id, approvals_pending=1, run=paused)
        self.publish(e.ApprovalChanged(approval))
        return approval

    def finish(self, task_id: str, patch: bytes, files: tuple[FileDiff, ...]) -> Task:
        """The agent ends with this diff: the card waits for approval."""
        self.patches[task_id] = (DiffSummary("0" * 40, SHA, files, "main"), patch)
        brief = self.tasks[task_id].card.run
        ended = None if brief is None else replace(brief, status=RunStatus.COMPLETED, ended_at=datetime.now(UTC))
        self.put(task_id, Column.WAITING_APPROVAL, None)
        return self.change(
            task_id,
            run=ended,
            files_changed=len(files),
            lines_added=sum(file.added or 0 for file in files),
            lines_removed=sum(file.removed or 0 for file in files),
            whole={"snapshot": SHA},
        )


class MemoryBench:
    """One client of a MemoryEngine."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self.queue: asyncio.Queue[e.Published | e.CatchUp | None] = asyncio.Queue()

    async def close(self) -> None:
        if self in self._engine.clients:
            self._engine.clients.remove(self)

    async def events(self, after: int | None = None) -> AsyncIterator[e.Published | e.CatchUp]:
        while (item := await self.queue.get()) is not None:
            yield item
        raise AgentPaneError(ErrorCode.ENGINE_UNREACHABLE, "The engine has ended.")

    async def do(self, command: Command[R]) -> R:
        engine = self._engine
        await asyncio.sleep(0)
        if not engine.running:
            raise AgentPaneError(ErrorCode.ENGINE_UNREACHABLE, "The engine has ended.")
        engine.done.append(command)
        if type(command) in engine.holds:
            await engine.holds[type(command)].wait()
        fault = engine.faults.get(type(command))
        if fault is not None:
            raise fault
        handler: Callable[[Any], Any] = getattr(self, f"_{type(command).__name__}")
        result = handler(command)
        answer: R = await result if inspect.isawaitable(result) else result
        return answer

    def _ListProjects(self, command: c.ListProjects) -> tuple[Project, ...]:
        return tuple(self._engine.projects.values())

    def _GetProject(self, command: c.GetProject) -> Project:
        return self._engine.projects[command.project]

    def _AddProject(self, command: c.AddProject) -> Project:
        if command.path.endswith("no-repo"):
            raise AgentPaneError(
                ErrorCode.PROJECT_NOT_A_GIT_REPO,
                "There is no git repository.",
                "Choose another folder, or run git init.",
            )
        project = self._engine.add_project(command.path.rsplit("/", 1)[-1], path=command.path)
        self._engine.publish(e.ProjectChanged(project))
        return project

    def _EditProject(self, command: c.EditProject) -> Project:
        fields = {
            name: value
            for name in ("name", "description", "max_concurrent_agents", "config")
            if (value := getattr(command, name)) is not None
        }
        project = replace(self._engine.projects[command.project], **fields)
        self._engine.projects[project.id] = project
        self._engine.publish(e.ProjectChanged(project))
        return project

    def _TrustProject(self, command: c.TrustProject) -> Project:
        project = replace(self._engine.projects[command.project], trusted=True, trust_pending=())
        self._engine.projects[project.id] = project
        self._engine.publish(e.ProjectChanged(project))
        return project

    def _RemoveProject(self, command: c.RemoveProject) -> Project:
        project = self._engine.projects.pop(command.project)
        self._engine.publish(e.ProjectRemoved(project.id))
        return project

    def _PrepareDemo(self, command: c.PrepareDemo) -> DemoReady:
        project = self._engine.add_project("sample", recorded=True)
        task = self._engine.add_task(project.id, "Fix the failing test", labels=("bug",))
        return DemoReady(project.id, task.card.id, project.path)

    def _ListAgents(self, command: c.ListAgents) -> tuple[Agent, ...]:
        return tuple(agent for agent in self._engine.agents.values() if agent.project_id == command.project)

    def _AddAgent(self, command: c.AddAgent) -> Agent:
        agent = self._engine.add_agent(command.project, command.name, config=command.config)
        self._engine.publish(e.AgentChanged(agent))
        return agent

    def _EditAgent(self, command: c.EditAgent) -> Agent:
        agent = self._engine.agents[command.agent]
        config = command.config or agent.config
        agent = replace(agent, config=config, name=command.name or agent.name, model=config.model or "claude-sonnet-5")
        self._engine.agents[agent.id] = agent
        self._engine.publish(e.AgentChanged(agent))
        return agent

    def _ListCosts(self, command: c.ListCosts) -> tuple[CostLine, ...]:
        return self._engine.costs.get(command.group, ())

    def _ListBudgets(self, command: c.ListBudgets) -> tuple[Standing, ...]:
        return self._engine.standings

    def _DetectBackends(self, command: c.DetectBackends) -> tuple[DetectedBackend, ...]:
        return (
            DetectedBackend(BackendName.ANTHROPIC, None, "Messages API", None, None, True, True, "A key is stored."),
            DetectedBackend(
                BackendName.CLAUDE_CODE, None, "Claude Code", "/usr/bin/claude", "2.1.0", None, True, "/usr/bin/claude"
            ),
            DetectedBackend(BackendName.ACP, "claude", "Claude Code", None, None, None, False, "Not installed."),
            DetectedBackend(BackendName.ACP, "codex", "Codex", None, None, None, False, "Not installed."),
            DetectedBackend(BackendName.COMMAND, None, "Any command", None, None, None, True, "Always there."),
        )

    def _AddMcpServer(self, command: c.AddMcpServer) -> Settings:
        self._engine.secrets |= command.secrets
        servers = tuple(one for one in self._engine.settings.mcp_servers if one.name != command.server.name)
        return self._ChangeSettings(
            c.ChangeSettings(replace(self._engine.settings, mcp_servers=(*servers, command.server)))
        )

    def _RemoveMcpServer(self, command: c.RemoveMcpServer) -> Settings:
        servers = tuple(one for one in self._engine.settings.mcp_servers if one.name != command.name)
        return self._ChangeSettings(c.ChangeSettings(replace(self._engine.settings, mcp_servers=servers)))

    def _CheckMcpServer(self, command: c.CheckMcpServer) -> McpCheck | asyncio.Future[McpCheck]:
        return self._engine.checks.get(command.name, McpCheck(command.name, ""))

    def _ListRepositoryServers(self, command: c.ListRepositoryServers) -> RepositoryServers:
        found = self._engine.servers.get(command.project, RepositoryServers())
        return replace(found, trusted=self._engine.projects[command.project].trusted)

    def _ListModels(self, command: c.ListModels) -> tuple[ModelChoice, ...]:
        return (ModelChoice("claude-sonnet-5", 3.0, 15.0, True), ModelChoice("claude-opus-5", None, None, False))

    def _ListTasks(self, command: c.ListTasks) -> tuple[TaskCard, ...]:
        if command.archived:
            cards = [task.card for task in self._engine.tasks.values() if task.card.project_id == command.project]
            return tuple(card for card in cards if card.archived_at is not None)
        columns = (command.column,) if command.column else tuple(Column)
        return tuple(task.card for column in columns for task in self._engine.column(command.project, column))

    def _GetTask(self, command: c.GetTask) -> Task:
        return self._engine.tasks[command.task]

    def _AddTask(self, command: c.AddTask) -> Task:
        title, labels = check_line("title", command.title, TASK_TITLE), check_labels(command.labels)
        task = self._engine.add_task(command.project, title, description=command.description, labels=labels)
        task = self._engine.put(task.card.id, Column.BACKLOG, 0)
        return self._engine.start(task.card.id) if command.start else task

    def _EditTask(self, command: c.EditTask) -> Task:
        fields: dict[str, Any] = {}
        if command.title is not None:
            fields["title"] = command.title
        if command.labels is not None:
            fields["labels"] = command.labels
        whole = {} if command.description is None else {"description": command.description}
        return self._engine.change(command.task, whole=whole, **fields)

    def _ArchiveTask(self, command: c.ArchiveTask) -> Task:
        task = self._engine.tasks[command.task]
        after(task.card.column, BoardEvent.ARCHIVE)
        task = replace(task, card=replace(task.card, archived_at=self._engine.now()))
        self._engine.tasks[command.task] = task
        self._engine.publish(e.TaskRemoved(task.card.id, task.card.project_id))
        return task

    def _UnarchiveTask(self, command: c.UnarchiveTask) -> Task:
        task = self._engine.tasks[command.task]
        self._engine.tasks[command.task] = replace(task, card=replace(task.card, archived_at=None))
        return self._engine.put(command.task, task.card.column, 0)

    def _DeleteTask(self, command: c.DeleteTask) -> Task:
        task = self._engine.tasks.pop(command.task)
        self._engine.publish(e.TaskRemoved(task.card.id, task.card.project_id))
        return task

    def _MoveTask(self, command: c.MoveTask) -> Task:
        card = self._engine.tasks[command.task].card
        check_drag(card.column, command.column)
        if command.column is card.column:
            return self._engine.put(command.task, command.column, command.position)
        if command.column is Column.IN_PROGRESS:
            return self._engine.start(command.task, position=command.position)
        self._engine.put(command.task, command.column, command.position)
        return self._engine.change(command.task, run=None)

    def _StartRun(self, command: c.StartRun) -> Task:
        return self._engine.start(command.task)

    def _ResumeRun(self, command: c.ResumeRun) -> Task:
        return self._status(command.task, RunStatus.RUNNING)

    def _PauseRun(self, command: c.PauseRun) -> Task:
        return self._status(command.task, RunStatus.PAUSED)

    def _Answer(self, command: c.Answer) -> Task:
        self._engine.say(command.task, EventKind.ANSWER, {"text": command.text, "from": "person"}, 0)
        return self._engine.tasks[command.task]

    def _ForeseeCancel(self, command: c.ForeseeCancel) -> Going:
        return self._engine.going.get(command.task, Going())

    def _CancelTask(self, command: c.CancelTask) -> Task:
        return self._PutBack(c.PutBack(command.task, command.confirmed)).task

    def _PutBack(self, command: c.PutBack) -> Cancelled:
        waits = self._engine.tasks[command.task].card.column is Column.WAITING_APPROVAL
        if waits and not command.confirmed:
            raise AgentPaneError(ErrorCode.VALIDATION_ERROR, "Its diff waits for approval.", "Confirm it.")
        self._engine.put(command.task, Column.BACKLOG, command.position)
        kept = self._engine.kept_by_cancel.get(command.task)
        self._engine.recoveries.update({} if kept is None else {kept.id: kept})
        done = self._status(command.task, RunStatus.CANCELLED)
        return Cancelled(done, kept, self._engine.going.get(command.task, Going()))

    def _ListApprovals(self, command: c.ListApprovals) -> tuple[Approval, ...]:
        return tuple(
            approval for approval in self._engine.approvals.values() if approval.state is ApprovalState.PENDING
        )

    def _DecideApproval(self, command: c.DecideApproval) -> Approval:
        state = ApprovalState.ALLOWED if command.allow else ApprovalState.DENIED
        approval = replace(self._engine.approvals[command.approval], state=state, message=command.message)
        self._engine.approvals[approval.id] = approval
        self._engine.publish(e.ApprovalChanged(approval))
        self._engine.change(approval.task_id, approvals_pending=0)
        self._status(approval.task_id, RunStatus.RUNNING)
        return approval

    def _GetDiff(self, command: c.GetDiff) -> DiffSummary:
        return self._engine.patches[command.task][0]

    def _GetPatch(self, command: c.GetPatch) -> PatchChunk:
        data = self._engine.patches[command.task][1]
        part = data[command.offset : command.offset + (1 << 20)]
        end = command.offset + len(part)
        return PatchChunk(part, end if end < len(data) else None)

    def _Approve(self, command: c.Approve) -> ApproveOutcome:
        outcome = self._engine.outcomes.get(command.task)
        if outcome is not None:
            return outcome
        self._engine.put(command.task, Column.VERIFIED, 0)
        self._engine.change(command.task, whole={"merge_commit": "9" * 40})
        return ApproveOutcome(command.task, ApproveResult.MERGED, "9" * 40, (), None, "Merged.", "")

    def _Undo(self, command: c.Undo) -> Task:
        self._engine.put(command.task, Column.WAITING_APPROVAL, 0)
        return self._engine.change(command.task, whole={"merge_commit": None})

    def _Reject(self, command: c.Reject) -> Task:
        count = self._engine.tasks[command.task].card.rejection_count
        self._engine.start(command.task)
        return self._engine.change(
            command.task, rejection_count=count + 1, files_changed=None, whole={"rejection_reason": command.reason}
        )

    def _ReadSession(self, command: c.ReadSession) -> tuple[SessionEvent, ...]:
        return tuple(self._engine.sessions[command.task][command.after : command.after + command.limit])

    def _ReadOutput(self, command: c.ReadOutput) -> PatchChunk:
        return PatchChunk(b"the whole output\n" * 200, None)

    def _HandOverConflict(self, command: c.HandOverConflict) -> Task:
        return self._engine.start(command.task)

    def _WriteConflict(self, command: c.WriteConflict) -> Task:
        card = self._engine.tasks[command.task].card
        laid = tuple(LaidPath(one.path, one.kind, Layout.MARKED, marked=True) for one in card.conflicts)
        return self._engine.change(
            command.task, conflicts=(), resolving=Resolving("main", Resolver.PERSON, Stage.WRITTEN, laid)
        )

    def _TakeResolution(self, command: c.TakeResolution) -> Task:
        return self._engine.change(command.task, conflicts=(), resolving=None)

    def _AbandonResolution(self, command: c.AbandonResolution) -> Task:
        return self._engine.change(command.task, resolving=None)

    def _RunChecks(self, command: c.RunChecks) -> tuple[CheckResult, ...]:
        return self._engine.tasks[command.task].card.checks

    def _StopChecks(self, command: c.StopChecks) -> Task:
        return self._engine.tasks[command.task]

    def _ResetWorktree(self, command: c.ResetWorktree) -> Task:
        return self._engine.tasks[command.task]

    def _GetHealth(self, command: c.GetHealth) -> DoctorReport | None:
        return self._engine.health

    def _Doctor(self, command: c.Doctor) -> DoctorReport:
        return self._engine.health or DoctorReport(True, (), "A", {})

    def _Repair(self, command: c.Repair) -> DoctorReport:
        was = self._Doctor(c.Doctor())
        left = tuple(one for one in was.findings if one.id not in command.findings)
        there = {one.id for one in was.findings}
        done = tuple(
            RepairOutcome(one, one in there, "Mended." if one in there else "Gone.") for one in command.findings
        )
        self._engine.health = replace(was, ok=not left, findings=left, repairs=done)
        return self._engine.health

    def _ListWorktrees(self, command: c.ListWorktrees) -> tuple[WorktreeEntry, ...]:
        every = self._engine.worktrees.values()
        return tuple(one for one in every if command.project in {None, one.project_id})

    def _RemoveWorktree(self, command: c.RemoveWorktree) -> WorktreeEntry:
        return self._engine.worktrees.pop(command.worktree)

    def _ListRecoveries(self, command: c.ListRecoveries) -> tuple[RecoverySnapshot, ...]:
        every = self._engine.recoveries.values()
        return tuple(one for one in every if command.project in {None, one.project_id})

    def _RestoreRecovery(self, command: c.RestoreRecovery) -> RestoredWork:
        kept = self._engine.recoveries[command.recovery]
        return RestoredWork(kept.id, f"/src/.worktrees/{kept.branch}", kept.branch, kept.task_id)

    def _DeleteRecovery(self, command: c.DeleteRecovery) -> RecoverySnapshot:
        return self._engine.recoveries.pop(command.recovery)

    def _GetPool(self, command: c.GetPool) -> PoolStatus:
        return PoolStatus(self._engine.projects[command.project].config.pool_size, 1, 12_000_000)

    def _GetSettings(self, command: c.GetSettings) -> Settings:
        return self._engine.settings

    def _ChangeSettings(self, command: c.ChangeSettings) -> Settings:
        self._engine.settings = command.settings
        self._engine.publish(e.SettingsChanged(command.settings))
        return command.settings

    def _GetKeyStatus(self, command: c.GetKeyStatus) -> KeyStatus:
        return self._engine.key

    def _StoreKey(self, command: c.StoreKey) -> KeyStatus:
        self._engine.stored_keys.append(command.key)
        self._engine.key = KeyStatus(KeySource.KEYRING if command.key else KeySource.NONE, "")
        self._engine.publish(e.KeyChanged(self._engine.key))
        return self._engine.key

    def _GetStatus(self, command: c.GetStatus) -> EngineStatus:
        return EngineStatus(True, 1, "0.1.0", len(self._engine.clients), 0)

    def _RaiseWindow(self, command: c.RaiseWindow) -> int:
        self._engine.publish(e.WindowRaised())
        return len(self._engine.clients)

    def _status(self, task_id: str, status: RunStatus) -> Task:
        brief = self._engine.tasks[task_id].card.run
        return self._engine.change(task_id, run=None if brief is None else replace(brief, status=status))
