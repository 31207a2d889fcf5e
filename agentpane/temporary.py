"""Temporary folders that belong to a process: locked while it lives, and swept by the next engine when it was killed.

Standard library only, since it is used by every floor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["acp", "claude", "command", "git", "patches", "version"]

NAME = re.compile(rf"agentpane-(?:{'|'.join(get_args(Kind))})-\w+")
FRESH_S = 60.0  # one that is just being made is not locked yet


class TemporaryFolder:
    """A folder of its own in the system's temporary one, for this user only. Closing it removes it."""

    def __init__(self, kind: Kind) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"agentpane-{kind}-"))
        self._held: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Blocks. May be called often."""
        shutil.rmtree(self.path, ignore_errors=True)
        held, self._held = self._held, None
        if held is not None:
            os.close(held)


def sweep(fresh_s: float = FRESH_S) -> None:
    """Remove what killed processes of this user have left. Blocks. What somebody holds stays."""
    with contextlib.suppress(OSError):
        for name in os.listdir(tempfile.gettempdir()):
            if NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_unheld(Path(tempfile.gettempdir()) / name, fresh_s)


def _remove_unheld(path: Path, fresh_s: float) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(folder)
        if status.st_uid == os.getuid() and time.time() - status.st_mtime >= fresh_s:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(folder)
