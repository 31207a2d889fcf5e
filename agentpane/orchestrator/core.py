"""What every service of the engine shares: the database, the stream of events, git, the clock and the audit log."""

from __future__ import annotations

import asyncio
import getpass
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agentpane.api.events import AgentChanged, ProjectChanged, TaskChanged, TaskRemoved
from agentpane.clock import Clock
from agentpane.db import agents, audit, projects, settings, tasks
from agentpane.db.connection import Database
from agentpane.domain.agents import Agent, model_in_use
from agentpane.domain.audit import AuditRecord, ToolStatus
from agentpane.domain.board import archived
from agentpane.domain.ids import AgentId, ProjectId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.tasks import Task, TaskCard
from agentpane.orchestrator.bus import EventBus
from agentpane.paths import DataFolder
from agentpane.worktrees import Worktrees


@dataclass(slots=True)
class Locks:
    """A lock for each name in use, forgotten when nobody holds or awaits it."""

    _held: weakref.WeakValueDictionary[str, asyncio.Lock] = field(default_factory=weakref.WeakValueDictionary)

    def of(self, name: str) -> asyncio.Lock:
        lock = self._held.get(name)
        if lock is None:
            lock = asyncio.Lock()
            self._held[name] = lock
        return lock

    def is_held(self, name: str) -> bool:
        lock = self._held.get(name)
        return lock is not None and lock.locked()


@dataclass(frozen=True, slots=True)
class Core:
    folder: DataFolder
    db: Database
    bus: EventBus
    git: Worktrees
    clock: Clock
    default_model: str  # what an agent uses when nobody chose
    task_locks: Locks = field(default_factory=Locks)  # one act at a time on each task

    async def announce_task(
        self, task_id: TaskId, renumbered: tuple[tuple[str, int], ...] = (), *, counts: bool = True
    ) -> TaskCard:
        """Publish the card as the database has it, and its project's counts. An archived one is off the board."""
        card = await self.db.read(tasks.card, task_id)
        if card.archived_at is None:
            self.bus.publish(TaskChanged(card, renumbered))
        else:
            self.bus.publish(TaskRemoved(card.id, card.project_id, renumbered))
        if counts:
            await self.announce_project(card.project_id)
        return card

    async def announce_project(self, project_id: ProjectId) -> None:
        """Publish the project as the database has it. An archived one is off the board whatever its cards do."""
        project = await self.db.read(projects.on_board, project_id)
        if project is not None:
            self.bus.publish(ProjectChanged(project))

    async def announce_agent(self, agent_id: AgentId) -> None:
        self.bus.publish(AgentChanged(await self.agent(agent_id)))

    async def agent(self, agent_id: AgentId) -> Agent:
        """The agent with the model that it will use."""
        agent, chosen = await self.db.read(lambda c: (agents.get(c, agent_id), settings.get(c)))
        return replace(agent, model=model_in_use(agent, chosen.default_model or self.default_model))

    async def task(self, ref: str) -> Task:
        """The task that a reference names. Raises TASK_NOT_FOUND."""
        return await self.db.read(lambda c: tasks.get(c, tasks.resolve(c, ref)))

    async def task_on_board(self, ref: str) -> Task:
        """The same, to act on it. Raises TASK_INVALID_TRANSITION too, where it is archived."""
        task = await self.task(ref)
        if task.card.archived_at is not None:
            raise archived(task.card.id)
        return task

    async def audit(self, *records: AuditRecord) -> None:
        await self.db.write(audit.append, records)

    def record(
        self,
        tool: str,
        project_id: str,
        *,
        actor: str = "person",
        task: TaskCard | None = None,
        task_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        input: JsonObject | None = None,
        output: JsonObject | None = None,
        error: str | None = None,
        duration_ms: int | None = None,
        turn: int = 0,
    ) -> AuditRecord:
        """An entry for the audit log about something that has its outcome by now."""
        return AuditRecord(
            project_id=project_id,
            agent_id=agent_id or (task.agent_id if task else None),
            agent_run_id=run_id,
            task_id=task_id or (task.id if task else None),
            tool=tool,
            status=ToolStatus.COMPLETE if error is None else ToolStatus.ERROR,
            input=input or {},
            output=output,
            error=error,
            duration_ms=duration_ms,
            turn=turn,
            at=self.clock.now(),
            actor=actor,
        )


def login_name(chosen: str, environment: Mapping[str, str]) -> str:
    """Who signs an approval: the name from the settings, else the login name."""
    if chosen:
        return chosen
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return environment.get("USER", "person")
