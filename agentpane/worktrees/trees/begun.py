"""What a git leaves that is killed while it makes a worktree: a record and a folder that lack some of their files.

Git makes the record's folder, its lock, the worktree's folder, the record's pointer to it, the folder's pointer back
and only then HEAD. A file that it was killed over may be there, and empty.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from agentpane.worktrees.git.files import read_line, read_regular, write_new
from agentpane.worktrees.places import registered_git_dir
from agentpane.worktrees.trees.seal import LOCKED
from agentpane.worktrees.values import Repository, Worktree

BEGUN = b"initializing"  # what git writes into the lock of one that it is making


def record_at(repo: Repository, path: Path) -> Path | None:
    """git's record of the worktree at exactly this path, also where it was killed before it could say so there."""
    known = registered_git_dir(repo, path)
    return known if known is not None else _by_name(repo, path.name)


def is_begun(git_dir: Path) -> bool:
    """Whether git's record is of a worktree that it is making, or was killed over before it had come to an end."""
    try:
        lock = read_regular(git_dir / LOCKED).strip()
        return lock == BEGUN or (not lock and os.listdir(git_dir) == [LOCKED])
    except FileNotFoundError:
        return git_dir.is_dir() and os.listdir(git_dir) == []
    except OSError:
        return False


def holds_nothing(folder: Path) -> bool:
    """Whether nothing lies in a worktree's folder, a pointer that git did not come to write aside; also if it is gone.

    Raises OSError where it cannot be looked into.
    """
    there = os.listdir(folder) if os.path.lexists(folder) else []
    pointer = folder / ".git"
    return not there or (there == [".git"] and not pointer.is_symlink() and read_regular(pointer) == b"")


def complete(worktree: Worktree) -> None:
    """Write what git would have: by the pointers a worktree is known to be ours, and can be taken away."""
    record, folder = worktree.git_dir, worktree.path
    if is_begun(record) and not read_line(record / LOCKED):
        write_new(record / LOCKED, f"{BEGUN.decode()}\n")
    if not read_line(record / "gitdir"):
        write_new(record / "gitdir", f"{folder}/.git\n")
    folder.mkdir(parents=True, exist_ok=True)
    if not read_line(folder / ".git"):
        write_new(folder / ".git", f"gitdir: {record}\n")


def clear(folder: Path) -> None:
    """Take away the folder of a worktree that holds nothing; any other stays."""
    with suppress(OSError):
        if holds_nothing(folder):
            (folder / ".git").unlink(missing_ok=True)
            folder.rmdir()


def _by_name(repo: Repository, name: str) -> Path | None:
    """Git names a record after the folder, and puts a number behind it where there is one of that name."""
    folder = repo.common_dir / "worktrees"
    named = re.compile(re.escape(name) + r"[0-9]*")
    try:
        found = [folder / each for each in sorted(os.listdir(folder)) if named.fullmatch(each)]
    except OSError:
        return None
    return next((each for each in found if not each.is_symlink() and _has_no_place(each) and is_begun(each)), None)


def _has_no_place(record: Path) -> bool:
    return not read_line(record / "gitdir")
