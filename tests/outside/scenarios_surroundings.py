"""Errors of what the program stands on: the database, the engine, git, the repository's objects."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil

from agentpane.api.commands import GetStatus, GetTask
from agentpane.errors import ErrorCode
from tests.cli.conftest import Outcome, git
from tests.outside.provoking import Act, provokes, refusal
from tests.outside.stage import Stage


def stop(stage: Stage) -> None:
    ended = stage.pane("engine", "stop")
    assert ended.status == 0, ended


def engine(stage: Stage) -> psutil.Process:
    pid = stage.do(GetStatus()).pid
    assert pid is not None
    return psutil.Process(pid)


@provokes(ErrorCode.STORE_CORRUPT, 6, alone=True)
def _(stage: Stage) -> Act:
    repo = stage.repository()
    stage.task(repo)
    stop(stage)
    stage.pane.folder.database.write_bytes(b"no database at all " * 1_000)
    return Act(
        lambda: stage.pane("task", "list", str(repo), "--json"),
        lambda: [stage.own(), stage.pane.folder.database.read_bytes()],
    )


@provokes(ErrorCode.STORE_TOO_NEW, 6, alone=True)
def _(stage: Stage) -> Act:
    repo = stage.repository()
    stage.task(repo)
    stop(stage)
    with closing(sqlite3.connect(stage.pane.folder.database)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    return Act(
        lambda: stage.pane("task", "list", str(repo), "--json"),
        lambda: [stage.own(), stage.pane.folder.database.read_bytes()],
    )


@provokes(ErrorCode.STORE_LOCKED, 6, alone=True)
def _(stage: Stage) -> Act:
    """Another program writes to the database, and does not come to an end."""
    stage.pane.environment["AGENTPANE_IDLE_S"] = "30"
    repo = stage.repository()
    stage.task(repo)
    other = stage.things.enter_context(closing(sqlite3.connect(stage.pane.folder.database)))
    other.execute("BEGIN IMMEDIATE")
    stage.things.callback(other.rollback)
    return refusal(stage, "task", "add", str(repo), "Written too late")


@provokes(ErrorCode.STORE_FULL, 6, alone=True)
def _(stage: Stage) -> Act:
    """The engine's files may not grow any more, as on a full disk."""
    stage.pane.environment["AGENTPANE_IDLE_S"] = "30"
    repo = stage.repository()
    stage.task(repo)
    process = engine(stage)
    unlimited = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (1, unlimited[1]))
    stage.things.callback(process.rlimit, resource.RLIMIT_FSIZE, unlimited)
    return refusal(stage, "task", "add", str(repo), "Too much")


@provokes(ErrorCode.ENGINE_UNREACHABLE, 6)
def _(stage: Stage) -> Act:
    """The data folder cannot be made, so that no engine can be started."""
    file = stage.place / "file"
    file.write_text("mine\n")
    return Act(
        lambda: stage.pane("project", "list", "--json", env={"AGENTPANE_HOME": str(file / "data")}),
        file.read_text,
    )


NEWER = """
import sys, agentpane
agentpane.__version__ = "99.0"
from agentpane.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


@provokes(ErrorCode.ENGINE_VERSION, 6)
def _(stage: Stage) -> Act:
    """A command of another version, while the engine has a run to look after."""
    repo = stage.repository()
    stage.working(stage.task(repo))

    def newer() -> Outcome:
        done = subprocess.run(
            [sys.executable, "-c", NEWER, "task", "list", str(repo), "--json"],
            capture_output=True,
            env={**os.environ, **stage.pane.environment},
            cwd=stage.place,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr.decode())

    return Act(newer, stage.everything)


def path_with(stage: Stage, git_script: str | None) -> str:
    """A PATH with everything but git, or with another git."""
    folder = stage.place / "programs"
    folder.mkdir()
    if git_script is not None:
        program = folder / "git"
        program.write_text(f"#!/bin/sh\n{git_script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(folder)


@provokes(ErrorCode.GIT_MISSING, 6, alone=True)
def _(stage: Stage) -> Act:
    stage.pane.environment["PATH"] = path_with(stage, None)
    return refusal(stage, "project", "add", str(stage.repository()))


@provokes(ErrorCode.GIT_TOO_OLD, 6, alone=True)
def _(stage: Stage) -> Act:
    stage.pane.environment["PATH"] = path_with(stage, "echo git version 2.30.2")
    return refusal(stage, "project", "add", str(stage.repository()))


@provokes(ErrorCode.GIT_FILTER_REQUIRED, 3)
def _(stage: Stage) -> Act:
    repo = stage.repository({".gitattributes": "*.key filter=crypt\n", "a.txt": "a\n"})
    git(repo, "config", "filter.crypt.clean", "cat")
    git(repo, "config", "filter.crypt.smudge", "cat")
    git(repo, "config", "filter.crypt.required", "true")
    return refusal(stage, "project", "add", str(repo))


@provokes(ErrorCode.INTERNAL, 1)
def _(stage: Stage) -> Act:
    """A part of the repository is gone, which no rule foresees: told, logged, and nothing changed."""
    repo = stage.repository()
    task = stage.task(repo)
    stage.played(task)
    snapshot = stage.do(GetTask(task)).snapshot
    assert snapshot is not None
    tree = git(repo, "rev-parse", f"{snapshot}^{{tree}}").decode().strip()
    Path(repo, ".git", "objects", tree[:2], tree[2:]).unlink()
    return Act(lambda: stage.pane("diff", task, "--json"), stage.board)
