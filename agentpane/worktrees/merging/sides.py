"""What each file of a merge holds in a checkout of the person's, compared with what git writes for either side."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from agentpane.domain.diff import FileChange, encode_path
from agentpane.worktrees.git.files import open_regular
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.keeping.ground import Ground, Seen, ways_to
from agentpane.worktrees.merging.attributes import NEW_SIDE, OLD_SIDE, sided
from agentpane.worktrees.merging.laying import look
from agentpane.worktrees.merging.obstacles import listed
from agentpane.worktrees.values import MergeIntent

_CHUNK = 1024 * 1024


class State(Enum):
    """What a file of the checkout holds."""

    OLD = 1
    NEW = 2
    PART = 3  # the beginning of the new one, or nothing: git takes a file away before it writes it anew
    OTHER = 4
    LEFT_OUT = 5  # a sparse checkout does not have it


@dataclass(frozen=True, slots=True)
class Found:
    """looked: how the file lay there when it was compared."""

    state: State
    looked: Seen | None


async def compare(
    git: GitRunner, place: Place, intent: MergeIntent, changes: Sequence[FileChange], folder: Path
) -> dict[str, Found]:
    """What each file holds. `folder`, which is empty, holds both sides afterwards, in OLD_SIDE and NEW_SIDE."""
    assert place.work_tree is not None
    await _lay_both_sides(git, place, intent, changes, folder)
    found = await asyncio.to_thread(_compare_all, place.work_tree, folder, changes)
    absent = {path for path, each in found.items() if each == Found(State.PART, None)}
    left_out = absent & (await listed(git, place)).left_out if absent else ()
    return found | dict.fromkeys(left_out, Found(State.LEFT_OUT, None))


async def _lay_both_sides(
    git: GitRunner, place: Place, intent: MergeIntent, changes: Sequence[FileChange], folder: Path
) -> None:
    sides = ((OLD_SIDE, intent.old, "A"), (NEW_SIDE, intent.new, "D"))
    async with sided(git, place, changes) as places:
        for name, commit, absent in sides:
            index, seen_so = folder / f"{name}.index", places[name]
            paths = b"".join(encode_path(change.path) + b"\0" for change in changes if change.status != absent)
            await git.run(place, "read-tree", commit, index=index)
            shape = ("checkout-index", f"--prefix={folder / name}/", "-z", "--stdin")
            await git.run(seen_so, *shape, stdin=paths, index=index, timeout=LONG_TIMEOUT)


def _compare_all(root: Path, folder: Path, changes: Sequence[FileChange]) -> dict[str, Found]:
    merge = _Merge(Ground(root), root, frozenset(change.path for change in changes))
    found = {}
    for change in changes:
        path = change.path
        looked = look(root, path)  # before it is read: what is written while it is stands out later
        try:
            state = merge.compare(path, folder / OLD_SIDE / path, folder / NEW_SIDE / path)
        except OSError:  # it cannot be read, or has just gone
            state = State.OTHER
        found[path] = Found(state, looked)
    return found


@dataclass(frozen=True, slots=True)
class _Merge:
    """paths: the files of the merge."""

    ground: Ground
    root: Path
    paths: frozenset[str]

    def compare(self, path: str, old: Path, new: Path) -> State:
        if self._is_displaced(path):
            return State.OTHER
        there = self.ground.about(path)
        actual = None if there is None or stat.S_ISDIR(there.st_mode) else _kind(self.root / path)
        before, after = _kind(old), _kind(new)
        if actual is None:
            return State.OLD if before is None else State.PART
        if actual == before and _same_beginning(self.root / path, old, whole=True):
            return State.OLD
        if after is None or stat.S_IFMT(actual) != stat.S_IFMT(after):
            return State.OTHER
        if not _same_beginning(self.root / path, new, whole=False):
            return State.OTHER
        # An empty file may be one that git was about to fill; what it has made whole is not empty.
        size = os.lstat(self.root / path).st_size
        return State.NEW if size and size == os.lstat(new).st_size else State.PART

    def _is_displaced(self, path: str) -> bool:
        """Whether something lies there, or on the way there, that no side of the merge has in that place."""
        barrier = self.ground.barrier(path)
        if barrier is not None:
            return barrier not in self.paths  # else it is looked at by itself
        if not self.ground.is_folder(path):
            return False
        ways = ways_to(self.paths)
        return path not in ways or any(True for _ in self.ground.strangers(path, self.paths, ways))


def _kind(file: Path) -> int | None:
    """Type and executable bit; None when there is no file (a folder in its place is none)."""
    try:
        mode = os.lstat(file).st_mode
    except OSError:
        return None
    return None if stat.S_ISDIR(mode) else stat.S_IFMT(mode) | (mode & 0o100 if stat.S_ISREG(mode) else 0)


def _same_beginning(actual: Path, expected: Path, whole: bool) -> bool:
    """Whether the actual file is the expected one, or, unless `whole`, the beginning of it."""
    if os.path.islink(actual):
        return os.path.islink(expected) and os.readlink(actual) == os.readlink(expected)
    with open_regular(actual) as one, open(expected, "rb") as other:
        while chunk := one.read(_CHUNK):
            if other.read(len(chunk)) != chunk:
                return False
        return not whole or not other.read(1)
