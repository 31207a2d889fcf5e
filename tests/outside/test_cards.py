"""What a person may do with a card after its first diff, and that none of it loses work."""

from __future__ import annotations

from pathlib import Path

from agentpane.api.commands import AddTask, GetTask, ListTasks, Reject
from tests.cli.conftest import git
from tests.outside.scenarios_work import EDIT
from tests.outside.stage import GREETING, Held, Stage, until


def test_a_rejected_card_can_be_cancelled_and_its_branch_keeps_the_snapshot(stage: Stage) -> None:
    repo = stage.repository()
    task = stage.task(repo)
    first = stage.played(task)
    held = Held()
    server = stage.model(script=held)
    stage.do(Reject(task, "Not like this.", environment=server.environment))
    until(held.asked.is_set)
    cancelled = stage.pane.json("cancel", task)
    assert (cancelled["column"], cancelled["worktree"]) == ("backlog", None)
    assert first.branch is not None and first.worktree is not None
    assert git(repo, "rev-parse", first.branch).decode().strip() == first.snapshot
    assert not Path(first.worktree).exists()


def test_after_a_removal_that_failed_the_card_goes_on_in_the_same_worktree(stage: Stage) -> None:
    repo = stage.repository()
    task = stage.task(repo)
    first = stage.played(task)
    (repo / ".worktrees").rename(stage.place / "moved")
    (repo / ".worktrees").symlink_to(stage.place / "moved")
    refused = stage.pane("cancel", task, "--yes", "--json")
    assert refused.code == "WORKTREE_REMOVAL_FAILED"
    said = refused.document["error"]
    assert "a link leads to it" in said["message"] and "Nothing was deleted" in said["hint"]
    (repo / ".worktrees").unlink()
    (stage.place / "moved").rename(repo / ".worktrees")
    server = stage.model([*GREETING, *EDIT])
    again = stage.pane.json("reject", task, "--reason", "More.", "--wait", env=server.environment)
    assert (again["column"], again["worktree"], again["branch"]) == ("waiting_approval", first.worktree, first.branch)
    assert again["files_changed"] == 2
    assert stage.pane.json("cancel", task, "--yes")["column"] == "backlog"
    assert stage.do(GetTask(task)).worktree is None


def test_cards_are_archived_seen_and_put_back(stage: Stage) -> None:
    repo = stage.repository()
    one = stage.task(repo)
    two, three, four = [stage.do(AddTask(str(repo), title)).card.id for title in ("Two", "Three", "Four")]
    said = stage.pane("task", "archive", one, two)
    assert said.status == 0 and said.text.count("Archived: ") == 2 and f"({one})" in said.text
    archived = stage.pane.json("task", "list", str(repo), "--archived", "--column", "backlog")
    assert [card["id"] for card in archived] == [two, one] and archived[0]["archived_at"] is not None
    assert "Backlog, archived" in stage.pane("task", "show", one).text
    assert stage.pane.json("task", "list", str(repo), "--archived", "--column", "verified") == []
    refused = stage.pane("task", "archive", three, one, four, "--json")
    assert refused.code == "TASK_INVALID_TRANSITION"
    assert f"task unarchive {one}" in (hint := refused.document["error"]["hint"])
    assert hint.endswith(f"Archived before that: {three}.")
    (back,) = stage.pane.json("task", "unarchive", one)
    assert (back["column"], back["archived_at"]) == ("backlog", None)
    assert {card.id for card in stage.do(ListTasks(str(repo)))} == {one, four}
