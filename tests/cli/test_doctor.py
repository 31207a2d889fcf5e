"""The doctor and the worktrees from a terminal: told first, mended only when somebody says so."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

from tests.backends.wire import ScriptedServer, say, use
from tests.cli.conftest import BOUND_S, Commands, Outcome, git


def at_a_terminal(pane: Commands, typed: bytes, *words: str) -> Outcome:
    """The command with a terminal as its input, on which this has been typed."""
    master, slave = pty.openpty()
    try:
        os.write(master, typed)
        command, environment = pane._command(words), pane._environment(None)
        done = subprocess.run(
            command, stdin=slave, capture_output=True, env=environment, cwd=pane.place, timeout=BOUND_S, check=False
        )
    finally:
        os.close(master)
        os.close(slave)
    return Outcome(done.returncode, done.stdout, done.stderr.decode())


def test_nothing_is_mended_without_a_word_and_a_removed_worktree_is_in_the_bin(pane: Commands, repo: Path) -> None:
    project = pane.json("project", "add", str(repo))["id"]
    task = pane.json("task", "add", project, "Change it")["id"]
    with ScriptedServer([[use("Write", file_path="new.txt", content="hello\n")], [say("Done.")]]) as server:
        pane.json("run", task, env=server.environment)
    (entry,) = [each for each in pane.json("worktree", "list", "shop") if each["task_id"] == task]
    assert entry["size_bytes"] > 0 and entry["stale"] == [] and not entry["in_use"]
    where = Path(entry["path"])
    shutil.rmtree(where)

    told = pane.json("doctor", "--fix", status=6)
    (finding,) = [each for each in told["findings"] if not each["notice"]]
    assert (finding["code"], finding["where"], finding["repairable"]) == ("WORKTREE_NOT_FOUND", str(where), True)
    assert finding["id"] in told["would_repair"] and told["repairs"] == [] and not where.exists()
    asked = at_a_terminal(pane, b"n\n" * 9, "doctor", "--fix")
    assert "Do that? [y/N]" in asked.stderr and finding["id"] in asked.stderr and not where.exists()
    said = pane("doctor", "--fix", "--yes")
    assert said.status == 0 and "Mended: The worktree was made again" in said.text, said
    assert (where / "new.txt").read_text() == "hello\n"

    (where / "draft.txt").write_text("half a thought")
    refused = pane("worktree", "remove", entry["id"], "--json")
    assert (refused.status, refused.code) == (2, "VALIDATION_ERROR") and where.exists()
    assert pane.json("worktree", "remove", entry["id"][:12], "--yes")["path"] == str(where)
    assert not where.exists()
    (kept,) = pane.json("recovery", "list", "shop")
    assert "draft.txt" in git(repo, "ls-tree", "--name-only", kept["ref"]).decode()
