"""A seal on a worktree that is kept ready: what its record and its folder looked like when it was finished.

It is compared by looking at three files, however many the worktree holds. A program that edits a file deep inside
does not break it: that is found by asking git before anybody works in the worktree.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from agentpane.worktrees.values import Worktree

SEAL = "agentpane-ready"
LOCKED = "locked"  # git's own word: a locked worktree is not pruned
WHY_LOCKED = "AgentPane keeps this worktree ready for the next card.\n"


def put_seal(worktree: Worktree, base: str) -> None:
    """Close a worktree whose files are those of the commit `base`."""
    (worktree.git_dir / LOCKED).write_text(WHY_LOCKED, "ascii")
    made = worktree.git_dir / f"{SEAL}.new"
    made.write_text(_look(worktree, base), "ascii")
    os.replace(made, worktree.git_dir / SEAL)


def is_sealed(worktree: Worktree, base: str) -> bool:
    """Whether the seal is whole, for this very commit, and nobody is at work on the index."""
    git_dir = os.fspath(worktree.git_dir)
    try:
        with open(f"{git_dir}/{SEAL}", encoding="ascii") as seal, open(f"{git_dir}/HEAD", encoding="ascii") as head:
            whole = seal.read() == _look(worktree, base) and head.read().strip() == base
    except (OSError, ValueError):
        return False
    return whole and not any(os.path.lexists(f"{git_dir}/{name}.lock") for name in ("index", "HEAD"))


def break_seal(git_dir: Path) -> None:
    """The worktree is somebody's from here on, and like any other."""
    for name in (SEAL, LOCKED):
        with suppress(FileNotFoundError):
            os.unlink(git_dir / name)


def _look(worktree: Worktree, base: str) -> str:
    """The commit, and what the system tells of the index, the folder and git's pointer in it."""
    told = [base]
    for path in (f"{worktree.git_dir}/index", f"{worktree.path}", f"{worktree.path}/.git"):
        found = os.lstat(path)
        told.append(f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}")
    return "\n".join(told)
