"""Where the gits of an engine are at work, noted while they are: what proves later that a lock was left by one of them.

A note lies in the private folder of its engine, which goes when that ends. One that was killed leaves both.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentpane import temporary
from agentpane.worktrees.gitfiles import open_regular

PREFIX = "at-work-"
# Git takes no lock for these.
READING = frozenset(
    {"cat-file", "commit-tree", "config", "diff", "diff-files", "diff-index", "diff-tree", "for-each-ref"}
    | {"hash-object", "ls-files", "ls-tree", "merge-base", "merge-tree", "rev-list", "rev-parse", "show-ref", "version"}
)


@contextmanager
def at_work(private: Path, git_dir: Path, common_dir: Path) -> Iterator[None]:
    """Note that a git is at work there, as long as this lasts. One a thread at once."""
    note = private / f"{PREFIX}{threading.get_native_id()}"
    with suppress(OSError):  # what cannot be noted is not proved later
        note.write_bytes(os.fsencode(git_dir) + b"\0" + os.fsencode(common_dir))
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink()


def left() -> frozenset[Path]:
    """The git folders in which gits of engines that are gone were at work when those ended. Blocks."""
    found: set[Path] = set()
    for folder in temporary.left(fresh_s=0):
        with suppress(OSError):
            for note in folder.glob(f"{PREFIX}*"):
                with open_regular(note) as file:
                    found.update(Path(os.fsdecode(part)) for part in file.read().split(b"\0") if part)
    return frozenset(found)
