"""Settling a merge that was cut short, from the intent that was written down before it began.

A checkout in which git was killed holds, for each file of the merge, the old content, the new one, or the
beginning of the new one; that is finished. Anything else is the person's, and they are asked.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from enum import Enum
from pathlib import Path

import psutil

from agentpane.domain.diff import FileChange, encode_path, parse_raw
from agentpane.worktrees.checkout import lock_of, place_of
from agentpane.worktrees.git import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.gitfiles import read_line
from agentpane.worktrees.places import head_branch, objects_of
from agentpane.worktrees.repository import branch_tip, is_ancestor
from agentpane.worktrees.values import MergeIntent, MergeRecovery, RecoveryOutcome, Repository

_CHUNK = 1024 * 1024
_LOCK_WAITS, _LOCK_WAIT = 50, 0.2


class _State(Enum):
    """What a file of the checkout holds."""

    OLD = 1
    NEW = 2  # or the beginning of it
    OTHER = 3


async def recover_merge(git: GitRunner, repo: Repository, intent: MergeIntent) -> MergeRecovery:
    """Finish or take back the merge of an intent whose outcome nobody wrote down."""
    tip = await branch_tip(git, repo, intent.target)
    if tip is not None and await _is_done(git, repo, intent, tip):
        return MergeRecovery(RecoveryOutcome.COMPLETED, "The merge had been completed.", intent.new)
    if tip is None or (tip != intent.old and not await is_ancestor(git, repo, intent.old, tip)):
        message = f"{intent.target} is neither what it was before the merge nor after it; it was left as it is."
        return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, message)
    lock = repo.common_dir / "refs" / "heads" / f"{intent.target}.lock"
    if lock.exists() and not await asyncio.to_thread(_take_ref_lock, lock, intent):
        return _locked(lock)
    if intent.checkout is None or intent.checkout_git_dir is None:
        return _nothing_done()
    return await _recover_checkout(git, repo, intent, tip, intent.checkout, intent.checkout_git_dir)


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


def _take_ref_lock(lock: Path, intent: MergeIntent) -> bool:
    """Remove a ref's lock if it is ours: nobody holds it open, and it holds the commit of the intent."""
    with suppress(OSError):
        if read_line(lock).strip() == intent.new and not _is_held(lock):
            lock.unlink()
            return True
    return not lock.exists()


async def _let_go(lock: Path) -> bool:
    """Wait while a living process holds the lock: the git of an engine that was killed may still be at work."""
    for _ in range(_LOCK_WAITS):
        if not lock.exists() or not await asyncio.to_thread(_is_held, lock):
            return True
        await asyncio.sleep(_LOCK_WAIT)
    return False


