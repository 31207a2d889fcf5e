"""What of the person's lies where moving their checkout would write: their edits, and what git does not track.

Git looks by itself before it moves a checkout, and does not see all of it: repositories, pipes, sockets and empty
folders in a folder that becomes a file, links in a folder's place, files that it ignores or was told not to look at.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.diff import FileChange, decode_path, parse_raw, split_z
from agentpane.domain.filemodes import SUBMODULE
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.keeping.ground import Ground, Seen, ways_to
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.values import Repository

_NAMES = ("--name-only", "-z", "--no-ext-diff", "--ignore-submodules=all")


async def changes_between(git: GitRunner, repo: Repository, old: str, new: str) -> tuple[FileChange, ...]:
    shape = ("-r", "--raw", "-z", "--no-abbrev", "--no-renames")
    listed = await git.run(objects_of(repo), "diff-tree", *shape, old, new)
    return await asyncio.to_thread(parse_raw, listed.stdout)


def seen(root: Path, changes: Collection[FileChange]) -> Mapping[str, Seen | None]:
    """How the files of a move lie there; None where there is none. Of a folder in a file's place, only which it is."""
    ground = Ground(root)
    found = {change.path: ground.seen(change.path) for change in changes}
    return {path: (*how[:2], 0, 0, 0) if how and stat.S_ISDIR(how[1]) else how for path, how in found.items()}


def closed_folders(root: Path, changes: Collection[FileChange]) -> tuple[str, ...]:
    """The folders of a move that may not be written. Git passes over what it cannot delete there. Blocks."""
    ground, open_ = Ground(root), dict[str, bool]()
    for change in changes:
        folder = change.path.rpartition("/")[0]
        while folder and not ground.is_folder(folder):
            folder = folder.rpartition("/")[0]
        if folder not in open_:
            open_[folder] = os.access(root / folder, os.W_OK | os.X_OK)
    return tuple(sorted(folder or "." for folder, is_open in open_.items() if not is_open))


async def refresh(git: GitRunner, place: Place) -> bool:
    """Let the index know that what was only touched is no edit. Whether git was not killed over it."""
    done = await git.run(place, "update-index", "-q", "--refresh", ok=range(-64, 256), timeout=LONG_TIMEOUT)
    return done.exit_code >= 0


async def refresh_laid(git: GitRunner, place: Place, paths: Collection[str]) -> None:
    """Let the index know files that were just laid out for it, also where their size is another than it remembers.

    Git takes such a file for edited, and looks at its content only where the entry remembers nothing.
    """
    await refresh(git, place)
    anything = range(-64, 256)
    differing = await git.run(place, "diff-files", *_NAMES, ok=anything, timeout=LONG_TIMEOUT)
    unlike = await asyncio.to_thread(paths_in, differing.stdout) & {*paths}
    if unlike:
        held = await git.run(place, "ls-files", "--stage", "-z", ok=anything)
        again = await asyncio.to_thread(_entries_of, held.stdout, unlike)
        await git.run(place, "update-index", "-z", "--index-info", stdin=again, ok=anything)
        await refresh(git, place)


def _entries_of(output: bytes, paths: Collection[str]) -> bytes:
    """Of what `git ls-files --stage -z` prints, the entries of these paths, for `update-index --index-info`."""
    return b"".join(line + b"\0" for line in split_z(output) if decode_path(line.partition(b"\t")[2]) in paths)


async def in_the_way(git: GitRunner, repo: Repository, place: Place, old: str, new: str) -> tuple[str, ...]:
    """The files of a move from `old` to `new` that are edited or staged, and whatever else lies where it would write.

    The index must know the times of the files. One that the person deleted and the move deletes is not in the way.
    """
    changes = await changes_between(git, repo, old, new)
    unstaged, staged = await asyncio.gather(git.run(place, "diff-files", *_NAMES), _staged(git, place))
    edited = staged | await asyncio.to_thread(paths_in, unstaged.stdout)
    move = _Move(changes, edited, staged)
    assert place.work_tree is not None
    before = await asyncio.to_thread(seen, place.work_tree, changes)
    own = await asyncio.to_thread(move.own, before)
    lying = await asyncio.to_thread(move.obstacles, place.work_tree)
    return tuple(sorted(own | {*lying} | {*await _missing(git, place, changes, before)}))


async def unseen_by_git(
    git: GitRunner, place: Place, changes: Collection[FileChange], before: Mapping[str, Seen | None]
) -> bool:
    """Whether something lies in the way that git would not see, or would not mind."""
    assert place.work_tree is not None
    staged = await _staged(git, place) if any(change.status == "A" for change in changes) else frozenset[str]()
    move = _Move(changes, frozenset(), staged)
    if await asyncio.to_thread(move.obstacles, place.work_tree):
        return True
    return bool(await _missing(git, place, changes, before))


async def _staged(git: GitRunner, place: Place) -> frozenset[str]:
    listed = await git.run(place, "diff-index", "--cached", *_NAMES, "HEAD", "--")
    return await asyncio.to_thread(paths_in, listed.stdout)


