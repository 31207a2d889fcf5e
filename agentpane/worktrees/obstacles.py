"""What of the person's lies where moving their checkout would write: their edits, and files that git does not track."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from agentpane.domain.diff import FileChange, decode_path, parse_raw, split_z
from agentpane.worktrees.git import GitRunner, Place
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.values import Repository

_NAMES = ("--name-only", "-z", "--no-ext-diff", "--ignore-submodules=all")


async def changes_between(git: GitRunner, repo: Repository, old: str, new: str) -> tuple[FileChange, ...]:
    shape = ("-r", "--raw", "-z", "--no-abbrev", "--no-renames")
    return tuple(parse_raw((await git.run(objects_of(repo), "diff-tree", *shape, old, new)).stdout))


# Inode, time, size and mode: what changes with every write.
Seen = tuple[int, int, int, int]


def seen(root: Path, changes: Collection[FileChange]) -> Mapping[str, Seen | None]:
    """How the files of a move lie there; None where there is none."""
    return {change.path: _seen(root / change.path) for change in changes}


def _seen(file: Path) -> Seen | None:
    try:
        about = os.lstat(file)
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size, about.st_mode


async def in_the_way(git: GitRunner, repo: Repository, place: Place, old: str, new: str) -> tuple[str, ...]:
    """The files of a move from `old` to `new` that are edited or staged, or in whose place something else lies.

    The index must know the times of the files. One that the person deleted and the move deletes is not in the way.
    """
    changes = await changes_between(git, repo, old, new)
    unstaged, staged = await asyncio.gather(
        git.run(place, "diff-files", *_NAMES), git.run(place, "diff-index", "--cached", *_NAMES, "HEAD", "--")
    )
    edited = {decode_path(name) for output in (unstaged, staged) for name in split_z(output.stdout)}
    return await asyncio.to_thread(_blocked, place.work_tree, changes, edited)


def _blocked(root: Path | None, changes: Collection[FileChange], edited: Collection[str]) -> tuple[str, ...]:
    assert root is not None
    going = frozenset(change.path for change in changes if change.status == "D" and change.path not in edited)
    return tuple(
        change.path
        for change in changes
        if (change.path in edited and (change.status != "D" or os.path.lexists(root / change.path)))
        or (change.status == "A" and _blocks(root, change.path, going))
    )


def _blocks(root: Path, path: str, going: Collection[str]) -> bool:
    """Whether something of the person's lies where a new file would go, be it a file in the place of a folder.

    going: files that the same move takes away.
    """
    for parent in list(Path(path).parents)[-2::-1]:
        if os.path.lexists(root / parent) and (os.path.islink(root / parent) or not os.path.isdir(root / parent)):
            return str(parent) not in going
    if os.path.isdir(root / path) and not os.path.islink(root / path):
        inside = (Path(folder, name) for folder, _, names in os.walk(root / path) for name in names)
        return any(str(file.relative_to(root)) not in going for file in inside)
    return os.path.lexists(root / path)


async def deleted(
    git: GitRunner, place: Place, changes: Collection[FileChange], before: Mapping[str, Seen | None]
) -> tuple[str, ...]:
    """The files that the person has deleted, and that a move would bring back: git does not take that for an edit."""
    gone = {change.path for change in changes if change.status not in "AD" and before[change.path] is None}
    if not gone:
        return ()
    # Those that a sparse checkout leaves out are not among these.
    known = await git.run(place, "diff-files", "--diff-filter=D", *_NAMES)
    return tuple(sorted(gone & {decode_path(name) for name in split_z(known.stdout)}))
