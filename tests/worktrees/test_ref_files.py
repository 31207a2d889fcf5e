"""Branches are made and deleted in the files of refs as git does it, beside git that does the same."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Repository, Worktrees
from agentpane.worktrees.refs import ref_files
from agentpane.worktrees.refs.ref_files import RefTakenError, Signature
from tests.worktrees.conftest import Bench, git

ADA = Signature("Ada <ada@example.org>", logged=True)
BRANCH = "agentpane/x-1"


@pytest.mark.parametrize("packed", [False, True])
async def test_a_branch_goes_with_its_log_and_its_empty_folder(bench: Bench, packed: bool) -> None:
    log = bench.repo.common_dir / "logs/refs/heads" / bench.made.branch
    assert log.exists()
    if packed:
        git(bench.repo.path, "pack-refs", "--all")
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    assert git(bench.repo.path, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not log.exists() and "agentpane" not in os.listdir(bench.repo.common_dir / "refs/heads")
    assert not (bench.repo.common_dir / "packed-refs.lock").exists()


async def test_a_branch_that_has_moved_on_is_not_deleted(repo: Repository) -> None:
    base = git(repo.path, "rev-parse", "HEAD")
    git(repo.path, "branch", BRANCH)
    assert not ref_files.delete_branch(repo, BRANCH, "1" * 40)
    assert git(repo.path, "rev-parse", BRANCH) == base
    assert ref_files.delete_branch(repo, BRANCH, base)
    assert not ref_files.delete_branch(repo, BRANCH, base)


async def test_a_stale_lock_of_gits_keeps_the_branch_and_is_told(bench: Bench) -> None:
    lock = bench.repo.common_dir / "packed-refs.lock"
    lock.touch()
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED and "packed-refs.lock" in str(caught.value.details)
    assert await bench.worktrees.branch_tip(bench.repo, bench.made.branch) == bench.base and lock.exists()


async def test_no_branch_is_lost_or_comes_back_while_git_packs_refs(worktrees: Worktrees, repo: Repository) -> None:
    base = git(repo.path, "rev-parse", "HEAD")
    stays, goes = [f"agentpane/stays-{number}" for number in range(40)], [f"agentpane/goes-{n}" for n in range(40)]

    def write() -> None:
        for one, other in zip(stays, goes, strict=True):
            ref_files.make_branch(repo, one, base, ADA, "made")
            ref_files.make_branch(repo, other, base, ADA, "made")
            while not ref_files.delete_branch(repo, other, base):  # git holds a lock, or has packed it
                subprocess.run(["git", "update-ref", "-d", f"refs/heads/{other}", base], cwd=repo.path, check=False)
                if not git(repo.path, "branch", "--list", other):
                    break

    writing = asyncio.ensure_future(asyncio.to_thread(write))
    while not writing.done():
        await asyncio.to_thread(git, repo.path, "pack-refs", "--all", check=False)
    await writing
    assert git(repo.path, "for-each-ref", "--format=%(refname:short)", "refs/heads/agentpane").split() == sorted(stays)
    with pytest.raises(RefTakenError):
        ref_files.make_branch(repo, stays[0], base, ADA, "made")
    git(repo.path, "fsck")
