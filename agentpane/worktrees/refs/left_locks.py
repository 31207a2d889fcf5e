"""Locks that an engine which is gone has left: which they are, and removing exactly those.

That no program may hold one is asked apart (`processes`). Its program may be one that cannot be seen from here, so a
lock that is younger than a minute must be proved to be ours.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import psutil

from agentpane.worktrees.git.notes import Note, explained
from agentpane.worktrees.refs import ref_files
from agentpane.worktrees.values import Repository

OLD_S = 60.0
Seen = tuple[int, int]  # the file's number, and when it was written


def seen(lock: Path) -> Seen | None:
    """What tells a lock from another at the same place; None when there is none."""
    try:
        about = lock.lstat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns


def of_last_engine(
    locks: Iterable[Path], shared: Iterable[Path], repo: Repository, left: Collection[Note]
) -> dict[Path, Seen]:
    """Those of an engine before this one, which has begun no git yet. left: what `Notes.left` says.

    locks: in what is ours alone. shared: where the person's gits are at work as well; old age proves nothing there.
    """
    ours = {lock: about for lock in locks if (about := seen(lock)) and (is_old(about) or _is_ours(lock, repo, left))}
    proved = {lock: about for lock in shared if (about := seen(lock)) and _is_ours(lock, repo, left)}
    return ours | proved


def is_old(about: Seen) -> bool:
    return time.time() - about[1] / 1e9 > OLD_S


def _is_ours(lock: Path, repo: Repository, left: Collection[Note]) -> bool:
    """Whether a git of ours was at work there when its engine ended, or that engine itself had the lock."""
    of_ref = repo.common_dir / "refs" in lock.parents
    git_dir = repo.common_dir if of_ref else lock.parent.parent if lock.parent.name == "reftable" else lock.parent
    return explained(left, lock, git_dir) or ref_files.is_left(lock, psutil.pid_exists)


def remove(left: Mapping[Path, Seen]) -> Iterator[Path]:
    """Remove those that are still the same."""
    for lock, about in left.items():
        if seen(lock) == about:
            lock.unlink(missing_ok=True)
            yield lock
