from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Worktree
from tests.worktrees.conftest import Bench, git


def in_trash(bench: Bench, path: Path) -> Path:
    """Rename it as a removal does that is cut off right after."""
    trash = bench.repo.common_dir / "agentpane" / "trash"
    trash.mkdir(parents=True, exist_ok=True)
    return path.rename(trash / f"{len(os.listdir(trash)):016x}")


def marked(bench: Bench) -> Worktree:
    (bench.made.git_dir / "agentpane-mark").write_text("its-row\n")
    return Worktree(bench.path, bench.made.git_dir, bench.made.branch, "its-row")


async def test_a_removal_that_was_cut_off_between_its_renames_is_taken_back(bench: Bench) -> None:
    (bench.path / "new").write_text("not committed\n")
    worktree = marked(bench)
    in_trash(bench, bench.path)
    assert await bench.worktrees.put_back(bench.repo, worktree)
    assert git(bench.path, "status", "--porcelain") == "?? new"


async def test_a_folder_is_put_back_where_even_its_parent_is_gone_and_stays_in_the_trash_where_it_cannot_be(
    bench: Bench,
) -> None:
    worktree, root = marked(bench), bench.path.parent
    left = in_trash(bench, bench.path)
    root.rmdir()
    root.write_text("in the way")
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.put_back(bench.repo, worktree)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED and str(left) in caught.value.hint
    assert left.is_dir()
    root.unlink()
    assert await bench.worktrees.put_back(bench.repo, worktree)
    assert bench.path.is_dir() and not left.exists()


async def test_a_removal_that_had_both_is_not_taken_back(bench: Bench) -> None:
    worktree = marked(bench)
    in_trash(bench, bench.path)
    in_trash(bench, worktree.git_dir)
    assert not await bench.worktrees.put_back(bench.repo, worktree)
    assert not bench.path.exists()


async def test_what_lies_in_its_place_by_now_is_left(bench: Bench) -> None:
    worktree = marked(bench)
    in_trash(bench, bench.path)
    bench.path.mkdir()
    (bench.path / "mine").write_text("x")
    assert not await bench.worktrees.put_back(bench.repo, worktree)
    assert (bench.path / "mine").read_text() == "x"
