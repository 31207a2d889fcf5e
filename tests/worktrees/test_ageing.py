"""Files of a fresh worktree look older, on disk and in the index alike, and nothing else about them changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.worktrees.trees.ageing import AGE_S, age_files
from tests.worktrees.conftest import commit_all, git


@pytest.fixture(params=["sha1", "sha256"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main", f"--object-format={request.param}")
    for name in ("a", "deep/er/b", "run.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("a")
    commit_all(tmp_path)
    return tmp_path


def size_of_names(tree: Path) -> int:
    return len(git(tree, "rev-parse", "HEAD")) // 2


def seconds_agree(tree: Path) -> bool:
    """Whether each entry of the index has the times of its file, as far as git compares them."""
    shown = git(tree, "ls-files", "--debug").splitlines()  # six lines an entry
    for at in range(0, len(shown), 6):
        about = (tree / shown[at]).lstat()
        times = [("ctime", about.st_ctime_ns), ("mtime", about.st_mtime_ns)]
        told = [f"  {name}: {time // 10**9}:" for name, time in times]
        if not all(line.startswith(start) for line, start in zip(shown[at + 1 : at + 3], told, strict=True)):
            return False
    return True


def test_all_files_age_together_with_their_entries(tree: Path) -> None:
    before, staged = (tree / "link").lstat(), git(tree, "ls-files", "-s")
    written = (tree / ".git/index").stat().st_mtime_ns // 10**9
    assert age_files(tree, tree / ".git/index", size_of_names(tree))
    assert all((tree / name).stat().st_mtime < written for name in ("a", "deep/er/b", "run.sh"))
    assert (tree / "run.sh").stat().st_mtime == written - AGE_S or int((tree / "run.sh").stat().st_mtime) == written - 1
    assert (tree / "link").lstat() == before and git(tree, "ls-files", "-s") == staged
    assert seconds_agree(tree)
    assert git(tree, "diff-files", "--name-only") == "" == git(tree, "status", "--porcelain")
    assert not (tree / ".git/index.aged").exists()


def test_what_a_killed_engine_left_is_replaced_and_where_nothing_can_be_written_the_index_stays(tree: Path) -> None:
    left, before = tree / ".git/index.aged", (tree / ".git/index").read_bytes()
    left.mkdir()
    assert not age_files(tree, tree / ".git/index", size_of_names(tree))
    assert (tree / ".git/index").read_bytes() == before
    left.rmdir()
    left.write_bytes(b"half")
    assert age_files(tree, tree / ".git/index", size_of_names(tree))
    assert not left.exists() and git(tree, "status", "--porcelain") == ""


@pytest.mark.parametrize("young", [True, False])
def test_what_somebody_has_written_in_the_same_second_as_git_is_seen(tree: Path, young: bool) -> None:
    """Of the same size, which is all that git would compare: it is told so, whichever second its index is of."""
    index, second = tree / ".git/index", 10**9
    at = index.stat().st_mtime_ns // second * second + (0 if young else -3 * second)
    os.utime(tree / "a", ns=(at, at))
    git(tree, "update-index", "--refresh")
    (tree / "a").write_text("b")
    os.utime(tree / "a", ns=(at + 1, at + 1))
    (tree / "deep/er/b").unlink()
    assert age_files(tree, index, size_of_names(tree))
    assert (tree / "a").stat().st_mtime_ns == at + 1
    os.utime(index, ns=(at + 9 * second,) * 2)  # written in a later one: git would trust it
    assert git(tree, "status", "--porcelain") == " M a\n D deep/er/b"


def test_only_what_is_young_is_aged_again(tree: Path) -> None:
    index = tree / ".git/index"
    assert age_files(tree, index, size_of_names(tree))
    kept = (tree / "a").stat()
    (tree / "new").write_text("new")
    git(tree, "add", "new")
    assert age_files(tree, index, size_of_names(tree))
    assert (tree / "a").stat() == kept and (tree / "new").stat().st_mtime < int(index.stat().st_mtime)
    assert git(tree, "status", "--porcelain") == "A  new"


def test_an_index_of_another_form_is_left_as_it_is(tree: Path) -> None:
    index = tree / ".git/index"
    git(tree, "update-index", "--index-version", "4")
    whole = index.read_bytes()
    assert not age_files(tree, index, size_of_names(tree)) and index.read_bytes() == whole
    git(tree, "update-index", "--index-version", "2")
    whole = index.read_bytes()
    torn = whole[:-1] + bytes([whole[-1] ^ 1])
    index.write_bytes(torn)
    assert not age_files(tree, index, size_of_names(tree)) and index.read_bytes() == torn
