"""The commands as a person starts them: processes of their own, with an engine of their own or a shared one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentpane.api.client import Client
from agentpane.api.command import Command
from agentpane.db.migrate import prepare
from agentpane.paths import DataFolder

T = TypeVar("T")

BOUND_S = 60.0
KEEP_S = "60"  # the shared engine must not end between two tests that are slow to come


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it printed."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        assert self.stdout.count(b"\n") == 1, self
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def code(self) -> str:
        return str(self.document["error"]["code"])


@dataclass(slots=True)
class Commands:
    """`pane("task", "list", "shop")` runs `agentpane task list shop`."""

    folder: DataFolder
    place: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(
        self, *words: str | bytes, input: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Outcome:
        done = subprocess.run(
            self._command(words),
            input=input,
            capture_output=True,
            env=self._environment(env),
            cwd=cwd or self.place,
            timeout=BOUND_S,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr.decode())

    def json(self, *words: str | bytes, status: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """What the command prints under --json, having ended with `status`."""
        done = self(*words, "--json", env=env)
        assert done.status == status, done
        return done.document

    def ask(self, command: Command[T]) -> T:
        """What the door of the running engine answers, which is quicker: for what is looked at again and again."""

        async def carry_out() -> T:
            client = await Client.connect(self.folder)
            try:
                return await client.do(command)
            finally:
                await client.close()

        return asyncio.run(carry_out())

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(env),
            cwd=self.place,
        )

    def _command(self, words: tuple[str | bytes, ...]) -> list[str | bytes]:
        return [sys.executable, "-m", "agentpane", *words]

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **self.environment, **(more or {})}


@pytest.fixture(scope="session")
def shared(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """One data folder with one engine for all the tests that spoil neither."""
    root = (tmp_path_factory.mktemp("shared") / "agentpane").resolve()
    commands = Commands(DataFolder(root), root.parent, {"AGENTPANE_HOME": str(root), "AGENTPANE_IDLE_S": KEEP_S})
    yield commands
    ended = commands("engine", "stop", "--now")
    assert ended.status == 0, ended


@pytest.fixture
def board(shared: Commands, tmp_path: Path) -> Iterator[Commands]:
    """The shared board, to which a test may add its project `shop`: the only one there, and gone at the end."""
    commands = replace(shared, place=tmp_path, environment=dict(shared.environment))
    yield commands
    for project in commands.json("project", "list"):
        commands.json("project", "remove", project["id"])


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as the engine's first start makes it, which takes a third of that start."""
    folder = DataFolder(tmp_path_factory.mktemp("new") / "agentpane")
    prepare(folder)
    return folder.database


@pytest.fixture
def pane(home: Path, tmp_path: Path, new_database: Path) -> Iterator[Commands]:
    """A data folder and an engine of the test's own."""
    folder = DataFolder((home / "agentpane").resolve())
    folder.make()
    shutil.copy(new_database, folder.database)
    commands = Commands(folder, tmp_path, {"AGENTPANE_HOME": str(folder.root), "AGENTPANE_IDLE_S": "30"})
    yield commands
    ended = commands("engine", "stop", "--now")
    assert ended.status == 0, ended


def git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True, timeout=30).stdout


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository called shop, with one commit on main."""
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.txt").write_text("one\ntwo\nthree\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder
