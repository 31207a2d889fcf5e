"""Temporary folders that belong to a process: locked while it lives, and swept by the next engine when it was killed.

What is mounted in a folder is not the folder's own: then nothing of it is deleted. Standard library only, since it is
used by every floor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from agentpane.mounts import mounted_in

Kind = Literal["acp", "checks", "claude", "command", "git", "patches", "version"]

NAME = re.compile(rf"agentpane-(?:{'|'.join(get_args(Kind))})-\w+")
FRESH_S = 60.0  # one that is just being made is not locked yet


class TemporaryFolder:
    """A folder of its own, for this user only. Closing it removes it.

    where: the folder that it is made in, which is there; None: the system's temporary one.
    """

    def __init__(self, kind: Kind, where: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"agentpane-{kind}-", dir=where))
        self._held: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Blocks. May be called often."""
        delete(self.path)
        held, self._held = self._held, None
        if held is not None:
            os.close(held)


def sweep(fresh_s: float = FRESH_S, where: Path | None = None) -> None:
    """Remove what killed processes of this user have left in `where`. Blocks. What somebody holds stays."""
    folder = where or Path(tempfile.gettempdir())
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    _when_unheld(folder / name, fresh_s, delete)


def left(fresh_s: float = FRESH_S, where: Path | None = None) -> tuple[Path, ...]:
    """The folders that `sweep` would remove. Blocks."""
    folder = where or Path(tempfile.gettempdir())
    found = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            path = folder / name
            with contextlib.suppress(OSError):
                if NAME.fullmatch(name) and _when_unheld(path, fresh_s, lambda _: None):
                    found.append(path)
    return tuple(found)


def delete(folder: Path) -> None:
    """Delete a folder, also where its own modes forbid that; follows no link, and deletes nothing that is mounted.

    Blocks. Where something is mounted at it or below, all of it stays.
    """
    for _ in range(0 if folder.is_symlink() or mounted_in(folder) else 2):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        for inner, folders, _files in os.walk(folder):
            for path in (inner, *(os.path.join(inner, entry) for entry in folders)):
                if not os.path.islink(path):
                    with contextlib.suppress(OSError):
                        os.chmod(path, 0o700)


def _when_unheld(path: Path, fresh_s: float, act: Callable[[Path], None]) -> bool:
    """Act on a folder of this user that nobody holds; whether it is one."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(folder)
        if status.st_uid == os.getuid() and time.time() - status.st_mtime >= fresh_s:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            act(path)
            return True
        return False
    finally:
        os.close(folder)
