"""Replacing and removing files of the person's checkout one by one, each looked at in the moment before.

What somebody has written since the file was looked at stays, and is told of. Nothing is followed. Everything blocks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from agentpane.worktrees.keeping.ground import Ground, Seen
from agentpane.worktrees.trees.copying import open_folder

# Makes a file or link of this name in this open folder, where there is none.
Make = Callable[[str, int], None]
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_FOLDER = frozenset({errno.ENOTDIR, errno.ELOOP})


def look(root: Path, path: str) -> Seen | None:
    """How the file lies there; None where there is none, but maybe a folder."""
    found = Ground(root).seen(path)
    return None if found is None or stat.S_ISDIR(found[1]) else found


def like(source: Path) -> Make:
    """A file or link like another one, with its mode."""

    def make(name: str, folder: int) -> None:
        if source.is_symlink():
            os.symlink(os.readlink(source), name, dir_fd=folder)
            return
        with open(source, "rb") as original, os.fdopen(os.open(name, _NEW, 0o600, dir_fd=folder), "wb") as copy:
            shutil.copyfileobj(original, copy)
            os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(original.fileno()).st_mode))

    return make


def holding(content: bytes, *, link: bool, executable: bool) -> Make:
    """A file of this content, or a link that leads there, with the mode that the person's umask lets it have."""

    def make(name: str, folder: int) -> None:
        if link:
            os.symlink(content, os.fsencode(name), dir_fd=folder)
            return
        with os.fdopen(os.open(name, _NEW, 0o777 if executable else 0o666, dir_fd=folder), "wb") as out:
            out.write(content)

    return make


def put(root: Path, path: str, looked: Seen | None, make: Make) -> bool:
    """Let what is made take the path's place. False where that is not as it was looked at: it stays as it is.

    Raises OSError where nothing can be written; the file is as before then, unless the disk was too full for both.
    """
    whole = PurePosixPath(path)
    try:
        with open_folder(root, whole.parent) as folder:
            return _put(folder, whole.name, looked, make)
    except OSError as error:
        if error.errno in _NO_FOLDER:  # something else lies where a folder would
            return False
        raise


def _put(folder: int, name: str, looked: Seen | None, make: Make) -> bool:
    temporary, there = beside(name), looked
    try:
        _remove(temporary, folder)
        try:
            make(temporary, folder)
        except OSError as error:
            if error.errno not in _FULL or looked is None:
                raise
            _remove(temporary, folder)
            if _seen(name, folder) != looked:
                return False
            os.unlink(name, dir_fd=folder)
            there = None
            make(temporary, folder)
        if there is None:
            return _add(temporary, name, folder)
        if _seen(name, folder) != looked:
            _remove(temporary, folder)
            return False
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return True
    except BaseException:
        _remove(temporary, folder)
        raise


def _add(temporary: str, name: str, folder: int) -> bool:
    """Give the name to what was made, unless something has it; an empty folder gives way."""
    with suppress(OSError):
        os.rmdir(name, dir_fd=folder)
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError:  # a disk that knows no second name
        if _seen(name, folder) is not None:
            return False
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        _remove(temporary, folder)
    return True


def beside(name: str) -> str:
    """What the new content of a file is called before it has the file's name; nobody else gives such a name."""
    return f".agentpane-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def sweep(root: Path, paths: Iterable[str]) -> None:
    """Remove what an engine that was killed has left beside these files."""
    for whole in map(PurePosixPath, paths):
        left = whole.with_name(beside(whole.name))
        if look(root, str(left)) is not None:
            with suppress(OSError), open_folder(root, whole.parent) as folder:
                _remove(left.name, folder)


def take(root: Path, path: str, looked: Seen | None) -> bool:
    """Remove the file, and the folders that are empty without it. False where it is not as it was looked at."""
    if look(root, path) != looked:
        return False
    if looked is not None:
        os.unlink(root / path)
    if Ground(root).barrier(path) is None:
        with suppress(OSError):
            for parent in PurePosixPath(path).parents[:-1]:
                os.rmdir(root / parent)
    return True


def lay(root: Path, looked: Mapping[str, Seen | None], away: list[str], coming: Mapping[str, Path]) -> tuple[str, ...]:
    """Remove the files `away`, then let each path hold what the file `coming` for it does.

    Returns the paths that were not as they had been looked at. Raises OSError as `put` does.
    """
    left = [path for path in away if not take(root, path, looked[path])]
    left += [path for path, source in coming.items() if not put(root, path, looked[path], like(source))]
    return tuple(left)


def _seen(name: str, folder: int) -> Seen | None:
    try:
        about = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
