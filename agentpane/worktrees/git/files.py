"""Reading git's own small files without ever waiting for one: a pipe in the place of a file has no end.

An agent may leave one wherever it may write, and git opens what it finds.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_LONGEST = 64 * 1024
_COMMON = ("config", "packed-refs", "shallow", "info/exclude", "info/attributes", "objects/info/alternates")
_OWN = ("HEAD", "index", "config.worktree", "commondir", "logs/HEAD", "info/sparse-checkout", "MERGE_HEAD")
_IN_FOLDERS = frozenset({".gitattributes", ".gitignore"})


def read_line(path: Path) -> str:
    """The content of a small file of one line, without its end; empty where there is no regular file."""
    content = read_small(path)
    return "" if content is None else content.decode("utf-8", "surrogateescape").removesuffix("\n")


def read_small(path: Path) -> bytes | None:
    """The first 64 KiB of a regular file, links followed; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def write_new(path: Path, content: str) -> None:
    """Write a file beside one that it is to replace, through no link that lies there."""
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.write(content)


def endless(common_dir: Path, git_dir: Path, work_tree: Path | None) -> Path | None:
    """The first of the files that git reads by name which is a pipe or a device, links followed."""
    for path in _read_by_name(common_dir, git_dir, work_tree):
        if is_endless(path):
            return Path(path)
    return None


def endless_anywhere(common_dir: Path, work_tree: Path | None) -> Path | None:
    """The same among all that git may come to read: its refs, logs and records, and what tells it how to read files.

    Looks into every folder, objects aside.
    """
    whole = _walk(common_dir, lambda folder: folder != f"{common_dir}/objects")
    telling = iter(()) if work_tree is None else _walk(work_tree, lambda folder: not folder.endswith("/.git"))
    for path in itertools.chain(whole, (path for path in telling if os.path.basename(path) in _IN_FOLDERS)):
        if is_endless(path):
            return Path(path)
    return None


def _walk(root: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Everything below that is neither a regular file nor a folder."""
    folders = [os.fspath(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if wanted(entry.path):
                        folders.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    yield entry.path


def _read_by_name(common_dir: Path, git_dir: Path, work_tree: Path | None) -> Iterator[str]:
    for name in _COMMON:
        yield f"{common_dir}/{name}"
    for name in _OWN:
        yield f"{git_dir}/{name}"
    if work_tree is not None:
        for name in _IN_FOLDERS:
            yield f"{work_tree}/{name}"


def is_endless(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def read_regular(path: Path | str) -> bytes:
    """The whole content of a file. Raises OSError as `open_regular` does."""
    with _regular(path) as descriptor:
        return b"".join(iter(lambda: os.read(descriptor, _LONGEST), b""))


@contextmanager
def open_regular(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file to read it. Raises OSError too where it is a pipe or anything else that is no regular file."""
    with _regular(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as opened:
        yield opened


@contextmanager
def _regular(path: Path | str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no regular file")
        yield descriptor
    finally:
        os.close(descriptor)
