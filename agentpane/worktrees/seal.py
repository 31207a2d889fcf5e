"""A seal on a worktree that is kept ready: what its record and its folder looked like when it was finished.

It is compared by looking at three files, however many the worktree holds. A program that edits a file deep inside
does not break it: that is found by asking git before anybody works in the worktree.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from agentpane.worktrees.values import Worktree

SEAL = "agentpane-ready"
LOCKED = "locked"  # git's own word: a locked worktree is not pruned
WHY_LOCKED = "AgentPane keeps this worktree ready for the next card.\n"

_Look = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Seal:
    base: str
    index: _Look
    folder: _Look
    pointer: _Look


def put_seal(worktree: Worktree, base: str) -> None:
    """Close a worktree whose files are those of the commit `base`."""
    (worktree.git_dir / LOCKED).write_text(WHY_LOCKED, "ascii")
    made = worktree.git_dir / f"{SEAL}.new"
    made.write_text(json.dumps(asdict(_seal(worktree, base))), "ascii")
    os.replace(made, worktree.git_dir / SEAL)


def is_sealed(worktree: Worktree, base: str) -> bool:
    """Whether the seal is whole, for this very commit, and nobody is at work on the index."""
    git_dir = worktree.git_dir
    try:
        kept = json.loads((git_dir / SEAL).read_text("ascii"))
        head = (git_dir / "HEAD").read_text("ascii").strip()
        found = json.loads(json.dumps(asdict(_seal(worktree, base))))
    except (OSError, ValueError):
        return False
    locks = any(os.path.lexists(git_dir / f"{name}.lock") for name in ("index", "HEAD"))
    return bool(kept == found and head == base and not locks)


def break_seal(git_dir: Path) -> None:
    """The worktree is somebody's from here on, and like any other."""
    for name in (SEAL, LOCKED):
        with suppress(FileNotFoundError):
            os.unlink(git_dir / name)


def _seal(worktree: Worktree, base: str) -> _Seal:
    return _Seal(
        base, _look(worktree.git_dir / "index"), _look(worktree.path), _look(worktree.path / ".git")
    )  # fmt: skip


def _look(path: Path) -> _Look:
    found = os.lstat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
