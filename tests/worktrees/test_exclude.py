"""Worktrees in a checkout are kept out of its status, and nothing of the person's is kept out with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentpane.worktrees import Repository, WorktreePlan, Worktrees
from tests.worktrees.conftest import git
from tests.worktrees.test_pool import new_branch


def write(folder: Path) -> None:
    (folder / "draft.md").write_text("mine\n")


def add_worktree(folder: Path) -> None:
    git(folder.parent, "worktree", "add", "-q", "--detach", str(folder / "theirs"))


def make_folder(folder: Path) -> None:
    (folder / "later").mkdir()


@pytest.mark.parametrize("fill", [write, add_worktree, make_folder])
async def test_a_folder_that_holds_anything_of_a_persons_is_not_excluded_as_a_whole(
    worktrees: Worktrees, repo: Repository, fill: Callable[[Path], None]
) -> None:
    notes, base = repo.path / "notes", git(repo.path, "rev-parse", "HEAD")
    notes.mkdir()
    fill(notes)
    before = git(repo.path, "status", "--porcelain", "-uall")
    for name in ("one", "two"):
        await worktrees.create_worktree(repo, WorktreePlan(notes / name, f"agentpane/{name}-abc123", base))
    assert git(repo.path, "status", "--porcelain", "-uall") == before
    (notes / "new.md").write_text("mine as well\n")
    assert "?? notes/new.md" in git(repo.path, "status", "--porcelain", "-uall").split("\n")
    assert (repo.common_dir / "info/exclude").read_text() == "/notes/one/\n/notes/two/\n"


async def test_a_ready_worktree_in_such_a_folder_stays_out_of_the_status_under_its_cards_name(
    worktrees: Worktrees, repo: Repository
) -> None:
    notes, base = repo.path / "notes", git(repo.path, "rev-parse", "HEAD")
    notes.mkdir()
    write(notes)
    ready = await worktrees.ready.make(repo, notes / "ready-1", base, "mark")
    branch = await new_branch(worktrees, repo)
    card = await worktrees.ready.hand_over(repo, ready, base, notes / "one", branch)
    assert card is not None and await worktrees.ready.copy_files(repo, card, ()) == ()
    assert git(repo.path, "status", "--porcelain", "-uall") == "?? notes/draft.md"
    # A folder of ours alone needs no second line.
    ready = await worktrees.ready.make(repo, repo.path / ".worktrees/ready-2", base, "mark-2")
    branch, lines = await new_branch(worktrees, repo), (repo.common_dir / "info/exclude").read_text()
    card = await worktrees.ready.hand_over(repo, ready, base, repo.path / ".worktrees/two", branch)
    assert card is not None and await worktrees.ready.copy_files(repo, card, ()) == ()
    assert (repo.common_dir / "info/exclude").read_text() == lines and lines.endswith("/.worktrees/\n")
    assert git(repo.path, "status", "--porcelain", "-uall") == "?? notes/draft.md"
