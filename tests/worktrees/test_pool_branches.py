"""The branch that a ready worktree is handed over on: a free name, made under git's own locks, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.worktrees import Repository, Worktree, Worktrees
from agentpane.worktrees.refs.ref_files import Signature
from agentpane.worktrees.trees import pool as pool_module
from agentpane.worktrees.trees.pool import NewBranch
from agentpane.worktrees.trees.seal import is_sealed
from tests.worktrees.conftest import git
from tests.worktrees.test_pool import BRANCH, BY, Cut, card_path, handed_over, made_ready, new_branch


@pytest.mark.parametrize(
    ("others", "packed", "free"),
    [
        ([BRANCH], False, f"{BRANCH}-2"),
        ([BRANCH, f"{BRANCH}-2"], True, f"{BRANCH}-3"),
        ([BRANCH.replace("one", "ONE")], False, f"{BRANCH}-2"),
        ([BRANCH.replace("one", "ONE")], True, f"{BRANCH}-2"),
        ([f"{BRANCH}/inner"], True, f"{BRANCH}-2"),
        (["agentpane"], True, "agentpane-one-abc123"),
        (["agentpane"], False, "agentpane-one-abc123"),
    ],
)
async def test_a_name_that_is_taken_is_told_without_asking_git(
    worktrees: Worktrees, repo: Repository, others: list[str], packed: bool, free: str
) -> None:
    ready, base = await made_ready(worktrees, repo)
    for other in others:
        git(repo.path, "branch", other)
    if packed:
        git(repo.path, "pack-refs", "--all")
    found = await new_branch(worktrees, repo)
    assert found.name == free
    if others[0].islower():  # a branch that came after the question; on this disk another case is another name
        assert await handed_over(worktrees, repo, ready, base) is None
    assert is_sealed(ready, base)
    card = await worktrees.ready.hand_over(repo, ready, base, card_path(repo), found)
    assert card is not None and git(repo.path, "rev-parse", free) == base
    git(repo.path, "for-each-ref", "--format=%(refname) %(objectname)")


async def test_gits_lock_on_a_branch_is_respected(worktrees: Worktrees, repo: Repository) -> None:
    ready, base = await made_ready(worktrees, repo)
    lock = repo.common_dir / "refs/heads" / f"{BRANCH}.lock"
    lock.parent.mkdir()
    lock.touch()
    assert await handed_over(worktrees, repo, ready, base) is None
    assert lock.exists() and is_sealed(ready, base)


@pytest.mark.parametrize(
    "setting", [("extensions.refstorage", "reftable"), ("core.sharedRepository", "group")], ids=lambda pair: pair[0]
)
async def test_where_refs_are_not_files_of_ours_alone_git_makes_the_worktree(
    worktrees: Worktrees, repo: Repository, setting: tuple[str, str]
) -> None:
    git(repo.path, "config", *setting)
    assert await worktrees.ready.free_branch(repo, BRANCH) is None


async def test_a_link_in_the_place_of_the_folder_of_branches_is_not_followed(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    ready, base = await made_ready(worktrees, repo)
    (tmp_path / "elsewhere").mkdir()
    (repo.common_dir / "refs/heads/agentpane").symlink_to(tmp_path / "elsewhere")
    assert await handed_over(worktrees, repo, ready, base) is None
    assert os.listdir(tmp_path / "elsewhere") == [] and is_sealed(ready, base)


@pytest.mark.parametrize("made", ["by git", "by another hand-over"])
async def test_a_branch_of_somebody_elses_outlives_the_hand_over_that_it_was_in_the_way_of(
    worktrees: Worktrees, repo: Repository, made: str
) -> None:
    ready, base = await made_ready(worktrees, repo)
    if made == "by git":
        git(repo.path, "branch", BRANCH, base)
    else:
        other, _ = await made_ready(worktrees, repo, "ready-2")
        elsewhere = card_path(repo).with_name("other")
        assert await worktrees.ready.hand_over(repo, other, base, elsewhere, NewBranch(BRANCH, BY)) is not None
        git(elsewhere, "checkout", "-q", "--detach")
    log = (repo.common_dir / "logs/refs/heads" / BRANCH).read_bytes()
    assert await handed_over(worktrees, repo, ready, base) is None
    card = Worktree(card_path(repo), ready.git_dir, BRANCH, ready.mark)
    assert await worktrees.ready.put_back(repo, card, base) == ready and is_sealed(ready, base)
    assert await worktrees.branch_tip(repo, BRANCH) == base
    assert (repo.common_dir / "logs/refs/heads" / BRANCH).read_bytes() == log


async def test_where_nothing_tells_who_made_a_branch_it_stays(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, base = await made_ready(worktrees, repo)

    def cut(*arguments: object) -> None:
        raise Cut

    silent = NewBranch(BRANCH, Signature(BY.by, logged=False))
    with monkeypatch.context() as patched:
        patched.setattr(pool_module.ref_files, "point_head", cut)
        with pytest.raises(Cut):
            await worktrees.ready.hand_over(repo, ready, base, card_path(repo), silent)
    card = Worktree(card_path(repo), ready.git_dir, BRANCH, ready.mark)
    assert await worktrees.ready.put_back(repo, card, base) == ready
    assert await worktrees.branch_tip(repo, BRANCH) == base
    assert (await new_branch(worktrees, repo)).name == f"{BRANCH}-2"
