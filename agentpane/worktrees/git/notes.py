"""Where the gits of an engine are at work, noted while they are: what proves later that one of them has left a lock.

The notes lie in a folder that the engine's successors read. Whoever ends in an ordinary way takes theirs away; an
engine that is killed leaves them, and so does a git that is killed alone.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agentpane.worktrees.git.files import read_small

KEPT_S = 30 * 24 * 3600.0
LASTS_S = 3600.0  # longer than any git of ours is let run
QUICK_S = 60.0  # as long as one that only moves refs
EARLIER_S = 2.0  # by which the clock of a file system may be behind
_LEFT = "left-"
_OF_REFS = frozenset({"update-ref", "symbolic-ref"})
_OF_FILES = frozenset({"merge", "read-tree", "checkout-index", "reset"})
# Git takes no lock for these.
READING = frozenset(
    {"cat-file", "commit-tree", "config", "diff", "diff-files", "diff-index", "diff-tree", "for-each-ref"}
    | {"hash-object", "ls-files", "ls-tree", "merge-base", "merge-tree", "rev-list", "rev-parse", "show-ref", "version"}
)
Ended = TypeVar("Ended", bound=tuple[int, bytes, bytes])


@dataclass(frozen=True, slots=True)
class Note:
    """A git was at work in these folders, from `began_s` on, and nobody saw it end. command: git's, such as `merge`."""

    git_dir: Path
    common_dir: Path
    command: str
    began_s: float

    def explains(self, folder: Path, made_s: float) -> bool:
        """Whether that git may have made a lock in a git folder at that time."""
        lasts = QUICK_S if self.command in _OF_REFS else LASTS_S
        in_time = self.began_s - EARLIER_S <= made_s <= self.began_s + lasts
        return in_time and folder in {self.git_dir, self.common_dir}

    def changed_files(self, git_dir: Path, since_s: float) -> bool:
        """Whether that git was changing the files of a checkout, and began after a moment."""
        return self.command in _OF_FILES and self.git_dir == git_dir and self.began_s >= since_s - EARLIER_S


class Notes:
    """The notes of one engine, and those that others before it have left in the same folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = f"at-work-{secrets.token_hex(8)}-"

    def at_work(self, git_dir: Path, common_dir: Path, command: str, run: Callable[[], Ended]) -> Ended:
        """Run a git that works there. One a thread at once; its note stays if a signal has ended it."""
        note = self._folder / f"{self._mark}{threading.get_native_id()}"
        with suppress(OSError):  # what cannot be noted is not proved later
            note.write_bytes(b"\0".join((os.fsencode(git_dir), os.fsencode(common_dir), command.encode())))
        killed = False
        try:
            ended = run()
            killed = ended[0] < 0
            return ended
        finally:
            with suppress(OSError):
                if killed:
                    note.rename(self._folder / f"{_LEFT}{secrets.token_hex(8)}")
                else:
                    note.unlink()

    def left(self) -> tuple[Note, ...]:
        """What was noted and not seen to its end; a note of long ago is deleted. Blocks."""
        found, now = [], time.time()
        with suppress(OSError):
            for file in self._folder.iterdir():
                if file.name.startswith(("at-work-", _LEFT)) and not file.name.startswith(self._mark):
                    with suppress(OSError):
                        began = file.lstat().st_mtime
                        if now - began > KEPT_S:
                            file.unlink()
                            continue
                        told = os.fsdecode(read_small(file) or b"").split("\0")
                        if len(told) == 3:
                            found.append(Note(Path(told[0]), Path(told[1]), told[2], began))
        return tuple(found)


def explained(notes: Iterable[Note], lock: Path, git_dir: Path) -> bool:
    """Whether one of these gits may have left the lock, which lies in `git_dir` or belongs to it."""
    try:
        made = lock.lstat().st_mtime
    except OSError:
        return False
    return any(note.explains(git_dir, made) for note in notes)
