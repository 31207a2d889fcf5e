"""Setting a worktree back to a commit's files, or to the commit, and laying a recovery snapshot out.

Where its branch stays, what is not committed afterwards is what differs from the branch. Ignored files are not touched,
unless one lies where a file has to go: whoever keeps things first is told of those. What is written while things are
kept, or while other files are laid out, is kept once more.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from agentpane.domain.diff import decode_path, encode_path, split_z
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.mounts import mounted_in
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.keeping import contents, exact, own_index
from agentpane.worktrees.keeping.ground import Ground, Seen
from agentpane.worktrees.keeping.recovery import changes_of
from agentpane.worktrees.keeping.standing import end_unfinished, move_refs, stand_on
from agentpane.worktrees.places import inside
from agentpane.worktrees.repository import branch_tip
from agentpane.worktrees.values import Repository, Worktree

Keep = Callable[[tuple[str, ...]], Awaitable[None]]
_TIMES = 3
_AT_ONCE = 16  # files between two looks at what is about to be replaced
_CALLS = 200  # of git at most, unless there are few files in each
_NOTHING_YET = "Nothing was set back."
_IN_PART = "The worktree is set back in part, and what it held is in the recovery bin."


async def set_back(
    git: GitRunner,
    repo: Repository,
    worktree: Worktree,
    commit: str,
    stays: tuple[str, ...],
    keep: Keep,
    branch: bool = False,
) -> int:
    """Make the worktree hold the files of `commit`, tracked and untracked; returns how many had to change.

    stays: files and folders that are left as they are, besides what git ignores and repositories inside.
    keep: called before anything changes, with what will be lost and is not in HEAD, ignored or not; once more
        whenever something was written meanwhile; what it raises stops everything.
    branch: its branch, HEAD and index are set back to the commit as well; what `keep` keeps must have their commits.
    What git itself has left out stays so where the worktree's index has it as the commit does; else it is laid out.
    Cut short it can be done once more. Raises WORKTREE_NOT_FOUND, and RESOURCE_LOCKED where something keeps writing
    or is mounted.
    """
    place = inside(repo, worktree)
    tip = await branch_tip(git, repo, worktree.branch)
    async with git.scratch() as folder:
        index = folder / "index"
        await contents.start_index(git, place, index, commit)
        await contents.refresh(git, place, index)
        listing = (await contents.list_changes(git, place, index)).without(stays)
        known = await _known(git, place, index)
        wanted = [path for path in (*listing.paths, *listing.special, *listing.staged) if path in known]
        surplus = [path for path in listing.paths if path not in known]
        await asyncio.to_thread(_check_mounts, worktree.path, (*wanted, *surplus))
        kept = await _keep(git, place, wanted, surplus, keep, _NOTHING_YET)
        if branch:
            await move_refs(git, place, [(f"refs/heads/{worktree.branch}", commit, tip or "")])
        kept = await _lay_out(git, place, index, wanted, surplus, kept, keep)
        if surplus:  # what either the rules as they were or those of the commit ignore is not touched
            still = frozenset((await contents.list_changes(git, place, index)).paths)
            going = [path for path in surplus if path in still]
            await asyncio.to_thread(_take_away, worktree.path, going, kept)
        if branch:
            await contents.refresh(git, place, index)
            await own_index.mark_left_out(git, place, index, listing.left_out)
            await stand_on(git, place, worktree.branch, index)
            await end_unfinished(place)
    return len(listing.paths) + len(listing.staged)


async def _lay_out(
    git: GitRunner,
    place: Place,
    index: Path,
    wanted: Sequence[str],
    surplus: Sequence[str],
    kept: Mapping[str, Seen | None],
    keep: Keep,
) -> Mapping[str, Seen | None]:
    """Give the wanted files the content that `index` has, a few at a time, each only while it lies as it was kept.

    Returns how everything lies that was kept.
    """
    assert place.work_tree is not None
    at_once = max(_AT_ONCE, len(wanted) // _CALLS)
    for start in range(0, len(wanted), at_once):
        batch = wanted[start : start + at_once]
        if not await asyncio.to_thread(_lies_as_kept, place.work_tree, batch, kept):
            kept = await _keep(git, place, wanted[start:], surplus, keep, _IN_PART)
        names = b"".join(encode_path(path) + b"\0" for path in batch)
        out = ("checkout-index", "--force", "--quiet", "-z", "--stdin")
        await git.run(place, *out, stdin=names, index=index, timeout=LONG_TIMEOUT)
    return kept


def _check_mounts(root: Path, paths: Collection[str]) -> None:
    """What is mounted below would be deleted with the folder that is in a file's way. Raises RESOURCE_LOCKED."""
    for place in mounted_in(root):
        for path in paths:
            whole = root / path
            if place.is_relative_to(whole) or whole.is_relative_to(place):
                raise AgentPaneError(
                    ErrorCode.RESOURCE_LOCKED,
                    f"Something is mounted at {place}, where files would have to change. Nothing was set back.",
                    f"Unmount it first: umount {shlex.quote(str(place))}",
                    {"path": str(place)},
                )


