"""A real engine in this process: real SQLite, real git, real sandbox, and a scripted model on loopback."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.api.events import Published, TaskChanged
from agentpane.clock import SystemClock
from agentpane.domain.board import Column
from agentpane.domain.projects import Project
from agentpane.domain.runs import ACTIVE, RunStatus
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import Task
from agentpane.orchestrator.engine import Engine
from agentpane.paths import DataFolder
from agentpane.sandbox import Sandbox, detect
from tests.backends.wire import Block, Reply, ScriptedServer

BOUND = 90.0  # of a machine that does much else; nothing waits so long where all is well
LOOK_AGAIN = 0.1


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_repository(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, text in (files or {"README.md": "# Sample\n", "a.txt": "one\ntwo\n"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


async def _ring(bell: asyncio.Event, news: AsyncIterator[object]) -> None:
    async for each in news:
        if isinstance(each, Published) and isinstance(each.event, TaskChanged):
            bell.set()


@dataclass
class Bench:
    """An engine and what tests ask of it again and again."""

    engine: Engine
    environment: Mapping[str, str]

    async def project(self, folder: Path) -> Project:
        return await self.engine.do(c.AddProject(str(folder)))

    async def card(self, project: Project, title: str = "Change a.txt", **fields: object) -> Task:
        return await self.engine.do(c.AddTask(project.id, title, **fields))  # type: ignore[arg-type]

    async def start(self, task: Task, **fields: object) -> Task:
        command = c.StartRun(task.card.id, environment=self.environment, **fields)  # type: ignore[arg-type]
        return await self.engine.do(command)

    async def until(self, task: Task, condition: Callable[[Task], bool]) -> Task:
        """The task when the condition holds; fails after BOUND seconds."""
        found, bell = task, asyncio.Event()
        listening = asyncio.ensure_future(_ring(bell, self.engine.events()))
        try:
            async with asyncio.timeout(BOUND):
                while not condition(found := await self.engine.do(c.GetTask(task.card.id))):
                    with suppress(TimeoutError):  # not everything that a condition asks for is announced
                        async with asyncio.timeout(LOOK_AGAIN):
                            await bell.wait()
                    bell.clear()
        except TimeoutError:
            runs = [(run.status.value, run.error) for run in found.runs]
            pytest.fail(f"the card stayed in {found.card.column} with runs {runs}, code {found.card.code}")
        finally:
            listening.cancel()
            await asyncio.wait({listening})
        return found

    async def settled(self, task: Task) -> Task:
        """The task when its run neither waits in the queue nor works."""
        return await self.until(
            task, lambda now: bool(now.runs) and now.runs[-1].status not in {*ACTIVE, RunStatus.QUEUED}
        )

    async def reviewed(self, task: Task) -> Task:
        found = await self.settled(task)
        assert found.card.column is Column.WAITING_APPROVAL, (found.card, found.runs[-1].error)
        return found

    async def session(self, task: Task) -> tuple[SessionEvent, ...]:
        return await self.engine.do(c.ReadSession(task.card.id, limit=5_000))

    async def kinds(self, task: Task) -> list[EventKind]:
        return [event.kind for event in await self.session(task)]


@asynccontextmanager
async def running(folder: Path, environment: Mapping[str, str], sandbox: Sandbox | None = None) -> AsyncIterator[Bench]:
    engine = await Engine.open(DataFolder(folder), SystemClock(), sandbox or detect())
    serving = asyncio.create_task(engine.serve())
    try:
        yield Bench(engine, environment)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await engine.close()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own: others leave things in the system's."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def data(home: Path) -> Path:
    return home / "agentpane"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


def scripted(*turns: Sequence[Block] | Reply) -> ScriptedServer:
    return ScriptedServer(turns)
