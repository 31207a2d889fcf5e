"""What a turn left in its worktree, as a commit outside of any branch.

The index from which it is made stays between the turns, so that a turn costs what it changed, and few calls of git
where it changed nothing. It is the engine's own: nothing of the worktree's git folder is written.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from agentpane.domain.diff import DiffStat
from agentpane.worktrees.git.config import SIGNED
from agentpane.worktrees.git.runner import GitError, GitRunner, Place
from agentpane.worktrees.keeping import contents
from agentpane.worktrees.places import inside, objects_of
from agentpane.worktrees.snapshots.diffs import diff_stat
from agentpane.worktrees.snapshots.snapshot import LARGEST_FILE
from agentpane.worktrees.values import Repository, TurnTaken, TurnTree, Worktree


def turn_ref(run_id: str, turn: int) -> str:
    return f"refs/agentpane/turn/{run_id}/{turn}"


async def turn_tree(
    git: GitRunner, repo: Repository, worktree: Worktree, base: str, excluded: tuple[str, ...] = ()
) -> TurnTree:
    """The tree of what the worktree holds. One call at a time for a worktree.

    base: the commit that the work is done on.
    excluded: files and folders that are never in it. Files over 50 MB and repositories inside are left out too.
    Raises WORKTREE_NOT_FOUND.
    """
    place = inside(repo, worktree)
    index = await asyncio.to_thread(_index_of, git.private, worktree)
    try:
        return await _gathered(git, place, index, base, excluded)
    except GitError:  # an index that a git which was ended has left in pieces
        _forget(index)
        return await _gathered(git, place, index, base, excluded)


def _index_of(private: Path, worktree: Worktree) -> Path:
    """Where a worktree's index is; that of one which had the same name in git and is gone does not stay."""
    name = f"turns-{hashlib.sha256(os.fsencode(worktree.git_dir)).hexdigest()[:24]}-"
    index = private / f"{name}{hashlib.sha256(worktree.mark.encode()).hexdigest()[:24]}"
    if not index.exists():
        for old in private.glob(f"{name}*"):
            _forget(old)
    return index


async def keep_turn(git: GitRunner, repo: Repository, base: str, before: str, tree: str, ref: str) -> TurnTaken:
    """Keep a tree under `ref`, as a commit on `base`; what was kept there before is let go of.

    before: the tree that the turn began with.
    """
    objects = objects_of(repo)
    message = b"What a turn left\n"
    commit = (await git.run(objects, "commit-tree", tree, "-p", base, stdin=message, config=SIGNED)).line
    await git.run(objects, "update-ref", ref, commit)
    return TurnTaken(commit, await _stat(git, repo, before, tree))


async def _stat(git: GitRunner, repo: Repository, before: str, tree: str) -> DiffStat:
    try:
        return await diff_stat(git, repo, before, tree)
    except GitError:  # the tree before has no ref and was collected: how much changed is not known
        return DiffStat(0, 0, 0)


async def _gathered(git: GitRunner, place: Place, index: Path, base: str, excluded: Iterable[str]) -> TurnTree:
    assert place.work_tree is not None
    if index.exists():
        staged = await _staged_since(git, place, index)
    else:
        staged = await contents.start_index(git, place, index, base)
    listing = (await contents.list_changes(git, place, index, staged)).without(excluded)
    large = await asyncio.to_thread(contents.too_large, place.work_tree, listing.paths, LARGEST_FILE)
    left_out = frozenset(large)
    await contents.add(git, place, index, [path for path in listing.paths if path not in left_out], listing.staged)
    return TurnTree(await contents.write_tree(git, place, index), (*large, *listing.nested))


async def _staged_since(git: GitRunner, place: Place, index: Path) -> tuple[str, ...]:
    """What is in the worktree's own index and not in ours: git ignores none of it, whatever the rules say."""
    known = await contents.write_tree(git, place, index)
    with suppress(GitError):
        return await contents.staged_beyond(git, place, known)
    return ()


def _forget(index: Path) -> None:
    for file in (index, index.with_name(f"{index.name}.lock")):
        with suppress(OSError):
            file.unlink()