async def lay_out_recovery(git: GitRunner, repo: Repository, worktree: Worktree, parent: str, commit: str) -> None:
    """Lay a recovery snapshot out over a fresh worktree that stands at its parent. Raises WORKTREE_NOT_FOUND."""
    place = inside(repo, worktree)
    changes = await changes_of(git, repo, parent, commit)
    await exact.lay_out(git, place, changes, await exact.modes_of(git, place, commit))


async def _known(git: GitRunner, place: Place, index: Path) -> frozenset[str]:
    listed = await git.run(place, "ls-files", "-z", index=index)
    return frozenset(os.fsdecode(name) for name in listed.stdout.split(b"\0") if name)


async def _keep(
    git: GitRunner, place: Place, wanted: Sequence[str], surplus: Sequence[str], keep: Keep, so_far: str
) -> Mapping[str, Seen | None]:
    """Have everything kept that will be lost, until it lies as it was kept. Returns how it lies.

    so_far: what to say of the worktree where that has no end.
    """
    root = place.work_tree
    assert root is not None
    committed: frozenset[str] = frozenset()
    if await asyncio.to_thread(lambda: any(map(Ground(root).seen, wanted))):
        shape = ("ls-tree", "-r", "-z", "--full-tree", "--name-only", "HEAD")
        listed = await git.run(place, *shape, ok=(0, 128))  # HEAD is no commit on a branch that has none
        committed = frozenset(decode_path(name) for name in split_z(listed.stdout))
    for _ in range(_TIMES):
        lost, before = await asyncio.to_thread(_going, root, wanted, surplus, committed)
        await keep(lost)
        if (await asyncio.to_thread(_going, root, wanted, surplus, committed)) == (lost, before):
            return before
    raise AgentPaneError(
        ErrorCode.RESOURCE_LOCKED,
        f"Files of the worktree were written again and again while they were being kept. {so_far}",
        "End what writes there, such as an editor or a server, and try again.",
        {"path": str(root)},
    )


def _going(
    root: Path, wanted: Sequence[str], surplus: Sequence[str], committed: Collection[str]
) -> tuple[tuple[str, ...], Mapping[str, Seen | None]]:
    """What will be replaced and is not in HEAD, and how everything lies there that will be lost."""
    ground = Ground(root)
    blocking = _in_the_way(root, wanted)
    unlisted = [path for path in wanted if path not in committed and ground.seen(path) is not None]
    found = {path: ground.seen(path) for path in (*wanted, *surplus, *blocking)}
    for path in blocking:
        for folder, _, names in os.walk(root / path):
            inner = [os.path.relpath(os.path.join(folder, name), root) for name in names]
            found.update((name, ground.seen(name)) for name in inner)
    return tuple(sorted({*blocking, *unlisted})), found


def _lies_as_kept(root: Path, paths: Sequence[str], kept: Mapping[str, Seen | None]) -> bool:
    """Whether all that will be replaced for these files was kept, and as it lies."""
    _, found = _going(root, paths, (), ())
    return all(path in kept and kept[path] == seen for path, seen in found.items())


def _take_away(root: Path, paths: Iterable[str], kept: Mapping[str, Seen | None]) -> None:
    """Delete those of these files that lie as they were kept."""
    for path in paths:
        if Ground(root).seen(path) == kept[path]:
            exact.take_away(root, [path])


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
