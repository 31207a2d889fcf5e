"""Setting a worktree back to a commit's files, and laying a recovery snapshot out; its branch stays where it is.

What is not committed afterwards is what differs from the branch. Ignored files are not touched, unless one lies where
a file has to go: whoever keeps things first is told of those.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path, PurePosixPath

from agentpane.domain.diff import encode_path
from agentpane.worktrees import contents, exact
from agentpane.worktrees.git import LONG_TIMEOUT, GitRunner
from agentpane.worktrees.places import inside
from agentpane.worktrees.recovery import changes_of
from agentpane.worktrees.values import Repository, Worktree

Keep = Callable[[tuple[str, ...]], Awaitable[None]]


async def set_back(
    git: GitRunner, repo: Repository, worktree: Worktree, commit: str, stays: tuple[str, ...], keep: Keep
) -> int:
    """Make the worktree hold the files of `commit`, tracked and untracked; returns how many had to change.

    stays: files and folders that are left as they are, besides what git ignores and repositories inside.
    keep: called before anything changes, with the ignored files that will be lost; what it raises stops everything.
    Cut short it can be done once more. Raises WORKTREE_NOT_FOUND.
    """
    place = inside(repo, worktree)
    with git.scratch() as folder:
        index = folder / "index"
        await contents.start_index(git, place, index, commit)
        await contents.refresh(git, place, index)
        listing = (await contents.list_changes(git, place, index)).without(stays)
        known = await _known(git, repo, worktree, index)
        wanted = [path for path in (*listing.paths, *listing.special) if path in known]
        surplus = [path for path in listing.paths if path not in known]
        await keep(await asyncio.to_thread(_in_the_way, worktree.path, wanted))
        names = b"".join(encode_path(path) + b"\0" for path in wanted)
        if names:
            out = ("checkout-index", "--force", "--quiet", "-z", "--stdin")
            await git.run(place, *out, stdin=names, index=index, timeout=LONG_TIMEOUT)
        if surplus:  # what either the rules as they were or those of the commit ignore is not touched
            still = frozenset((await contents.list_changes(git, place, index)).paths)
            await asyncio.to_thread(exact.take_away, worktree.path, [path for path in surplus if path in still])
    return len(listing.paths)


async def lay_out_recovery(git: GitRunner, repo: Repository, worktree: Worktree, parent: str, commit: str) -> None:
    """Lay a recovery snapshot out over a fresh worktree that stands at its parent. Raises WORKTREE_NOT_FOUND."""
    place = inside(repo, worktree)
    changes = await changes_of(git, repo, parent, commit)
    await exact.lay_out(git, place, changes, await exact.modes_of(git, place, commit))


async def _known(git: GitRunner, repo: Repository, worktree: Worktree, index: Path) -> frozenset[str]:
    listed = await git.run(inside(repo, worktree), "ls-files", "-z", index=index)
    return frozenset(os.fsdecode(name) for name in listed.stdout.split(b"\0") if name)


def _in_the_way(root: Path, wanted: Iterable[str]) -> tuple[str, ...]:
    """Folders that lie where a file has to go, and files and links that lie where a folder has to."""
    found: set[str] = set()
    for path in wanted:
        if (root / path).is_dir() and not (root / path).is_symlink():
            found.add(path)
        for parent in PurePosixPath(path).parents[:-1]:
            whole = root / parent
            if os.path.lexists(whole) and (whole.is_symlink() or not whole.is_dir()):
                found.add(str(parent))
    return tuple(sorted(found))
