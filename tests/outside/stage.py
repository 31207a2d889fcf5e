"""Where the program is met from outside: a board, repositories of the person's, and models that answer as told.

What a test asserts goes through `agentpane` as a process; what only prepares it goes through the engine's door,
which is quicker.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentpane.api.client import Client
from agentpane.api.command import Command
from agentpane.api.commands import AddProject, AddTask, CancelTask, GetTask, ListTasks, ReadSession, StartRun
from agentpane.api.events import Published, TaskChanged
from agentpane.cli import shapes
from agentpane.cli.exits import EXIT_STATUS
from agentpane.cli.waiting import settled
from agentpane.domain.policy import Policy
from agentpane.domain.sessions import SessionEvent
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends.recorded.wire import Block
from tests.backends.wire import Reply, Script, ScriptedServer, Stream, say, use
from tests.cli.conftest import Commands, Outcome, git

T = TypeVar("T")
BOUND_S = 90.0
LOOK_AGAIN_S = 0.05

Turns = Sequence[Sequence[Block] | Reply]

GREETING: Turns = ((say("On it."), use("Write", file_path="hello.txt", content="hello\n")), (say("Done."),))
IDLE: Turns = ((say("There is nothing to do."),),)


def until(condition: Callable[[], T | None]) -> T:
    """Wait for what another process brings about, and return it."""
    waited = threading.Event()
    for _ in range(int(BOUND_S / LOOK_AGAIN_S)):
        if found := condition():
            return found
        waited.wait(LOOK_AGAIN_S)
    pytest.fail("it did not happen")


class Held:
    """A model that takes its first request and never answers it. `asked` says that it came."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, number: int, body: Mapping[str, object]) -> Reply:
        self.asked.set()
        return Stream(b"", end="hang")


@dataclass(slots=True)
class Stage:
    """One test's place, on a board that it may share with others: its projects have names of their own."""

    pane: Commands
    place: Path
    things: ExitStack
    repositories: list[Path] = field(default_factory=list)

    # Preparing, through the door

    def do(self, command: Command[T]) -> T:
        return self._with_client(lambda client: client.do(command))

    def _with_client(self, work: Callable[[Client], Awaitable[T]]) -> T:
        async def carry_out() -> T:
            client = await self._connect()
            try:
                async with asyncio.timeout(BOUND_S):
                    return await work(client)
            finally:
                await client.close()

        return asyncio.run(carry_out())

    async def _connect(self) -> Client:
        """The engine is started by a command, so that it has the surroundings that the test gives to commands."""
        try:
            return await Client.connect(self.pane.folder)
        except AgentPaneError:
            started = await asyncio.to_thread(self.pane, "project", "list")
            assert started.status == 0, started
            return await Client.connect(self.pane.folder)

    def repository(self, files: Mapping[str, str] | None = None, *options: str) -> Path:
        """A repository of the person's with one commit on main."""
        folder = self.place / f"{self.place.name}-{len(self.repositories)}"
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main", *options)
        for name, content in (files or {"a.txt": "one\ntwo\nthree\n"}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "first")
        self.repositories.append(folder)
        return folder

    def task(self, repo: Path | None = None, title: str = "Write a greeting", *, trust: bool = False) -> str:
        """A card of a new project."""
        project = self.do(AddProject(str(repo or self.repository()), trust=trust))
        return self.do(AddTask(project.id, title)).card.id

    def model(self, turns: Turns = (), script: Script | None = None) -> ScriptedServer:
        """A model's server, there until the test ends."""
        return self.things.enter_context(ScriptedServer(turns, script=script))

    def start(self, task: str, server: ScriptedServer, policy: Policy | None = None) -> None:
        self.do(StartRun(task, policy=policy, environment=server.environment))

    def played(self, task: str, turns: Turns = GREETING, policy: Policy | None = None) -> Task:
        """The card when its run has settled."""
        self.start(task, self.model(turns), policy)
        return self.settled(task)

    def working(self, task: str) -> ScriptedServer:
        """Start a run that works until the test ends."""
        held = Held()
        server = self.model(script=held)
        self.start(task, server)
        self.things.callback(self._cancel, task)
        assert held.asked.wait(BOUND_S)
        return server

    def settled(self, task: str) -> Task:
        async def follow(client: Client) -> Task:
            news = client.events()
            while not settled((found := await client.do(GetTask(task))).card):
                async for each in news:
                    if not isinstance(each, Published) or isinstance(each.event, TaskChanged):
                        break
            return found

        return self._with_client(follow)

    def events(self, task: str) -> tuple[SessionEvent, ...]:
        return self.do(ReadSession(task, 0, 5_000))

    def asked(self, command: Command[Any]) -> Outcome:
        """What the door answers to a command that only windows give, as if it had been a command's output."""
        try:
            self.do(command)
        except AgentPaneError as error:
            return Outcome(EXIT_STATUS[error.code], json.dumps(shapes.error(error)).encode() + b"\n", "")
        return Outcome(0, b"{}\n", "")

    def _cancel(self, task: str) -> None:
        try:
            self.do(CancelTask(task))
        except AgentPaneError:
            return

    # What must not change

    def board(self) -> object:
        """Every card of every project of this test."""
        cards = [card for repo in self.repositories for card in self._cards(repo)]
        return [shapes.task(self.do(GetTask(card))) for card in cards]

    def _cards(self, repo: Path) -> list[str]:
        try:
            return [card.id for card in self.do(ListTasks(str(repo)))]
        except AgentPaneError:
            return []  # the project is not on the board

    def own(self) -> object:
        """What is the person's: branches, tags, checkouts, and all that is not committed."""
        return [_own(repo) for repo in self.repositories]

    def everything(self) -> object:
        return [self.board(), self.own(), [git(repo, "for-each-ref") for repo in self.repositories]]


def _own(repo: Path) -> object:
    refs = [line for line in git(repo, "for-each-ref").splitlines() if b"agentpane" not in line]
    status = git(repo, "status", "--porcelain=v1", "-z", "--ignored=no")
    files = {
        path.relative_to(repo): path.read_bytes()
        for path in sorted(repo.rglob("*"))
        if path.is_file() and not {".git", ".worktrees"} & set(path.relative_to(repo).parts)
    }
    return refs, git(repo, "rev-parse", "HEAD"), (repo / ".git" / "HEAD").read_text(), status, files
