"""What is kept, from a terminal: the turns of a card, and the recovery bin."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agentpane.api.commands import CancelTask, ListRecoveries
from tests.backends.wire import say, use
from tests.cli.conftest import git
from tests.outside.stage import Stage

WORK = (
    [use("Write", file_path="one.txt", content="one\n")],
    [use("Write", file_path="two.txt", content="two\n"), use("Bash", command="rm one.txt")],
    [say("Done.")],
)


def _made_and_left(worktree: Path) -> None:
    """A commit that no branch holds any more, and a repository inside with one of its own."""
    git(worktree, "commit", "-q", "--allow-empty", "--only", "-m", "a wrong turn")
    git(worktree, "reset", "-q", "--soft", "HEAD^")
    git(worktree, "init", "-q", "sub")
    (worktree / "sub" / "s.txt").write_text("inner\n")
    git(worktree / "sub", "add", "s.txt")
    git(worktree / "sub", "commit", "-q", "-m", "of its own")


def test_work_that_was_cancelled_is_listed_restored_and_gone_on_with(stage: Stage) -> None:
    repo = stage.repository()
    task = stage.task(repo)
    first = stage.played(task, WORK)
    turns = stage.pane.json("session", "turns", task)
    assert [(each["turn"], each["files"], each["added"], each["removed"]) for each in turns] == [
        (1, 1, 1, 0),
        (2, 2, 1, 1),
    ]
    assert stage.pane("task", "reset", task, turns[0]["sha"], "--json").code == "TASK_NOT_IN_COLUMN"

    worktree = Path(first.worktree or "")
    (worktree / "mine.txt").write_text("staged\n")
    git(worktree, "add", "mine.txt")
    (worktree / "mine.txt").write_text("not committed\n")
    _made_and_left(worktree)
    stage.do(CancelTask(task, confirmed=True))
    (kept,) = stage.pane.json("recovery", "list", str(repo))
    assert (kept["reason"], kept["task_id"], kept["files"], kept["size_bytes"]) == ("cancel", task, 2, 20)
    row = next(line for line in stage.pane("recovery", "list").text.splitlines() if kept["id"] in line)
    assert "20 B" in row and "30 day(s)" in row

    also = kept["beside"]
    assert (also["commits"], also["staged"], also["histories"], also["without"]) == (1, True, ["sub"], [])
    assert "1 commit that no branch holds, what was staged, the history of sub" in row
    assert all(way in stage.pane("recovery", "list").text for way in also["see"])
    shown = [subprocess.check_output(way, shell=True, cwd=repo, text=True) for way in also["see"]]
    assert "a wrong turn" in shown[0] and "+staged" in shown[1]
    assert "of its own" in git(repo, "log", "--all", "--format=%s").decode()

    assert f"agentpane recovery restore {kept['id']}" in stage.pane("task", "show", task).text
    assert kept["ref"] in stage.pane("session", "show", task).text

    work = stage.pane.json("recovery", "restore", kept["id"][:9])
    assert work["also_kept"] == also and work["ref"] == kept["ref"]
    assert (work["task_id"], work["branch"]) == (task, first.branch)
    assert (Path(work["path"]) / "mine.txt").read_text() == "not committed\n"
    assert git(Path(work["path"]), "status", "--porcelain").decode() == "?? mine.txt\n?? sub/\n"
    assert "holds restored work" in stage.pane("task", "show", task).text
    again = stage.played(task, WORK)
    assert (again.card.column, again.worktree, again.card.files_changed) == ("waiting_approval", work["path"], 3)

    (Path(work["path"]) / "post.txt").write_text("after the review\n")
    after = stage.pane.json("approve", task)["recovery"]
    assert [(each.reason, each.files) for each in stage.do(ListRecoveries()) if each.id == after] == [("approve", 1)]
    assert stage.pane("session", "show", task).text.count("refs/agentpane/recovery/") >= 2

    assert stage.pane("recovery", "delete", kept["id"], "--json").status == 2
    assert stage.pane.json("recovery", "delete", kept["id"], "--yes")["id"] == kept["id"]
    assert kept["id"] not in {each.id for each in stage.do(ListRecoveries())}
