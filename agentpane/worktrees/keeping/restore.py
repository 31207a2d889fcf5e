"""Setting a worktree back to a commit's files, or to the commit, and laying a recovery snapshot out.

Where its branch stays, what is not committed afterwards is what differs from the branch. Ignored files are not touched,
unless one lies where a file has to go: whoever keeps things first is told of those. What is written while things are
kept is kept once more.
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
from agentpane.worktrees.keeping import contents, exact
from agentpane.worktrees.keeping.ground import Ground, Seen
from agentpane.worktrees.keeping.recovery import changes_of
from agentpane.worktrees.keeping.standing import end_unfinished, move_refs, stand_on
from agentpane.worktrees.places import inside
from agentpane.worktrees.repository import branch_tip
from agentpane.worktrees.values import Repository, Worktree

Keep = Callable[[tuple[str, ...]], Awaitable[None]]
_TIMES = 3


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
        when something was written meanwhile; what it raises stops everything.
    branch: its branch, HEAD and index are set back to the commit as well; what `keep` keeps must have their commits.
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
        known = await _known(git, repo, worktree, index)
        wanted = [path for path in (*listing.paths, *listing.special) if path in known]
        surplus = [path for path in listing.paths if path not in known]
        await asyncio.to_thread(_check_mounts, worktree.path, (*wanted, *surplus))
        kept = await _keep(git, place, worktree.path, wanted, surplus, keep)
        if branch:
            await move_refs(git, place, [(f"refs/heads/{worktree.branch}", commit, tip or "")])
        names = b"".join(encode_path(path) + b"\0" for path in wanted)
        if names:
            out = ("checkout-index", "--force", "--quiet", "-z", "--stdin")
            await git.run(place, *out, stdin=names, index=index, timeout=LONG_TIMEOUT)
        if surplus:  # what either the rules as they were or those of the commit ignore is not touched
            still = frozenset((await contents.list_changes(git, place, index)).paths)
            going = [path for path in surplus if path in still]
            await asyncio.to_thread(_take_away, worktree.path, going, kept)
        if branch:
            await contents.refresh(git, place, index)
            await stand_on(git, place, worktree.branch, index)
            await end_unfinished(place)
    return len(listing.paths)


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


async def _known(git: GitRunner, repo: Repository, worktree: Worktree, index: Path) -> frozenset[str]:
    listed = await git.run(inside(repo, worktree), "ls-files", "-z", index=index)
    return frozenset(os.fsdecode(name) for name in listed.stdout.split(b"\0") if name)


async def _keep(
    git: GitRunner, place: Place, root: Path, wanted: Sequence[str], surplus: Sequence[str], keep: Keep
) -> Mapping[str, Seen | None]:
    """Have everything kept that will be lost, until it lies as it was kept. Returns how it lies."""
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
        "Files of the worktree were written again and again while they were being kept. Nothing was set back.",
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
