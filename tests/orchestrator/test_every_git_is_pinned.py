"""Each git that is really started, from adding a project to undoing its merge: by the one module, and pinned."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import agentpane
from agentpane.api import commands as c
from agentpane.api.health import Doctor
from agentpane.domain.board import Column
from agentpane.domain.review import ApproveResult
from tests.backends.wire import say, use
from tests.orchestrator.conftest import git, running, scripted

ROOT = Path(agentpane.__file__).parent
ONE_PLACE, ITS_CHILD = str(ROOT / "worktrees" / "git" / "runner.py"), str(ROOT / "worktrees" / "git" / "child.py")
WITHOUT_REPOSITORY = ({"--version"}, {"init"})
FORCED = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "diff.external": "",
    "protocol.allow": "never",
    "gpg.program": "false",
    "core.sshCommand": "false",
    "core.commitGraph": "false",
    "gc.auto": "0",
}


@dataclass(frozen=True)
class Start:
    """One process that Python started. callers: the files of this package on the way to it, the nearest first."""

    pid: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    callers: tuple[str, ...]

    @property
    def settings(self) -> dict[str, str]:
        numbers = range(int(self.environment["GIT_CONFIG_COUNT"]))
        return {self.environment[f"GIT_CONFIG_KEY_{n}"]: self.environment[f"GIT_CONFIG_VALUE_{n}"] for n in numbers}


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Start]:
    """Every process that is started with git for its program, whatever starts it and by whichever name."""
    seen: list[Start] = []
    real = subprocess.Popen._execute_child  # type: ignore[attr-defined]

    def watched(self: subprocess.Popen[bytes], arguments: Sequence[str | bytes], *rest: object) -> None:
        command = tuple(os.fsdecode(part) for part in ([arguments] if isinstance(arguments, str) else arguments))
        environment = next((value for value in rest if isinstance(value, Mapping)), os.environ)
        real(self, arguments, *rest)
        if Path(command[0]).name == "git":
            seen.append(Start(self.pid, command, dict(environment), tuple(callers())))

    monkeypatch.setattr(subprocess.Popen, "_execute_child", watched)
    return seen


def callers() -> Iterator[str]:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(f"{ROOT}{os.sep}"):
            yield frame.f_code.co_filename
        frame = frame.f_back  # type: ignore[assignment]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that comes first on PATH and writes down its pid when it is started, by Python or by any other program."""
    real, folder, log = shutil.which("git"), tmp_path / "first", tmp_path / "started"
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\necho $$ >> '{log}'\nexec '{real}' \"$@\"\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return log


async def test_from_adding_a_project_to_undoing_its_merge_each_git_is_started_by_one_module_and_pinned(
    data: Path, repository: Path, starts: list[Start], log: Path
) -> None:
    turns = [[use("Write", file_path="new.txt", content="hello\n")], [say("Done.")]]
    with scripted(*turns) as server:
        async with running(data, server.environment) as bench:
            card = await bench.card(await bench.project(repository))
            task = await bench.reviewed(await bench.start(card))
            assert (await bench.engine.do(c.GetDiff(task.card.id))).files[0].path == "new.txt"
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            undone = await bench.engine.do(c.Undo(task.card.id))
            assert undone.card.column is Column.WAITING_APPROVAL
            cancelled = await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            assert cancelled.card.column is Column.BACKLOG
            await bench.engine.do(Doctor())
    assert git(repository, "status", "--porcelain") == ""
    ours = [start for start in starts if start.callers]
    assert len(ours) > 25
    logged = {int(pid) for pid in log.read_text().split()}
    assert len(logged) > 25 and logged <= {start.pid for start in starts}  # none was started behind Python's back
    assert [start.command for start in ours if start.callers[0] not in {ONE_PLACE, ITS_CHILD}] == []
    for start in ours:
        assert set(FORCED.items()) <= set(start.settings.items()), start
        assert start.environment["GIT_ALLOW_PROTOCOL"] == "none" and start.environment["GIT_NO_REPLACE_OBJECTS"] == "1"
        assert {"GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_CONFIG_PARAMETERS"}.isdisjoint(start.environment)
        if not any(words <= set(start.command) for words in WITHOUT_REPOSITORY):
            pinned = [part.partition("=")[0] for part in start.command]
            assert {"--git-dir", "--work-tree"} <= set(pinned) and "GIT_COMMON_DIR" in start.environment, start
