"""Agents that are programs, by the commands alone: added, run, denied, sent back and stopped."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.backends.conformance import STAND_IN
from tests.backends.playing import fresh_token, survivors
from tests.cli.conftest import Commands, git
from tests.cli.test_end_to_end import until


def with_stand_in(repo: Path, scenario: dict[str, Any]) -> str:
    """The command of a stand-in that lies in the repository, since the sandbox shows no more than that."""
    shutil.copy(STAND_IN, repo / "agent.py")
    (repo / "story.json").write_text(json.dumps(scenario))
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "An agent")
    return f"exec {shlex.join([sys.executable, 'agent.py', 'story.json'])}"


def with_preset(pane: Commands, folder: Path, program: str, scenario: dict[str, Any]) -> None:
    """A stand-in for a known program, installed as a package manager installs it."""
    packages = folder / "node_modules"
    (packages / ".bin").mkdir(parents=True)
    story = packages / "story.json"
    story.write_text(json.dumps(scenario))
    shutil.copy(STAND_IN, packages / "agent.py")
    file = packages / ".bin" / program
    file.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, str(packages / 'agent.py'), str(story)])}\n")
    file.chmod(0o755)
    folders = [str(file.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    pane.environment["PATH"] = os.pathsep.join(folders)


def add(pane: Commands, repo: Path, *words: str) -> str:
    pane.json("project", "add", str(repo))
    pane.json("agent", "add", "shop", "Own", *words, "--default")
    return str(pane.json("task", "add", "shop", "Write a greeting")["id"])


def edit(path: str, content: str, options: str = "allow_once reject_once") -> list[Any]:
    return ["call", "1", "edit", "Write it", {"path": path, "content": content}, options]


def test_a_known_program_makes_a_snapshot_and_goes_on_when_it_is_sent_back(
    pane: Commands, repo: Path, tmp_path: Path
) -> None:
    cost = {"sessionUpdate": "usage_update", "used": 9, "size": 99, "cost": {"amount": 0.25, "currency": "USD"}}
    first = [edit("hello.txt", "hello\n"), ["usage", 100, 20], ["update", cost], ["say", "Done."]]
    prompts = [first, [edit("hello.txt", "hi\n")]]
    with_preset(pane, tmp_path, "gemini", {"prompts": prompts, "load": True})
    task = add(pane, repo, "--backend", "acp", "--preset", "gemini")
    done = pane.json("run", task, env={"GEMINI_API_KEY": "its-own", "OPENAI_API_KEY": "of-another"})
    assert done["column"] == "waiting_approval"
    assert done["runs"][0]["backend"] == "acp"
    used = [done["runs"][0][name] for name in ("input_tokens", "output_tokens", "cost_usd")]
    assert used == [100, 20, 0.25]
    assert [file["path"] for file in pane.json("diff", task)["files"]] == ["hello.txt"]

    again = pane.json("reject", task, "--reason", "Shorter, please.", "--wait")
    assert again["column"] == "waiting_approval"
    assert b"+hi" in pane("diff", task, "--patch").stdout
    (heard,) = pane.folder.agents.glob("*/*/home/heard.jsonl")
    told = [json.loads(line) for line in heard.read_text().splitlines()]
    environment = next(event for event in told if event["what"] == "new")["environment"]
    assert environment["GEMINI_API_KEY"] == "its-own"
    assert "OPENAI_API_KEY" not in environment
    assert [event["what"] for event in told if event["what"] in ("new", "load")] == ["new", "load"]
    assert "Shorter, please." in [event for event in told if event["what"] == "prompt"][-1]["text"]


def test_what_the_policy_denies_does_not_happen_and_is_in_the_audit_log(board: Commands, repo: Path) -> None:
    prompts = [[edit("hello.txt", "hello\n"), ["say", "Then not."]], [["say", "I stop."]]]
    command = with_stand_in(repo, {"prompts": prompts})
    task = add(board, repo, "--backend", "acp", "--command", command)
    ended = board.json("run", task, "--policy", "deny", status=4)
    assert ended["code"] == "TASK_NO_DIFF"
    entries = board.json("audit", "list", "shop")
    assert any("denied" in str(entry.get("error")) for entry in entries)


def test_a_command_makes_a_snapshot_and_reads_the_feedback(board: Commands, repo: Path) -> None:
    task = add(board, repo, "--backend", "command", "--command", "cat > told.txt; echo formatted")
    done = board.json("run", task)
    assert done["column"] == "waiting_approval"
    assert done["runs"][0]["cost_usd"] is None
    board.json("reject", task, "--reason", "In French, please.", "--wait")
    patch = board("diff", task, "--patch").stdout
    assert b"+Write a greeting" in patch
    assert b"In French, please." in patch


def test_a_command_that_fails_says_how_and_one_takes_the_task_as_a_word(board: Commands, repo: Path) -> None:
    task = add(board, repo, "--backend", "command", "--command", "echo it does not work; exit 3")
    ended = board.json("run", task, status=4)
    error = ended["runs"][0]["error"]
    assert error["code"] == "AGENT_EXECUTION_ERROR"
    assert "it does not work" in error["message"]

    board.json("agent", "add", "shop", "Filled", "--backend", "command", "--command", "printf %s {prompt} > told.txt")
    other = board.json("task", "add", "shop", "Don't; `say` $it", "--agent", "Filled")["id"]
    assert board.json("run", other)["column"] == "waiting_approval"
    assert b"+Don't; `say` $it" in board("diff", other, "--patch").stdout


def test_cancelling_ends_a_program_and_all_that_it_has_started(board: Commands, repo: Path) -> None:
    token = fresh_token()
    waiting = ["call", "1", "execute", "Wait", {"command": f"setsid sleep 600.{token}1 & sleep 600.{token}2"}, ""]
    command = with_stand_in(repo, {"prompts": [[["child"], waiting]]})
    task = add(board, repo, "--backend", "acp", "--command", command)
    board.json("task", "move", task, "in_progress")
    until(lambda: len(survivors(token)) > 1)
    board.json("cancel", task)
    assert survivors(token) == []
    (run,) = board.json("task", "show", task)["runs"]
    assert (run["turns"], run["cost_usd"]) == (1, None)  # it would have been told at the end
