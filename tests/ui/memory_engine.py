"""The world of the window's tests: projects, cards, sessions and what the engine would say of them, in memory."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from agentpane.api import events as e
from agentpane.api.command import Command
from agentpane.domain.agents import Agent, AgentConfig, BackendName
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.board import Column
from agentpane.domain.budgets import Standing
from agentpane.domain.costs import CostGroup, CostLine
from agentpane.domain.engine import KeySource, KeyStatus, Settings
from agentpane.domain.health import DoctorReport, WorktreeEntry
from agentpane.domain.ids import AgentId, ApprovalId, ProjectId, RunId, SessionId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.keeping import Going
from agentpane.domain.mcp import McpCheck, RepositoryServers
from agentpane.domain.projects import Project, ProjectConfig, ProjectCounts
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.domain.review import ApproveOutcome, DiffSummary, FileDiff
from agentpane.domain.runs import ACTIVE, AgentStatus, AgentType, PauseReason, Run, RunStatus
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import RunBrief, Task, TaskCard
from agentpane.errors import AgentPaneError
from tests.bare import bare_card, bare_task

START = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)
SHA = "4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d"


class Client(Protocol):
    """What hears of everything that is published; None: the engine has ended."""

    queue: asyncio.Queue[e.Published | e.CatchUp | None]


class MemoryEngine:
    """The world behind the door, as tests set it up; `die` ends every client of it."""

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
        self.clients: list[Client] = []
        self._numbers = itertools.count(1)
        self._seq = itertools.count(1)
        self._now = START

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
        card = self._card(project, title, column, len(self.column(project, column)))
        task = bare_task(
            replace(card, **{"updated_at": self.now(), **fields}),
            description=description,
            session_id=SessionId(self.new_id("s")),
            created_at=self.now(),
        )
        self.tasks[task.card.id] = task
        self.sessions[task.card.id] = []
        return task

    def add_task_fast(self, project: str, title: str, column: Column, position: int) -> None:
        """The same for thousands of cards: nobody is asked where the column ends."""
        card = self._card(project, title, column, position)
        self.tasks[card.id] = bare_task(card, created_at=START)

    def _card(self, project: str, title: str, column: Column, position: int) -> TaskCard:
        agent = next(agent for agent in self.agents.values() if agent.project_id == project)
        return bare_card(
            id=TaskId(self.new_id("t")),
            project_id=ProjectId(project),
            title=title,
            column=column,
            position=position,
            agent_id=agent.id,
            agent=agent.name,
            updated_at=START,
        )

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
