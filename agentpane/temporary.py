"""Temporary folders that belong to a process: locked while it lives, and swept by the next engine when it was killed.

Each lies in a folder of ours that also holds a mark. A name proves nothing: what has no mark is somebody else's, and is
left alone. The mark lies beside what is used, so that no command sees it, and none can leave one. What is mounted in a
folder is not the folder's own: then nothing of it is deleted. Standard library only, since it is used by every floor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from agentpane.mounts import mounted_in

Kind = Literal["acp", "checks", "claude", "command", "git", "patches", "version"]

NAME = re.compile(rf"agentpane-(?:{'|'.join(get_args(Kind))})-[a-z0-9_]{{8}}")
MARK = "agentpane-temporary"  # holds the folder's name: a copy under another name is somebody's own
INNER = "in"  # short, since sockets lie below it
FRESH_S = 60.0  # what a killed process has started may still be ending


class TemporaryFolder:
    """A folder of its own, for this user only. Closing it removes it.

    where: the folder that it is made in, which is there; None: the system's temporary one.
    """

    def __init__(self, kind: Kind, where: Path | None = None) -> None:
        self._outer = Path(tempfile.mkdtemp(prefix=f"agentpane-{kind}-", dir=where))
        self.path = self._outer / INNER
        self._held: int | None = os.open(self._outer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _leave_mark(self._held, self._outer.name)  # whoever finds it finds the lock too
            self.path.mkdir(mode=0o700)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Blocks. May be called often."""
        _remove(self._outer)
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
                    _when_unheld(folder / name, fresh_s, _remove)


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


def _remove(outer: Path) -> None:
    """The mark goes last: while anything of the folder is left, the next sweep takes it up again."""
    delete(outer / INNER)
    if not os.path.lexists(outer / INNER):
        with contextlib.suppress(OSError):
            os.unlink(outer / MARK)
        with contextlib.suppress(OSError):
            os.rmdir(outer)


def _leave_mark(folder: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    mark = os.open(MARK, flags, 0o600, dir_fd=folder)
    try:
        os.write(mark, os.fsencode(name))
    finally:
        os.close(mark)


def _has_mark(folder: int, name: str) -> bool:
    try:
        mark = os.open(MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False
    try:
        regular = stat.S_ISREG(os.fstat(mark).st_mode)
        return regular and os.read(mark, len(os.fsencode(name)) + 1) == os.fsencode(name)
    finally:
        os.close(mark)


def _used(folder: int) -> float:
    """When something was last put into the folder that is used, or taken out of it."""
    try:
        return os.stat(INNER, dir_fd=folder, follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def _when_unheld(path: Path, fresh_s: float, act: Callable[[Path], None]) -> bool:
    """Act on a folder that a process of this user has made and nobody holds; whether it is one."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(folder)
        ours = status.st_uid == os.getuid() and _has_mark(folder, path.name)
        if ours and time.time() - max(status.st_mtime, _used(folder)) >= fresh_s:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            act(path)
            return True
        return False
    finally:
        os.close(folder)
