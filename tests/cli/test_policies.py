"""A project's rules, a plan and what "always" adds, by the commands alone."""

from __future__ import annotations

import threading
from pathlib import Path

from agentpane.api.commands import ListApprovals
from tests.backends.wire import ScriptedServer, say, use
from tests.cli.conftest import Commands

ANSWER = [say("Done.")]


def test_a_projects_rules_are_shown_and_changed(board: Commands, repo: Path) -> None:
    board.json("project", "add", str(repo))
    changed = board.json(
        *("project", "policy", "shop", "--preset", "careful", "--allow", "Bash(npm test *)"),
        *("--deny", "Read(.env)", "--ask", "mcp__notes__*", "--unconfined"),
    )
    assert {key: changed[key] for key in ("policy", "rules", "always", "unconfined")} == {
        "policy": "careful",
        "rules": ["allow Bash(npm test:*)", "ask mcp__notes__*", "deny Read(.env)"],
        "always": [],
        "unconfined": True,
    }
    told = board("project", "policy", "shop", "--remove", "rule: deny Read(.env)", "--confined").text
    assert told.splitlines() == ["preset: careful", "rule: allow Bash(npm test:*)", "rule: ask mcp__notes__*"]
    assert board("project", "policy", "shop", "--allow", "Bash(a | b)", "--json").code == "VALIDATION_ERROR"
    assert board("project", "policy", "shop", "--remove", "deny Read(.env)", "--json").code == "VALIDATION_ERROR"
    assert board("project", "policy", "shop").text == told


def test_a_plan_is_approved_from_a_file_and_always_can_be_taken_back(board: Commands, repo: Path) -> None:
    board.json("project", "add", str(repo))
    task = str(board.json("task", "add", "shop", "Write a file")["id"])
    plan = board.place / "plan.md"
    plan.write_text("Write b.txt\n")
    turns = [[use("ExitPlanMode", plan="Write a.txt")], [use("Write", file_path="b.txt", content="b\n")], ANSWER]
    with ScriptedServer(turns) as server:
        board("run", task, "--plan", "--policy", "ask", "--json", env=server.environment)
        (asked,) = board.json("approvals", task)
        assert (asked["tool"], asked["detail"], asked["rules"]) == ("ExitPlanMode", "Write a.txt", [])
        assert (
            board("allow", asked["id"], "--plan-file", str(board.place / "none"), "--json").code == "VALIDATION_ERROR"
        )
        board.json("allow", asked["id"], "--plan-file", str(plan), env=server.environment)
        (asked,) = until_asked(board, task, "Write")
        assert "Write b.txt" in str(server.requests[1].messages[-1])
        told = board("approvals", task).text
        assert "+b" in told and "always: allow Write(b.txt)" in told
        board.json("allow", asked["id"], "--always", env=server.environment)
    assert board.json("project", "policy", "shop")["always"] == ["allow Write(b.txt)"]
    assert "always: allow Write(b.txt)" in board("project", "policy", "shop").text
    assert board.json("project", "policy", "shop", "--remove", "always: allow Write(b.txt)")["always"] == []


def until_asked(pane: Commands, task: str, tool: str) -> list[dict[str, object]]:
    waited = threading.Event()
    for _ in range(600):
        if any(each.tool == tool for each in pane.ask(ListApprovals(task))):
            return [each for each in pane.json("approvals", task) if each["tool"] == tool]
        waited.wait(0.05)
    raise AssertionError("it did not ask")
