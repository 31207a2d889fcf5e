"""Taking back what git wrote into a checkout of the person's before it gave up: no room, no permission, a ref's lock.

Git itself leaves such a checkout half changed. Only files that have changed since the move began, and that hold what
the move writes, are touched, each looked at in the moment before; whatever is the person's stays.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from agentpane.domain.diff import FileChange
from agentpane.domain.filemodes import LINK, PROGRAM, SUBMODULE
from agentpane.domain.gitpaths import shown_paths
from agentpane.errors import ErrorCode
from agentpane.worktrees.git.config import TRUE
from agentpane.worktrees.git.errors import cause_of
from agentpane.worktrees.git.files import open_regular
from agentpane.worktrees.git.runner import GitError, GitRunner, Place
from agentpane.worktrees.keeping.exact import AT_ONCE, sizes
from agentpane.worktrees.keeping.ground import Ground, Seen
from agentpane.worktrees.merging.attributes import NEW_SIDE, OLD_SIDE, sided
from agentpane.worktrees.merging.checkout import CutShort, GaveUp, place_of, switch
from agentpane.worktrees.merging.expected import Wanted, contents_of
from agentpane.worktrees.merging.laying import holding, look, put, take
from agentpane.worktrees.merging.obstacles import changes_between, refresh_laid, seen
from agentpane.worktrees.places import Checkout
from agentpane.worktrees.values import MergeIntent, MergeRefused, Repository


class _Left(Enum):
    """What became of a file."""

    AS_IT_WAS = 1
    FOREIGN = 2  # it holds what the move does not write
    UNWRITTEN = 3  # the disk would not let it


async def take_back(
    git: GitRunner, repo: Repository, checkout: Checkout, intent: MergeIntent, gave_up: GaveUp
) -> MergeRefused | CutShort:
    """Let the checkout be as it was before the move. CutShort where that cannot be done either."""
    place = place_of(repo, checkout.path, checkout.git_dir)
    if gave_up.index_moved:
        back = await switch(git, place, intent.new, intent.old)
        return CutShort() if back.exit_code != 0 else _refused(checkout, gave_up, ())
    changes = await changes_between(git, repo, intent.old, intent.new)
    links = (await git.configuration(place)).get("core.symlinks", "true").lower() in TRUE
    way = _Back(checkout.path, gave_up.before, links)
    written = await asyncio.to_thread(way.written, changes)
    try:
        async with sided(git, place, changes) as places:
            left = await _lay_back(git, place, places, way, written)
    except (GitError, OSError):  # it cannot be told what the files are to hold
        return CutShort()
    await refresh_laid(git, place, [path for path, how in left.items() if how is _Left.AS_IT_WAS])
    if _Left.UNWRITTEN in left.values():
        return CutShort()
    return _refused(checkout, gave_up, tuple(path for path, how in left.items() if how is _Left.FOREIGN))


async def _lay_back(
    git: GitRunner, place: Place, places: Mapping[str, Place], way: _Back, written: Sequence[FileChange]
) -> dict[str, _Left]:
    # What the move has added goes first: it takes room, and may lie where folders were.
    added, others = [each for each in written if each.status == "A"], [each for each in written if each.status != "A"]
    left: dict[str, _Left] = {}
    for some in (added, others):
        known = await sizes(git, place, {sha for each in some for sha in _blobs(each)})
        for batch in _batches(some, known):
            expected: dict[Wanted, bytes] = {}
            for seen_so, wanted in _by_place(places, batch).items():
                expected |= await contents_of(git, seen_so, wanted)
            left |= await asyncio.to_thread(way.take_back, batch, expected)
    return left


def _by_place(places: Mapping[str, Place], batch: Iterable[FileChange]) -> Mapping[Place, list[Wanted]]:
    found: dict[Place, list[Wanted]] = {place: [] for place in places.values()}
    for change in batch:
        for name, side in _sides(change).items():
            found[places[name]].append(side)
    return found


def _sides(change: FileChange) -> dict[str, Wanted]:
    """What the move writes at the path, and what was there."""
    new, old = (change.path, change.new_mode, change.new_sha), (change.path, change.old_mode, change.old_sha)
    return {name: side for name, side in ((NEW_SIDE, new), (OLD_SIDE, old)) if side[2].strip("0")}


def _blobs(change: FileChange) -> list[str]:
    return [sha for _path, _mode, sha in _sides(change).values()]


def _batches(changes: Iterable[FileChange], known: Mapping[str, int]) -> Iterator[list[FileChange]]:
    """As many at once as are held in memory together."""
    batch: list[FileChange] = []
    size = 0
    for change in changes:
        own = sum(known[sha] for sha in _blobs(change))
        if batch and size + own > AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += own
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class _Back:
    """The way back of one checkout. before: how its files lay. links: whether its disk has symbolic links. Blocks."""

    root: Path
    before: Mapping[str, Seen | None]
    links: bool

    def written(self, changes: Iterable[FileChange]) -> list[FileChange]:
        """The files that do not lie as they did."""
        changes = tuple(changes)
        now = seen(self.root, changes)
        return [
            each
            for each in changes
            if now[each.path] != self.before[each.path] and SUBMODULE not in (each.old_mode, each.new_mode)
        ]

    def take_back(self, batch: Iterable[FileChange], expected: Mapping[Wanted, bytes]) -> dict[str, _Left]:
        return {change.path: self._take_back(change, expected) for change in batch}

    def _take_back(self, change: FileChange, expected: Mapping[Wanted, bytes]) -> _Left:
        path, was, sides = change.path, self.before[change.path], _sides(change)
        looked = look(self.root, path)
        if not self._is_of_the_move(path, looked, expected.get(sides[NEW_SIDE]) if NEW_SIDE in sides else None):
            return _Left.FOREIGN
        is_file = was is not None and not stat.S_ISDIR(was[1])
        act = None
        if change.status == "A" and not is_file:
            act = partial(take, self.root, path, looked)
        elif change.status != "A" and is_file:
            content = expected.get(sides[OLD_SIDE])
            if content is None:
                return _Left.UNWRITTEN
            link = change.old_mode == LINK and self.links
            made = holding(content, link=link, executable=change.old_mode == PROGRAM)
            act = partial(put, self.root, path, looked, made)
        try:
            return _Left.AS_IT_WAS if act is None or act() else _Left.FOREIGN
        except OSError:
            return _Left.UNWRITTEN

    def _is_of_the_move(self, path: str, looked: Seen | None, expected: bytes | None) -> bool:
        """Whether git has left the file, the beginning of it, or its absence."""
        ground = Ground(self.root)
        if looked is None:
            return ground.barrier(path) is None and not ground.is_folder(path)
        return expected is not None and _is_beginning(self.root / path, expected)


def _is_beginning(file: Path, expected: bytes) -> bool:
    try:
        if file.is_symlink():
            return os.fsencode(os.readlink(file)) == expected
        with open_regular(file) as opened:
            return expected.startswith(opened.read(len(expected) + 1))
    except OSError:
        return False


def _refused(checkout: Checkout, gave_up: GaveUp, foreign: tuple[str, ...]) -> MergeRefused:
    cause = cause_of(gave_up.said.stderr)
    said = gave_up.said.stderr.decode("utf-8", "replace").strip()
    kept = (
        f"These changed meanwhile and were left as they are: {shown_paths(foreign)}."
        if foreign
        else "Nothing has been changed."
    )
    return MergeRefused(
        cause.code if cause else ErrorCode.MERGE_CHECKOUT_DIRTY,
        f"{cause.what if cause else 'Git gave up.'} The checkout {checkout.path} could not be moved: {said} "
        f"What git had written was taken back. {kept}",
        cause.hint if cause else "Look at what git says, then try again.",
        foreign,
    )
