"""A small workbench that keeps everything in memory, obeys the board's rules and announces what it does.

It stands in for the engine where a test is about the window. Runs end when a test says so (`finish`, `say`, …).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, TypeVar

from agentpane.api import commands as c
from agentpane.api import events as e
from agentpane.api.command import Command
from agentpane.domain.agents import Agent, BackendName, DetectedBackend, ModelChoice
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.board import BoardEvent, Column, after, archived, check_drag
from agentpane.domain.budgets import Standing
from agentpane.domain.checks import CheckResult
from agentpane.domain.costs import CostLine
from agentpane.domain.demo import DemoReady
from agentpane.domain.engine import EngineStatus, KeySource, KeyStatus, Settings
from agentpane.domain.health import DoctorReport, RepairOutcome, WorktreeEntry
from agentpane.domain.keeping import Cancelled, Going
from agentpane.domain.limits import TASK_TITLE, check_labels, check_line
from agentpane.domain.mcp import McpCheck, RepositoryServers
from agentpane.domain.pool import PoolStatus
from agentpane.domain.projects import Project
from agentpane.domain.recoveries import RecoverySnapshot, RestoredWork
from agentpane.domain.resolving import LaidPath, Layout, Resolver, Resolving, Stage
from agentpane.domain.review import ApproveOutcome, ApproveResult, DiffSummary, PatchChunk
from agentpane.domain.runs import RunStatus
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from tests.ui.memory_engine import MemoryEngine

R = TypeVar("R")


async def connect(engine: MemoryEngine) -> MemoryBench:
    """A client of the engine. Raises ENGINE_UNREACHABLE when that has ended."""
    if not engine.running:
        raise AgentPaneError(ErrorCode.ENGINE_UNREACHABLE, "No engine is running.", "It is being started.")
    client = MemoryBench(engine)
    engine.clients.append(client)
    return client


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
        if task.card.archived_at is not None:
            raise archived(task.card.id)
        task = replace(task, card=replace(task.card, archived_at=self._engine.now()))
        self._engine.tasks[command.task] = task
        self._engine.publish(e.TaskRemoved(task.card.id, task.card.project_id))
        return task

    def _UnarchiveTask(self, command: c.UnarchiveTask) -> Task:
        task = self._engine.tasks[command.task]
        self._engine.tasks[command.task] = replace(task, card=replace(task.card, archived_at=None))
        return self._engine.put(command.task, task.card.column, task.card.position)

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
