"""A repository with names that differ in case alone, on a disk that takes them for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.worktrees import NothingChanged, Snapshot, Worktrees
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.places import inside
from agentpane.worktrees.trees.folding import Folder, folds, sharing
from agentpane.worktrees.trees.leftover import beyond_index
from tests.worktrees.conftest import git
from tests.worktrees.odd.story import card_of
from tests.worktrees.odd.test_kinds import made

TRACKED = ("Dir/x", "NAME", "Name", "dir/x", "other", "stra\u00dfe", "STRASSE")


@pytest.mark.parametrize(
    ("on_disk", "changed", "without"),
    [
        (("Name", "other"), {"NAME", "other"}, {"NAME"}),
        (("NAME",), {"NAME", "Name"}, {"Name"}),
        (("NAME", "Name"), {"NAME", "Name"}, set()),  # the disk keeps them apart
        ((), {"NAME", "Name"}, {"NAME"}),  # the one file of both is gone
        (("nAmE",), {"NAME", "Name"}, {"NAME"}),
        (("Dir/x",), {"Dir/x", "dir/x"}, {"dir/x"}),
        (("Other",), {"other"}, set()),  # another spelling of a name that is alone
        (("stra\u00dfe",), {"STRASSE", "stra\u00dfe"}, {"STRASSE"}),
    ],
)
def test_the_name_that_is_spelled_as_on_disk_has_the_file(
    tmp_path: Path, on_disk: tuple[str, ...], changed: set[str], without: set[str]
) -> None:
    for name in on_disk:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert sharing(Folder(tmp_path), changed, TRACKED) == without


def test_a_disk_that_keeps_such_names_apart_is_known(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".GIT").mkdir()
    assert not folds(tmp_path)


async def test_a_snapshot_and_a_recovery_leave_such_a_name_as_it_is(worktrees: Worktrees, tmp_path: Path) -> None:
    folder = made(tmp_path / "repo", {"NAME": b"upper\n", "Name": b"lower\n", "other": b"1\n"})

    card = await card_of(worktrees, await worktrees.open_repository(folder))
    path, repo = card.made.path, card.repo
    os.link(path / ".git", path / ".GIT")  # as a disk that folds case would show it, and one of the two files alone
    (folder / ".git" / "info" / "exclude").write_text(".GIT\n.worktrees\n")
    (path / "NAME").unlink()
    assert folds(path)
    run = card.git.snapshot(repo, card.made.worktree, card.base, "run", "Snapshot\n")
    assert isinstance(await run, NothingChanged)
    assert await worktrees.recovery_snapshot(repo, card.made.worktree, "kept") is None
    (path / "other").write_text("2\n")
    (path / "Name").write_text("changed\n")
    snapshot = await card.snapshot()
    assert isinstance(snapshot, Snapshot)
    assert [file.path for file in await worktrees.diff_files(repo, card.base, snapshot.sha)] == ["Name", "other"]
    assert git(folder, "show", f"{snapshot.sha}:NAME") == "upper"


async def test_a_worktree_is_no_less_untouched_for_such_a_name(worktrees: Worktrees, tmp_path: Path) -> None:
    folder = made(tmp_path / "repo", {"NAME": b"upper\n", "Name": b"lower\n"})
    repo = await worktrees.open_repository(folder)
    ready = await worktrees.ready.make(repo, folder / ".worktrees" / "ready", git(folder, "rev-parse", "main"), "mark")
    (ready.path / "NAME").unlink()
    git_alone = GitRunner()
    assert await beyond_index(git_alone, inside(repo, ready)) == [" D NAME"]
    os.link(ready.path / ".git", ready.path / ".GIT")
    assert await beyond_index(git_alone, inside(repo, ready)) == ["?? .GIT"]
    git_alone.close()
