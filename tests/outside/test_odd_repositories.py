"""What stands between the program and an odd repository can be settled by its commands."""

from __future__ import annotations

from tests.cli.conftest import git
from tests.outside.stage import GREETING, Stage

CLEAN, SMUDGE = "tr a-z A-Z", "tr A-Z a-z"


def test_a_filter_that_files_need_is_allowed_for_a_project_and_works_from_worktree_to_merge(stage: Stage) -> None:
    repo = stage.repository({".gitattributes": "*.txt filter=stand-in\n", "a.txt": "A\n"})
    for key, value in (("clean", CLEAN), ("smudge", SMUDGE), ("required", "true")):
        git(repo, "config", f"filter.stand-in.{key}", value)
    refused = stage.pane("project", "add", str(repo), "--json")
    assert refused.code == "GIT_FILTER_REQUIRED"
    assert "--allow-filter stand-in" in refused.document["error"]["hint"]
    project = stage.pane.json("project", "add", str(repo), "--allow-filter", "stand-in")["id"]
    assert stage.pane.json("project", "filters", project)["filters"] == ["stand-in"]
    task = stage.pane.json("task", "add", project, "Write a greeting")["id"]
    done = stage.played(task, GREETING)
    assert done.snapshot is not None
    assert git(repo, "show", f"{done.snapshot}:hello.txt") == b"HELLO\n"
    merged = stage.pane.json("approve", task)["merge_commit"]
    assert git(repo, "show", f"{merged}:hello.txt") == b"HELLO\n" and (repo / "hello.txt").read_text() == "hello\n"
    assert stage.pane.json("project", "filters", project, "--forbid", "stand-in")["filters"] == []
    again = stage.pane.json("task", "add", project, "Once more")["id"]
    assert stage.pane("run", again, "--json", env=stage.model(GREETING).environment).code == "GIT_FILTER_REQUIRED"