def paths_in(output: bytes) -> frozenset[str]:
    """Read what git prints with `--name-only -z`."""
    return frozenset(decode_path(name) for name in split_z(output))


async def _missing(
    git: GitRunner, place: Place, changes: Collection[FileChange], before: Mapping[str, Seen | None]
) -> tuple[str, ...]:
    """The files that the person has deleted and a move would bring back: git does not take that for an edit.

    Of files in a folder in whose place a link or file lies, that one is named: git would put the folder there again.
    """
    gone = [
        change
        for change in changes
        if change.status != "A" and before[change.path] is None and change.old_mode != SUBMODULE
    ]
    assert place.work_tree is not None
    ground = Ground(place.work_tree)
    barriers = await asyncio.to_thread(lambda: {change.path: ground.barrier(change.path) for change in gone})
    named = {change.path: barriers[change.path] or change.path for change in gone if change.status != "D"}
    named |= {path: barrier for path, barrier in barriers.items() if barrier is not None}
    if not named:
        return ()
    laid_out = (await listed(git, place)).laid_out
    return tuple(sorted({named[path] for path in named.keys() & laid_out}))


@dataclass(frozen=True, slots=True)
class Listed:
    """The files of an index. left_out: those that a sparse checkout does not have."""

    laid_out: frozenset[str]
    left_out: frozenset[str]


async def listed(git: GitRunner, place: Place) -> Listed:
    known = await git.run(place, "ls-files", "-v", "-z")
    return await asyncio.to_thread(_listed, known.stdout)


def _listed(output: bytes) -> Listed:
    """Read what `git ls-files -v -z` prints; `S` marks what is left out."""
    sides: tuple[set[str], set[str]] = (set(), set())
    for line in split_z(output):
        sides[line[:1] in b"Ss"].add(decode_path(line[2:]))
    return Listed(*map(frozenset, sides))


@dataclass(frozen=True, slots=True)
class _Move:
    """edited: files that the move may not take away. staged: those that only the index may hold."""

    changes: Collection[FileChange]
    edited: Collection[str]
    staged: Collection[str]

    def own(self, before: Mapping[str, Seen | None]) -> set[str]:
        """The files of the move that are edited, aside from those that both the person and the move delete."""
        edited = (change for change in self.changes if change.path in self.edited)
        return {change.path for change in edited if change.status != "D" or before[change.path] is not None}

    def obstacles(self, root: Path) -> tuple[str, ...]:
        """What lies where a new file or folder would go, be it a file or link in the place of a folder. Blocks."""
        coming = [change for change in self.changes if change.status == "A" or _ends_submodule(change)]
        if not coming:
            return ()
        ground = Ground(root)
        leaving = [change.path for change in self.changes if change.status == "D"]
        going = frozenset(path for path in leaving if path not in self.edited)
        ways = ways_to(going)
        names = _Names.of(ground, going)
        found = {lying for change in coming for lying in _in_place_of(ground, change, going, ways, names)}
        return tuple(sorted(found | {*self._only_staged({change.path for change in coming})}))

    def _only_staged(self, coming: Set[str]) -> Iterator[str]:
        """What is staged where a new file makes a folder impossible, or the other way round: git lets go of it."""
        folders = ways_to(coming) if self.staged else frozenset[str]()
        leaving = {change.path for change in self.changes if change.status == "D"}
        for path in self.staged:
            if path not in leaving and (path in folders or not coming.isdisjoint(ways_to([path]))):
                yield path


def _ends_submodule(change: FileChange) -> bool:
    """Whether a file takes the place of a submodule, of whose folder git looks at the commit alone."""
    return change.old_mode == SUBMODULE and change.status not in "AD" and change.new_mode != SUBMODULE


@dataclass(frozen=True, slots=True)
class _Names:
    """Which file of those that go a name means, on a disk that takes capital letters for small ones."""

    ground: Ground
    folded: Mapping[str, list[str]]

    @classmethod
    def of(cls, ground: Ground, going: Collection[str]) -> _Names:
        folded: dict[str, list[str]] = {}
        for path in going:
            folded.setdefault(path.casefold(), []).append(path)
        return cls(ground, folded)

    def mean(self, path: str, about: os.stat_result) -> bool:
        """Whether what was found at `path` is a file that goes, by another spelling of its name."""
        if about.st_nlink != 1:
            return False
        others = (self.ground.about(other) for other in self.folded.get(path.casefold(), ()))
        return any(other is not None and os.path.samestat(about, other) for other in others)


def _in_place_of(
    ground: Ground, change: FileChange, going: Collection[str], ways: Collection[str], names: _Names
) -> Iterator[str]:
    barrier = ground.barrier(change.path)
    if barrier is not None:
        if barrier not in going:
            yield barrier
        return
    about = ground.about(change.path)
    if about is None:
        return
    if not stat.S_ISDIR(about.st_mode):
        if change.path not in going and not names.mean(change.path, about):
            yield change.path
        return
    if change.new_mode == SUBMODULE:
        return  # git leaves a folder that is there as it is
    if change.path in ways:
        yield from ground.strangers(change.path, going, ways)
    elif not _ends_submodule(change) or any(ground.strangers(change.path, going, ways)):
        yield change.path
