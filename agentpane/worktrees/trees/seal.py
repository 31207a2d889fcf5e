"""A seal on a worktree that is kept ready: what its record and its folder looked like when it was finished.

It is compared by looking at four files, however many the worktree holds: whoever moved the folder, put another one in
its place, made the record anew or brought the index up to date has changed one of them. A program that edits a file
deep inside does not break it: that is found by asking git before anybody works in the worktree.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from agentpane.worktrees.git.files import read_regular
from agentpane.worktrees.values import Worktree

SEAL = "agentpane-ready"
LOCKED = "locked"  # git's own word: a locked worktree is not pruned
WHY_LOCKED = b"AgentPane keeps this worktree ready for the next card.\n"
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def put_seal(worktree: Worktree, base: str) -> None:
    """Close a worktree whose files are those of the commit `base`."""
    (worktree.git_dir / LOCKED).write_bytes(WHY_LOCKED)
    made = worktree.git_dir / f"{SEAL}.new"
    made.write_bytes(_look(worktree, base))
    os.replace(made, worktree.git_dir / SEAL)


def is_sealed(worktree: Worktree, base: str) -> bool:
    """Whether the seal is whole, for this very commit, and nobody is at work on the index."""
    git_dir = os.fspath(worktree.git_dir)
    try:
        whole = read_regular(f"{git_dir}/{SEAL}") == _look(worktree, base)
        at_base = read_regular(f"{git_dir}/HEAD").strip() == base.encode()
    except OSError:
        return False
    return whole and at_base and not any(os.path.lexists(f"{git_dir}/{name}.lock") for name in ("index", "HEAD"))


def kept_ready_at(git_dir: Path) -> str | None:
    """The commit of a record that has our lock and a seal, whole or not; None for any other."""
    try:
        locked, seal = read_regular(git_dir / LOCKED), read_regular(git_dir / SEAL)
    except OSError:
        return None
    base = os.fsdecode(seal.partition(b"\n")[0])
    return base if locked == WHY_LOCKED and _SHA.fullmatch(base) else None


def break_seal(git_dir: Path) -> None:
    """The worktree is somebody's from here on, and like any other."""
    for name in (SEAL, LOCKED):
        with suppress(FileNotFoundError):
            os.unlink(f"{git_dir}/{name}")


def _look(worktree: Worktree, base: str) -> bytes:
    """The commit, whose the worktree is, and what the system tells of its index, its folder and their two pointers."""
    told = [base, worktree.mark, os.fspath(worktree.path)]
    git_dir, path = worktree.git_dir, worktree.path
    for each in (f"{git_dir}/index", f"{git_dir}/gitdir", path, f"{path}/.git"):
        found = os.lstat(each)
        told.append(f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}")
    return os.fsencode("\n".join(told))
