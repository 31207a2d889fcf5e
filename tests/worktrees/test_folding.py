"""A repository with names that differ in case alone, on a disk that takes them for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.worktrees import NothingChanged, Worktrees
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.places import inside
from agentpane.worktrees.trees import folding
from agentpane.worktrees.trees.folding import Folder, folds, sharing
from agentpane.worktrees.trees.leftover import beyond_index
from tests.worktrees.conftest import git
from tests.worktrees.odd.story import Card, card_of
from tests.worktrees.odd.test_kinds import made

TRACKED = ("Dir/x", "NAME", "Name", "dir/x", "other", "stra\u00dfe", "STRASSE")


class Folded(Folder):
    """The folder as a disk shows it that finds each name in any case."""

    def about(self, path: str) -> os.stat_result | None:
        return super().about(self._real(path))

    def spells(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return super().spells("/".join(part for part in (self._real(folder), name) if part))

    def _real(self, path: str) -> str:
        at = ""
        for part in path.split("/"):
            here = os.listdir(self.root / at) if (self.root / at).is_dir() else []
            at = os.path.join(at, next((name for name in here if name.casefold() == part.casefold()), part))
        return at


@pytest.mark.parametrize(
    ("on_disk", "changed", "without"),
    [
        (("Name", "other"), {"NAME", "other"}, {"NAME"}),
        (("NAME",), {"NAME", "Name"}, {"Name"}),
        ((), {"NAME", "Name"}, set()),  # the one file of both was taken away
        (("nAmE",), {"NAME", "Name"}, set()),
        (("Dir/x",), {"Dir/x", "dir/x"}, {"Dir/x"}),  # of one folder for both, with what was laid out last
        (("Other",), {"other"}, set()),  # another spelling of a name that is alone
        (("stra\u00dfe",), {"STRASSE", "stra\u00dfe"}, {"STRASSE"}),
    ],
)
def test_the_name_that_was_laid_out_last_has_the_file(
    tmp_path: Path, on_disk: tuple[str, ...], changed: set[str], without: set[str]
) -> None:
    lay(tmp_path, *on_disk)
    assert sharing(Folded(tmp_path), changed, TRACKED) == without


@pytest.mark.parametrize("on_disk", [("NAME", "Name"), ("Name",), ("NAME",), ("Dir/x", "dir/x")])
def test_where_the_disk_tells_them_apart_every_change_counts(tmp_path: Path, on_disk: tuple[str, ...]) -> None:
    lay(tmp_path, *on_disk)
    assert sharing(Folder(tmp_path), set(TRACKED), TRACKED) == set()


def test_two_names_of_one_file_are_no_disk_that_folds(tmp_path: Path) -> None:
    lay(tmp_path, ".git", "Name")
    assert not folds(tmp_path)
    os.link(tmp_path / ".git", tmp_path / ".GIT")
    os.link(tmp_path / "Name", tmp_path / "NAME")
    assert not folds(tmp_path)
    assert sharing(Folder(tmp_path), {"NAME"}, TRACKED) == set()


def test_what_a_link_leads_to_and_what_cannot_be_listed_hides_no_change(tmp_path: Path) -> None:
    lay(tmp_path, "away/x")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "Dir").symlink_to(tmp_path / "away")
    assert sharing(Folded(tmp_path / "tree"), {"Dir/x", "dir/x"}, TRACKED) == set()
    assert sharing(Folded(tmp_path / "nowhere"), {"NAME", "Name"}, TRACKED) == set()


async def card_on_a_folding_disk(worktrees: Worktrees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    folder = made(tmp_path / "repo", {"NAME": b"upper\n", "Name": b"lower\n", "other": b"1\n"})
    card = await card_of(worktrees, await worktrees.open_repository(folder))
    (card.made.path / "NAME").unlink()  # one of the two is all that such a disk holds
    monkeypatch.setattr(folding, "folds", lambda _: True)
    monkeypatch.setattr(folding, "Folder", Folded)
    return card


async def test_what_git_says_of_a_name_without_a_file_is_in_no_snapshot_and_no_recovery(
    worktrees: Worktrees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = await card_on_a_folding_disk(worktrees, tmp_path, monkeypatch)
    path, repo, kept = card.made.path, card.repo, worktrees.recovery_snapshot
    nothing = await worktrees.snapshot(repo, card.made.worktree, card.base, "run", "Snapshot\n")
    assert isinstance(nothing, NothingChanged)
    assert await kept(repo, card.made.worktree, "one") is None
    runner = GitRunner()
    assert await beyond_index(runner, inside(repo, card.made.worktree)) == []
    (path / "other").write_text("2\n")
    (path / "Name").write_text("changed\n")
    snapshot = await card.snapshot()
    assert [file.path for file in await worktrees.diff_files(repo, card.base, snapshot.sha)] == ["Name", "other"]
    assert git(repo.path, "show", f"{snapshot.sha}:NAME") == "upper"
    (path / "Name").unlink()  # the file of both
    gone = await card.snapshot()
    assert [file.path for file in await worktrees.diff_files(repo, snapshot.sha, gone.sha)] == ["NAME", "Name"]
    assert await beyond_index(runner, inside(repo, card.made.worktree)) == []
    runner.close()


def lay(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text("x")
