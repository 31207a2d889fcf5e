"""Row 11: CPU an event of streaming an answer to stored, published events, over the SDK's `create(stream=True)` alone.

Ours: the backend plays a run whose answer comes in 4,000 pieces; the narrator stores what is whole and publishes every
piece, with the database, the recorder and the stream of events that the engine has, and a reader of it. Floor: the
same answer, taken from the SDK event by event and thrown away. Both are this process's CPU, its threads included; the
server is another process.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

from agentpane.clock import SystemClock
from agentpane.db import agents, projects, runs, sessions, tasks
from agentpane.db.connection import Database
from agentpane.domain.agents import BackendName
from agentpane.domain.policy import Judgement, Use, Verdict
from agentpane.domain.sandbox import NO_NETWORK, Tier
from agentpane.orchestrator.backends.base import Brief, Endpoint, ToolCall
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend
from agentpane.orchestrator.backends.messages_api.models import MAX_TOKENS
from agentpane.orchestrator.backends.messages_api.sdk import Stream, make_client
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs.budgets import Budgets
from agentpane.orchestrator.runs.narrator import Narrator
from agentpane.orchestrator.sessions import Recorder
from agentpane.orchestrator.tools import ToolContext, ToolResult
from agentpane.paths import DataFolder
from agentpane.worktrees import Worktrees
from benchmarks.harness import LEAST_ROUNDS, Figure, at_most, figure, scratch_folder
from benchmarks.model_server import LONG, MODEL, PIECES, model_server

ROUNDS = 2 * LEAST_ROUNDS + 1
TOLD = {"role": "user", "content": [{"type": "text", "text": LONG}]}


def run() -> list[Figure]:
    with scratch_folder() as folder, model_server() as address, asyncio.Runner() as runner:
        return [runner.run(_measure(folder, Endpoint(address, api_key="bench")))]


async def _measure(folder: Path, endpoint: Endpoint) -> Figure:
    database = await Database.open(DataFolder(folder))
    core = Core(DataFolder(folder), database, EventBus(), Worktrees(), SystemClock(), MODEL)
    backend = MessagesApiBackend()
    await backend.warm_up()
    seen = asyncio.create_task(_read(core.bus))
    ours, floor = [], []
    for number in range(ROUNDS + 1):
        for measure in ("ours", "floor") if number % 2 else ("floor", "ours"):
            if measure == "ours":
                ours.append(await _ours(core, backend, endpoint, folder))
            else:
                floor.append(await _floor(endpoint))
    seen.cancel()
    await backend.close()
    await database.close()
    return figure("CPU an event, streamed, stored, published / SDK alone", ours[1:], floor[1:], at_most(1.3), "µs")


async def _read(bus: EventBus) -> None:
    """A client that is told everything."""
    async for _ in bus.read():
        pass


async def _floor(endpoint: Endpoint) -> float:
    client = make_client(endpoint)
    gc.collect()
    began = time.process_time()
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": MAX_TOKENS, "messages": [TOLD]}
    stream: Stream = await client.messages.create(**asked, stream=True)
    number = 0
    async for _ in stream:
        number += 1
    spent = time.process_time() - began
    assert number >= PIECES
    await client.close()
    return spent / PIECES * 1e6


class _Host:
    """Allows everything, as the engine's does when nothing is limited."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def may_start_turn(self, turn: int) -> tuple[str, ...]:
        await self._recorder.flush()
        return ()

    async def authorize(self, turn: int, call: ToolCall, summary: str) -> Verdict:
        return Verdict(Judgement.ALLOW, "bench")

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        return Verdict(Judgement.ALLOW, "bench")

    async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
        return ""

    async def delegate(self, turn: int, call: ToolCall, description: str, prompt: str, agent: str | None) -> ToolResult:
        raise NotImplementedError  # the model of this row asks for no sub-agent


async def _ours(core: Core, backend: MessagesApiBackend, endpoint: Endpoint, folder: Path) -> float:
    row = await core.db.write(_new_run)
    recorder = Recorder(core, BlobStore(core.folder.blobs), row.task_id, row.session_id, row.id)
    narrator = Narrator(core, recorder, row, Tier.NONE, lambda: 0, Budgets(core))
    context = ToolContext(folder, None, (), {}, NO_NETWORK)  # type: ignore[arg-type]
    brief = Brief(row.id, row.task_id, MODEL, "", (TOLD,), (), (), 1, (), context, endpoint)
    gc.collect()
    began = time.process_time()
    async with aclosing(backend.play(brief, _Host(recorder))) as events:
        async for event in events:
            await narrator.take(event)
    await recorder.close()
    return (time.process_time() - began) / PIECES * 1e6


def _new_run(connection: runs.Connection) -> runs.RunRow:
    now = SystemClock().now()
    project = projects.create(connection, projects.NewProject("Bench", f"/bench/{now.timestamp()}", "main"), now)
    agent = agents.create(connection, agents.NewAgent(project.id, "Agent", BackendName.ANTHROPIC), now)
    task_id = tasks.create(connection, tasks.NewTask(project.id, "Task"), now).card.id
    session_id = sessions.open_for_task(connection, task_id, agent.id, now)
    made = runs.create(connection, runs.NewRun(task_id, project.id, agent.id, session_id, "Do it", MODEL, 50), now)
    runs.start(connection, made.id, now)
    return runs.row(connection, made.id)
