"""Runs whose events are stored as the engine stores them, so that a test can read back what a resumed run would start
from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentpane.clock import SystemClock
from agentpane.db import agents, projects, runs, sessions, tasks
from agentpane.db.connection import Database
from agentpane.domain import transcript
from agentpane.domain.agents import Agent, BackendName
from agentpane.domain.projects import Project
from agentpane.domain.sandbox import Tier
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.orchestrator.backends.base import Backend, BackendEvent, Brief, Pending, ToolCall
from agentpane.orchestrator.backends.messages_api.conversation import Conversation
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs.budgets import Budgets
from agentpane.orchestrator.runs.narrator import Narrator
from agentpane.orchestrator.sessions import Recorder, read_whole
from agentpane.paths import DataFolder
from agentpane.worktrees import Worktrees
from tests.backends.rig import TestHost


@dataclass
class Store:
    """A database with one project, in which runs are played."""

    core: Core
    blobs: BlobStore
    project: Project
    agent: Agent

    async def begin(self, task: str, model: str = "claude-sonnet-5-5") -> StoredRun:
        """A card whose run has been told its task."""
        now = self.core.clock.now()

        def make(connection: runs.Connection) -> runs.RunRow:
            task_id = tasks.create(connection, tasks.NewTask(self.project.id, "Card"), now).card.id
            session_id = sessions.open_for_task(connection, task_id, self.agent.id, now)
            new = runs.NewRun(task_id, self.project.id, self.agent.id, session_id, "Do it", model, 50)
            return runs.row(connection, runs.create(connection, new, now).id)

        row = await self.core.db.write(make)
        await self.core.db.write(runs.start, row.id, now)
        recorder = Recorder(self.core, self.blobs, row.task_id, row.session_id, row.id)
        recorder.add(EventKind.USER_MESSAGE, {"text": task, "from": "task"})
        await recorder.flush()
        return StoredRun(self, row, recorder)


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[Store]:
    data = DataFolder(folder)
    database = await Database.open(data)
    core = Core(data, database, EventBus(), Worktrees(), SystemClock(), "claude-sonnet-5-5")
    now = core.clock.now()

    def make(connection: runs.Connection) -> tuple[Project, Agent]:
        project = projects.create(connection, projects.NewProject("Sample", str(folder), "main"), now)
        return project, agents.create(connection, agents.NewAgent(project.id, "Agent", BackendName.ANTHROPIC), now)

    project, agent = await database.write(make)
    try:
        yield Store(core, BlobStore(data.blobs), project, agent)
    finally:
        await database.close()


@dataclass
class StoredHost(TestHost):
    """Says what it says by way of the session, as a person does."""

    recorder: Recorder | None = None
    read_up_to: int = 0
    core: Core | None = None
    session: str = ""

    async def may_start_turn(self, turn: int) -> tuple[str, ...]:
        said = await TestHost.may_start_turn(self, turn)
        assert self.recorder is not None and self.core is not None
        for words in said:
            self.recorder.add(EventKind.ANSWER, {"text": words})
        await self.recorder.flush()
        self.read_up_to = await self.core.db.read(sessions.last_seq, self.session)  # type: ignore[arg-type]
        return said


@dataclass
class StoredRun:
    store: Store
    row: runs.RunRow
    recorder: Recorder
    events: list[BackendEvent] = field(default_factory=list)

    async def play(self, backend: Backend, brief: Brief, host: StoredHost | None = None) -> None:
        """Play from what is stored; `brief` says the rest. What the backend raises passes, after all is stored."""
        host = host or StoredHost()
        host.recorder, host.core, host.session = self.recorder, self.store.core, self.row.session_id
        before = await self.conversation()
        budgets = Budgets(self.store.core)
        narrator = Narrator(self.store.core, self.recorder, self.row, Tier.BUBBLEWRAP, lambda: host.read_up_to, budgets)
        told = replace(
            brief,
            history=before.history,
            turns=before.turns,
            results=before.results,
            pending=tuple(Pending(ToolCall(one.id, one.name, one.input), one.started) for one in before.pending),
            first_turn=before.next_turn,
        )
        try:
            async with aclosing(backend.play(told, host)) as events:
                async for event in events:
                    self.events.append(event)
                    await narrator.take(event)
        finally:
            await self.recorder.close()

    async def session(self) -> list[SessionEvent]:
        whole = read_whole(self.store.core, self.store.blobs, self.row.session_id)
        return [event async for event in whole]

    async def conversation(self) -> transcript.Conversation:
        return transcript.rebuild(await self.session())

    async def messages(self) -> list[dict[str, object]]:
        """What the next request would hold, its marks for the cache left out."""
        rebuilt = await self.conversation()
        conversation = Conversation(rebuilt.history, rebuilt.turns)
        if rebuilt.results:
            conversation.add_results(rebuilt.results)
        return unmarked(conversation.messages())


def unmarked(messages: list[dict[str, object]]) -> list[dict[str, object]]:
    """The messages without their marks for the cache."""
    bare: list[dict[str, object]] = []
    for message in messages:
        content = message["content"]
        assert isinstance(content, list)
        bare.append({**message, "content": [_unmarked(block) for block in content]})
    return bare


def _unmarked(block: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in block.items() if key != "cache_control"}
