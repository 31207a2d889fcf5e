"""A project's checks, by the commands alone, and what a killed engine leaves of one."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agentpane.cli.check import told
from agentpane.domain.checks import CheckResult, CheckState
from tests.backends.wire import ScriptedServer, say, use
from tests.cli.conftest import BOUND_S, Commands, git

NAP = "86399"  # seconds; no other program sleeps as long


def until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(int(BOUND_S / 0.05)):
        if condition():
            return
        waited.wait(0.05)
    pytest.fail("it did not happen")


def naps() -> list[int]:
    """The processes that a check has started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == ["sleep", NAP] and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def test_what_did_not_pass_is_told_with_the_end_of_its_words() -> None:
    passed = CheckResult("types", True, CheckState.PASSED, 0, 1.25, "a" * 40, None, "")
    failed = CheckResult("tests", True, CheckState.FAILED, 5, 0.5, "a" * 40, None, "one\n\x1b[31mtwo")
    away = CheckResult("lint", False, CheckState.NOT_RUN, None, None, "a" * 40, None, "No sandbox.")
    assert told([passed, failed, away]).splitlines() == [
        "types  passed                         1.2 s",
        "tests  ended with status 5            0.5 s",
        "lint   could not be run     optional",
        "",
        "tests:",
        "one",
        "␛[31mtwo",
        "",
        "lint:",
        "No sandbox.",
    ]


def _lists_both(pane: Commands, repo: Path) -> None:
    """What the repository asks for is listed with how it stands, and said where it cannot be read."""
    config = repo / ".agentpane" / "config.toml"
    config.parent.mkdir()
    config.write_text('[[checks]]\nname = "theirs"\nrun = "true"\n[[checks]]\nname = "lint"\nrun = "true"\n')
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "checks")
    listed = pane.json("project", "check", "list", "shop")
    assert [(check["name"], check["origin"], check["holds"]) for check in listed] == [
        ("lint", "project", True),
        ("theirs", "repository", False),
        ("lint", "repository", False),
    ]
    refused = pane("project", "check", "remove", "shop", "theirs", "--json")
    assert (refused.code, refused.status) == ("VALIDATION_ERROR", 2)
    assert "comes from the repository" in refused.document["error"]["message"]
    config.write_text("[[")
    git(repo, "commit", "-q", "-a", "-m", "broken")
    for verb in (("check", "list"), ("trust",)):
        told = pane("project", *verb, "shop")
        assert "config.toml cannot be read" in told.text + told.stderr
    git(repo, "revert", "--no-edit", "HEAD", "HEAD~1")


def test_checks_are_set_and_run_by_the_commands_and_a_killed_engine_leaves_nothing_of_one(
    pane: Commands, repo: Path
) -> None:
    pane.json("project", "add", str(repo))
    pane.json("project", "check", "add", "shop", "tests", "test -e b.txt && echo red && exit 5")
    added = pane.json("project", "check", "add", "shop", "lint", "false", "--optional", "--timeout", "60")
    lint = {"name": "lint", "command": "false", "required": False, "timeout_s": 60}
    assert added[1] == {"origin": "project", "holds": True, **lint}
    task = str(pane.json("task", "add", "shop", "Write a file")["id"])
    with ScriptedServer([[use("Write", file_path="b.txt", content="b\n")], [say("Done.")]]) as server:
        assert pane.json("run", task, env=server.environment)["column"] == "waiting_approval"
    tests, lint = pane.json("check", task, status=3)
    assert (tests["name"], tests["required"], tests["state"], tests["exit_code"]) == ("tests", True, "failed", 5)
    assert tests["output"] == "red" and len(tests["tree"]) == 40 and tests["seconds"] >= 0 and tests["at"]
    assert (lint["required"], lint["state"], lint["output"]) == (False, "failed", "")
    assert "= 1 of 2 checks did not pass" in pane("session", "show", task).text

    kept = pane.json("project", "check", "remove", "shop", "tests")
    assert [check["name"] for check in kept] == ["lint"]
    _lists_both(pane, repo)
    pane.json("project", "check", "add", "shop", "nap", f"exec sleep {NAP}")
    asking = pane.start("check", task, "--json")
    until(lambda: bool(naps()))
    (left,) = pane.folder.scratch.iterdir()
    assert (left / "in" / "tree" / "b.txt").exists()
    os.kill(int(json.loads(pane.folder.door.read_bytes())["pid"]), signal.SIGKILL)
    assert b"ENGINE_UNREACHABLE" in asking.communicate(timeout=BOUND_S)[0] and asking.returncode == 6
    until(lambda: not naps())
    assert left.exists()

    lint, nap = pane.json("task", "show", task)["checks"]  # which starts the next engine, and that goes on with it
    assert lint["state"] == "failed" and nap["state"] in {"running", "pending"}
    until(lambda: bool(naps()))
    assert not left.exists() and len(list(pane.folder.scratch.iterdir())) == 1
    assert [check["state"] for check in pane.json("check", task, "--stop")] == ["failed", "not_run"]
    assert naps() == []
    until(lambda: not list(pane.folder.scratch.iterdir()))
    assert str(pane.folder.root).encode() not in git(repo, "worktree", "list", "--porcelain")
