"""What a person may do with a card after its first diff, and that none of it loses work."""

from __future__ import annotations

from pathlib import Path

from agentpane.api.commands import GetTask, Reject
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
    one, two = stage.task(repo), stage.pane.json("task", "add", str(repo), "Two")["id"]
    stage.played(one)
    assert stage.pane("approve", one).status == 0
    said = stage.pane("task", "archive", one, two)
    assert said.status == 0 and said.text.count("Archived: ") == 2 and one in said.text
    assert stage.pane.json("task", "list", str(repo)) == []
    archived = stage.pane.json("task", "list", str(repo), "--archived")
    assert [card["id"] for card in archived] == [two, one] and archived[0]["archived_at"] is not None
    assert [
        card["id"] for card in stage.pane.json("task", "list", str(repo), "--archived", "--column", "verified")
    ] == [one]
    assert "Verified, archived" in stage.pane("task", "show", one).text
    refused = stage.pane("undo", one, "--json")
    assert refused.code == "TASK_INVALID_TRANSITION" and "unarchive" in refused.document["error"]["hint"]
    (back,) = stage.pane.json("task", "unarchive", one)
    assert (back["column"], back["archived_at"]) == ("verified", None)
    assert stage.pane("undo", one).status == 0


def test_the_first_card_that_cannot_be_archived_ends_it_and_the_answer_says_which_were(stage: Stage) -> None:
    repo = stage.repository()
    waiting = stage.task(repo)
    one, other = [stage.pane.json("task", "add", str(repo), title)["id"] for title in ("One", "Other")]
    stage.played(waiting)
    refused = stage.pane("task", "archive", one, waiting, other, "--json")
    assert refused.code == "TASK_INVALID_TRANSITION"
    assert f"Archived before that: {one}." in refused.document["error"]["hint"]
    assert {card["id"] for card in stage.pane.json("task", "list", str(repo))} == {waiting, other}
