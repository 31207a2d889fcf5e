"""The engine outlives its clients, ends when nobody needs it, and keeps to itself."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil

from agentpane.api.commands import GetTask
from agentpane.domain.board import Column
from tests.backends.wire import ScriptedServer, say, use
from tests.cli.conftest import Commands, git

BOUND_S = 90.0
WRITE = [use("Write", file_path="new.txt", content="hello\n")]
DONE = [say("Done.")]
WAIT = [use("Bash", command="until [ -e go ]; do sleep 0.05; done")]


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def card(pane: Commands, repo: Path) -> str:
    pane.json("project", "add", str(repo))
    return str(pane.json("task", "add", "shop", "Write new.txt")["id"])


def shown(pane: Commands, task: str) -> dict[str, object]:
    found: dict[str, object] = pane.json("task", "show", task)
    return found


def turns(pane: Commands, task: str) -> int:
    runs = pane.ask(GetTask(task)).runs
    return runs[-1].turns if runs else 0


def test_a_client_that_is_killed_leaves_the_run_alone(board: Commands, repo: Path) -> None:
    with ScriptedServer([WAIT, WRITE, DONE]) as server:
        task = card(board, repo)
        client = board.start("run", task, env=server.environment)
        until(lambda: turns(board, task) == 1, "the first turn")
        client.kill()
        client.communicate(timeout=10)
        Path(str(shown(board, task)["worktree"]), "go").touch()
        until(lambda: board.ask(GetTask(task)).card.column is Column.WAITING_APPROVAL, "the diff")


def test_stopping_pauses_the_run_ends_every_child_and_the_run_goes_on_later(pane: Commands, repo: Path) -> None:
    with ScriptedServer([[use("Bash", command="sleep 300 & sleep 300")], WRITE, DONE]) as server:
        task = card(pane, repo)
        client = pane.start("run", task, env=server.environment)
        until(lambda: turns(pane, task) == 1, "the first turn")
        engine = psutil.Process(pane.json("engine", "status")["pid"])
        until(lambda: any("sleep" in child.name() for child in engine.children(recursive=True)), "the command")
        children = engine.children(recursive=True)
        pane.json("engine", "stop")
        engine.wait(BOUND_S)
        until(lambda: not any(child.is_running() for child in children), "every child gone")
        client.communicate(timeout=BOUND_S)
        runs = shown(pane, task)["runs"]
        assert isinstance(runs, list) and runs[-1]["status"] == "paused"
        done = pane.json("resume", task, env=server.environment)
        assert done["column"] == "waiting_approval"


def test_serve_keeps_the_engine_until_it_is_told_to_stop(pane: Commands) -> None:
    kept = pane.start("serve", env={"AGENTPANE_IDLE_S": "0"})
    until(pane.folder.socket.exists, "the engine")
    pane.json("project", "list")
    assert kept.poll() is None
    pane.json("engine", "stop")
    kept.communicate(timeout=BOUND_S)
    assert kept.returncode == 0


def test_an_agents_command_cannot_reach_the_engine_and_a_descendant_is_refused(board: Commands, repo: Path) -> None:
    look = f'ls {board.folder.root} {board.folder.socket.parent}; python3 -c "{CONNECT}" {board.folder.socket}'
    with ScriptedServer([[use("Bash", command=look)], WRITE, DONE]) as server:
        task = card(board, repo)
        board.json("run", task, env=server.environment)
        events = board.json("session", "show", task)
        result = str(next(event for event in events if event["kind"] == "tool_result")["data"]["content"])
        assert "connected" not in result
        assert "No such file or directory" in result


CONNECT = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('connected')"


def test_no_key_is_in_the_data_folder_or_the_engines_environment(pane: Commands, repo: Path) -> None:
    secret = "sk-ant-very-secret-0123456789"
    with ScriptedServer([[use("Bash", command="env; cat /proc/1/environ")], WRITE, DONE], key=secret) as server:
        task = card(pane, repo)
        pane.json("run", task, env=server.environment)
        pane.json("approve", task)
        engine = psutil.Process(pane.json("engine", "status")["pid"])
        assert not any(name.startswith("ANTHROPIC") or secret in value for name, value in engine.environ().items())
    pane.json("engine", "stop")
    engine.wait(BOUND_S)
    for file in pane.folder.root.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


def test_an_entry_changed_behind_the_engines_back_is_found(pane: Commands, repo: Path) -> None:
    card(pane, repo)
    assert pane.json("audit", "verify")["ok"]
    engine = psutil.Process(pane.json("engine", "status")["pid"])
    pane.json("engine", "stop")
    engine.wait(BOUND_S)
    with closing(sqlite3.connect(pane.folder.database)) as database, database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')
        database.execute("UPDATE audit_logs SET tool = 'nothing' WHERE number = 1")
    verdict = pane.json("audit", "verify", status=6)
    assert (verdict["ok"], verdict["first_bad"] is None) == (False, False)


def test_a_signal_to_end_pauses_like_the_command(pane: Commands, repo: Path) -> None:
    with ScriptedServer([WAIT, WRITE, DONE]) as server:
        task = card(pane, repo)
        client = pane.start("run", task, env=server.environment)
        until(lambda: turns(pane, task) == 1, "the first turn")
        engine = psutil.Process(pane.json("engine", "status")["pid"])
        os.kill(engine.pid, signal.SIGTERM)
        engine.wait(BOUND_S)
        client.communicate(timeout=BOUND_S)
        runs = shown(pane, task)["runs"]
        assert isinstance(runs, list) and runs[-1]["status"] == "paused"
        assert git(repo, "status", "--porcelain") == b""