def _is_held(file: Path) -> bool:
    """Whether a living process of this person has the file open."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(opened.path == str(file) for opened in process.open_files()):
                return True
    return False


async def _recover_checkout(
    git: GitRunner, repo: Repository, intent: MergeIntent, tip: str, path: Path, git_dir: Path
) -> MergeRecovery:
    lock = lock_of(git_dir)
    # There was no lock before the intent, so one that nobody holds was left by the merge.
    if not await _let_go(lock):
        return _locked(lock)
    place = place_of(repo, path, git_dir)
    listed = await git.run(
        objects_of(repo), "diff-tree", "-r", "--raw", "-z", "--no-abbrev", "--no-renames", intent.old, intent.new
    )
    changes = [change for change in parse_raw(listed.stdout) if "160000" not in (change.old_mode, change.new_mode)]
    with git.scratch() as folder:
        states = await _states(git, place, intent, changes, folder)
        foreign = tuple(change.path for change in changes if states[change.path] is _State.OTHER)
        begun = lock.exists() or any(state is not _State.OLD for state in states.values())
        if not begun:
            return _nothing_done()
        if foreign or tip != intent.old or head_branch(git_dir) != intent.target:
            message = (
                f"The merge was cut short in {path}, and files were changed there since; they were left as they are."
            )
            return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, message, paths=foreign)
        lock.unlink(missing_ok=True)
        await _finish(git, place, intent, changes)
    return MergeRecovery(RecoveryOutcome.COMPLETED, "The merge had been cut short and was finished.", intent.new)


async def _finish(git: GitRunner, place: Place, intent: MergeIntent, changes: list[FileChange]) -> None:
    assert place.work_tree is not None
    await git.run(place, "read-tree", "-i", "-m", intent.old, intent.new)
    for change in changes:
        if change.status == "D":
            await asyncio.to_thread(_remove, place.work_tree, change.path)
    written = b"".join(encode_path(change.path) + b"\0" for change in changes if change.status != "D")
    if written:
        await git.run(place, "checkout-index", "-f", "-u", "-z", "--stdin", stdin=written, timeout=LONG_TIMEOUT)
    await git.run(
        place, "update-ref", "-m", "agentpane: finish merge", f"refs/heads/{intent.target}", intent.new, intent.old
    )


async def _states(
    git: GitRunner, place: Place, intent: MergeIntent, changes: list[FileChange], folder: Path
) -> dict[str, _State]:
    """What each file of the merge holds, compared with what git itself would write for the old and the new commit."""
    sides = (("old", intent.old, "A"), ("new", intent.new, "D"))
    for name, commit, absent in sides:
        index = folder / f"{name}.index"
        paths = b"".join(encode_path(change.path) + b"\0" for change in changes if change.status != absent)
        await git.run(place, "read-tree", commit, index=index)
        prefix = f"--prefix={folder / name}/"
        await git.run(place, "checkout-index", prefix, "-z", "--stdin", stdin=paths, index=index, timeout=LONG_TIMEOUT)
    assert place.work_tree is not None
    return await asyncio.to_thread(_compare_all, place.work_tree, folder, changes)


def _compare_all(root: Path, folder: Path, changes: list[FileChange]) -> dict[str, _State]:
    return {
        change.path: _compare(root, change.path, folder / "old" / change.path, folder / "new" / change.path)
        for change in changes
    }


def _compare(root: Path, path: str, old: Path, new: Path) -> _State:
    if any(os.path.islink(root / parent) for parent in Path(path).parents[:-1]):
        return _State.OTHER
    actual, before, after = (_kind(file) for file in (root / path, old, new))
    if actual == before and _same_beginning(root / path, old, whole=True):
        return _State.OLD
    if actual is None:  # git takes a file away before it writes it anew
        return _State.NEW
    if after is None or stat.S_IFMT(actual) != stat.S_IFMT(after):
        return _State.OTHER
    return _State.NEW if _same_beginning(root / path, new, whole=False) else _State.OTHER


def _kind(file: Path) -> int | None:
    """Type and executable bit; None when there is no file (a folder in its place is none)."""
    try:
        mode = os.lstat(file).st_mode
    except OSError:
        return None
    return None if stat.S_ISDIR(mode) else stat.S_IFMT(mode) | (mode & 0o100 if stat.S_ISREG(mode) else 0)


def _same_beginning(actual: Path, expected: Path, whole: bool) -> bool:
    """Whether the actual file is the expected one, or, unless `whole`, the beginning of it."""
    if not os.path.lexists(actual):
        return True
    if os.path.islink(actual):
        return os.path.islink(expected) and os.readlink(actual) == os.readlink(expected)
    if not stat.S_ISREG(os.lstat(actual).st_mode):
        return False
    with open(actual, "rb") as one, open(expected, "rb") as other:
        while chunk := one.read(_CHUNK):
            if other.read(len(chunk)) != chunk:
                return False
        return not whole or not other.read(1)


def _remove(root: Path, path: str) -> None:
    with suppress(OSError):
        (root / path).unlink()
        for parent in Path(path).parents[:-1]:
            (root / parent).rmdir()
