"""Settling a merge that was cut short, from the intent that was written down before it began.

A checkout in which git was killed holds, for each file of the merge, the old content, the new one, or the
beginning of the new one; that is finished, or taken back where the merge is not wanted any more. Anything else is the
person's, and they are asked. So they are where nothing shows that git has begun, and a file is shorter or gone.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from agentpane.domain.diff import FileChange, decode_path, encode_path, split_z
from agentpane.domain.filemodes import SUBMODULE
from agentpane.domain.gitpaths import shown_paths
from agentpane.worktrees.git.config import ONE_WORKER
from agentpane.worktrees.git.files import read_small
from agentpane.worktrees.git.notes import Note, explained
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.keeping.exact import take_away
from agentpane.worktrees.keeping.ground import Ground, ways_to
from agentpane.worktrees.merging.checkout import lock_of, place_of
from agentpane.worktrees.merging.obstacles import changes_between
from agentpane.worktrees.places import head_branch
from agentpane.worktrees.refs.processes import may_be_held
from agentpane.worktrees.repository import branch_tip, is_ancestor
from agentpane.worktrees.values import MergeIntent, MergeRecovery, RecoveryOutcome, Repository

_CHUNK = 1024 * 1024
_LOCK_WAITS, _LOCK_WAIT = 50, 0.2


class _State(Enum):
    """What a file of the checkout holds."""

    OLD = 1
    NEW = 2
    PART = 3  # the beginning of the new one, or nothing: git takes a file away before it writes it anew
    OTHER = 4


async def recover_merge(
    git: GitRunner, repo: Repository, intent: MergeIntent, *, wanted: bool = True, looked: bool = False
) -> MergeRecovery:
    """Finish or take back the merge of an intent whose outcome nobody wrote down.

    wanted: finish it; else the checkout goes back to what it was. One that git has done stays done in either case.
    looked: the person has seen the checkout; where nothing shows that git has begun, it has not.
    """
    tip = await branch_tip(git, repo, intent.target)
    if intent.old == intent.new:  # nothing was to move
        if tip == intent.new:
            return MergeRecovery(RecoveryOutcome.COMPLETED, "The branch was not to be moved.", intent.new)
        return MergeRecovery(RecoveryOutcome.ROLLED_BACK, "The branch was moved by somebody else; nothing was changed.")
    done = tip is not None and await _is_done(git, repo, intent, tip)
    held = await _take_ref_locks(git, repo, intent, wait=not done)
    if done:
        return MergeRecovery(RecoveryOutcome.COMPLETED, "The merge had been completed.", intent.new)
    if tip is None or (tip != intent.old and not await is_ancestor(git, repo, intent.old, tip)):
        message = f"{intent.target} is neither what it was before the merge nor after it; it was left as it is."
        outcome = RecoveryOutcome.ROLLED_BACK if looked else RecoveryOutcome.NEEDS_PERSON
        return MergeRecovery(outcome, message)
    if tip != intent.old and not intent.back and await is_ancestor(git, repo, intent.reviewed, tip):
        return MergeRecovery(RecoveryOutcome.ROLLED_BACK, "The reviewed commit was merged by another merge.")
    if held is not None:
        return _locked(held)
    if intent.checkout is None or intent.checkout_git_dir is None:
        return _nothing_done()
    # There was no lock before the intent, so one that nobody can hold was left by the merge.
    lock = lock_of(intent.checkout_git_dir)
    if not await _let_go(repo, lock):
        return _locked(lock)
    place = place_of(repo, intent.checkout, intent.checkout_git_dir)
    begun = await _look(git, repo, place, intent)
    if not begun.surely and (looked or not begun.part):
        return _nothing_done()
    elsewhere = tip != intent.old or head_branch(place.git_dir) != intent.target
    if not begun.surely or elsewhere:
        message = (
            f"The merge was cut short in {place.work_tree}, and files were changed there since; "
            "they were left as they are."
        )
        return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, message, paths=begun.foreign or begun.part)
    lock.unlink(missing_ok=True)
    if begun.foreign or not wanted:
        back = await _changes(git, repo, intent.new, intent.old)
        clear = [each for each in back if not any(_collide(each.path, path) for path in begun.foreign)]
        await _lay(git, place, intent.new, intent.old, clear)
        message = "The merge had been cut short and was taken back."
        if begun.foreign:
            message += f" What was changed since was left as it is: {shown_paths(begun.foreign)}."
        return MergeRecovery(RecoveryOutcome.ROLLED_BACK, message, paths=begun.foreign)
    await _lay(git, place, intent.old, intent.new, await _changes(git, repo, intent.old, intent.new))
    message = "agentpane: finish merge"
    await git.run(place, "update-ref", "-m", message, f"refs/heads/{intent.target}", intent.new, intent.old)
    return MergeRecovery(RecoveryOutcome.COMPLETED, "The merge had been cut short and was finished.", intent.new)


def _collide(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other as in a folder."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


async def _is_done(git: GitRunner, repo: Repository, intent: MergeIntent, tip: str) -> bool:
    if tip == intent.new:
        return True
    # Taken back, the old commit has gone from the branch; what has gone on from the new one holds it otherwise.
    if intent.back and await is_ancestor(git, repo, intent.old, tip):
        return False
    return await is_ancestor(git, repo, intent.new, tip)


def _nothing_done() -> MergeRecovery:
    return MergeRecovery(RecoveryOutcome.ROLLED_BACK, "The merge had not begun; nothing was changed.")


def _locked(lock: Path) -> MergeRecovery:
    message = f"{lock} is held by another program, or was left by one; the merge was left as it is."
    return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, message, paths=(str(lock),))


async def _take_ref_locks(git: GitRunner, repo: Repository, intent: MergeIntent, wait: bool) -> Path | None:
    """Remove the locks on the target and on its checkout's HEAD that the merge has left; returns one that stays.

    wait: until nobody may hold them; else one that somebody may hold stays.

    It has left what nobody may hold, and holds the commit that it wrote there, or nothing yet where a git of an engine
    that is gone was at work.
    """
    locks = [(repo.common_dir / "refs" / "heads" / f"{intent.target}.lock", repo.common_dir, intent.new)]
    if (git_dir := intent.checkout_git_dir) is not None:
        locks += [(git_dir / "HEAD.lock", git_dir, intent.new), (git_dir / "ORIG_HEAD.lock", git_dir, intent.old)]
    there = [each for each in locks if os.path.lexists(each[0])]
    if not there:
        return None
    left = await asyncio.to_thread(git.notes.left)
    stay = []
    for lock, at_work, written in there:
        free = await _let_go(repo, lock, _LOCK_WAITS if wait else 1)
        if not free or not await asyncio.to_thread(_take, lock, at_work, written, left):
            stay.append(lock)
    return next(iter(stay), None)


def _take(lock: Path, git_dir: Path, written: str, left: Collection[Note]) -> bool:
    content = read_small(lock)
    says_so = content is not None and content.strip() == written.encode()
    if says_so or (content == b"" and explained(left, lock, git_dir)):
        with suppress(OSError):
            lock.unlink(missing_ok=True)
    return not os.path.lexists(lock)


async def _let_go(repo: Repository, lock: Path, looks: int = _LOCK_WAITS) -> bool:
    """Wait while a living process may hold the lock: the git of an engine that was killed may still be at work."""
    for _ in range(looks):
        if not lock.exists() or not await asyncio.to_thread(may_be_held, repo, (lock,)):
            return True
        await asyncio.sleep(_LOCK_WAIT)
    return False


@dataclass(frozen=True, slots=True)
class _Begun:
    """surely: git has begun. foreign: files that hold neither side. part: files that may hold a part of the new one."""

    surely: bool
    foreign: tuple[str, ...]
    part: tuple[str, ...]


async def _look(git: GitRunner, repo: Repository, place: Place, intent: MergeIntent) -> _Begun:
    """How far the merge came in its checkout."""
    changes = await _changes(git, repo, intent.old, intent.new)
    found_head = await git.run(place, "rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1))
    head = found_head.line if found_head.exit_code == 0 else intent.old
    if head != intent.old:  # what has been committed there since is not half done
        unlike = {change.path for change in await changes_between(git, repo, head, intent.new)}
        changes = [change for change in changes if change.path in unlike]
    states = await _states(git, place, intent, changes)
    found = {
        kind: tuple(change.path for change in changes if states[change.path] is kind)
        for kind in (_State.NEW, _State.OTHER, _State.PART)
    }
    surely = lock_of(place.git_dir).exists() or bool(found[_State.NEW])
    surely = surely or (head == intent.old and await _holds(git, place, intent.new, changes))
    if not surely and head == intent.old and tuple(found[_State.PART]):  # it has only taken files away by then
        left = await asyncio.to_thread(git.notes.left)
        surely = any(note.changed_files(place.git_dir, intent.began_s) for note in left)
    return _Begun(surely, found[_State.OTHER], found[_State.PART])


async def _holds(git: GitRunner, place: Place, commit: str, changes: list[FileChange]) -> bool:
    """Whether the index holds these files as a commit has them; git writes it whole, or not at all."""
    names = ("--name-only", "-z", "--no-ext-diff", "--no-renames", "--ignore-submodules=all")
    unlike = await git.run(place, "diff-index", "--cached", *names, commit, "--")
    return not {decode_path(name) for name in split_z(unlike.stdout)} & {change.path for change in changes}


async def _changes(git: GitRunner, repo: Repository, before: str, after: str) -> list[FileChange]:
    found = await changes_between(git, repo, before, after)
    return [change for change in found if SUBMODULE not in (change.old_mode, change.new_mode)]


async def _lay(git: GitRunner, place: Place, before: str, after: str, changes: list[FileChange]) -> None:
    assert place.work_tree is not None
    if not await _holds(git, place, after, changes):
        await git.run(place, "read-tree", "-i", "-m", before, after)
    away = [change.path for change in changes if change.status == "D"]
    await asyncio.to_thread(_take_away, place.work_tree, away)
    written = b"".join(encode_path(change.path) + b"\0" for change in changes if change.status != "D")
    if written:
        how = ("checkout-index", "-f", "-u", "-z", "--stdin")
        await git.run(place, *how, stdin=written, config=ONE_WORKER, timeout=LONG_TIMEOUT)


async def _states(git: GitRunner, place: Place, intent: MergeIntent, changes: list[FileChange]) -> dict[str, _State]:
    """What each file of the merge holds, compared with what git itself would write for the old and the new commit."""
    assert place.work_tree is not None
    async with git.scratch() as folder:
        await _lay_both_sides(git, place, intent, changes, folder)
        return await asyncio.to_thread(_compare_all, place.work_tree, folder, changes)


async def _lay_both_sides(
    git: GitRunner, place: Place, intent: MergeIntent, changes: list[FileChange], folder: Path
) -> None:
    sides = (("old", intent.old, "A"), ("new", intent.new, "D"))
    for name, commit, absent in sides:
        index = folder / f"{name}.index"
        paths = b"".join(encode_path(change.path) + b"\0" for change in changes if change.status != absent)
        await git.run(place, "read-tree", commit, index=index)
        prefix = f"--prefix={folder / name}/"
        await git.run(place, "checkout-index", prefix, "-z", "--stdin", stdin=paths, index=index, timeout=LONG_TIMEOUT)


def _compare_all(root: Path, folder: Path, changes: list[FileChange]) -> dict[str, _State]:
    merge = _Merge(Ground(root), root, frozenset(change.path for change in changes))
    return {
        change.path: merge.compare(change.path, folder / "old" / change.path, folder / "new" / change.path)
        for change in changes
    }


@dataclass(frozen=True, slots=True)
class _Merge:
    """paths: the files of the merge."""

    ground: Ground
    root: Path
    paths: frozenset[str]

    def compare(self, path: str, old: Path, new: Path) -> _State:
        if self._is_displaced(path):
            return _State.OTHER
        there = self.ground.about(path)
        actual = None if there is None or stat.S_ISDIR(there.st_mode) else _kind(self.root / path)
        before, after = _kind(old), _kind(new)
        if actual is None:
            return _State.OLD if before is None else _State.PART
        if actual == before and _same_beginning(self.root / path, old, whole=True):
            return _State.OLD
        if after is None or stat.S_IFMT(actual) != stat.S_IFMT(after):
            return _State.OTHER
        if not _same_beginning(self.root / path, new, whole=False):
            return _State.OTHER
        # An empty file may be one that git was about to fill; what it has made whole is not empty.
        size = os.lstat(self.root / path).st_size
        return _State.NEW if size and size == os.lstat(new).st_size else _State.PART

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
    if not stat.S_ISREG(os.lstat(actual).st_mode):
        return False
    with open(actual, "rb") as one, open(expected, "rb") as other:
        while chunk := one.read(_CHUNK):
            if other.read(len(chunk)) != chunk:
                return False
        return not whole or not other.read(1)


def _take_away(root: Path, paths: list[str]) -> None:
    for path in paths:
        with suppress(OSError):
            take_away(root, (path,))
