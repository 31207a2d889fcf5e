"""Reading git's own small files without ever waiting for one: a pipe in the place of a file has no end.

An agent may leave a pipe, a device or a socket wherever it may write, and git opens what it finds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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
    """The first of the files that git reads by name which is a pipe, a device or a socket, links followed."""
    for path in _read_by_name(common_dir, git_dir, work_tree):
        if _is_endless(path):
            return Path(path)
    return None


def endless_records(common_dir: Path) -> Path | None:
    """The same among the records of all linked worktrees."""
    folder = os.path.join(common_dir, "worktrees")
    with suppress(OSError):
        for name in os.listdir(folder):
            for file in ("HEAD", "gitdir", "commondir", "locked", "index"):
                path = os.path.join(folder, name, file)
                if _is_endless(path):
                    return Path(path)
    return None


def endless_within(root: Path) -> Path | None:
    """The same among the files of a worktree that tell git which others to read, and how. Looks into every folder."""
    folders = [os.fspath(root)]
    while folders:
        folder = folders.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".git":
                        folders.append(entry.path)
                elif entry.name in _IN_FOLDERS and not entry.is_file(follow_symlinks=False) and _is_endless(entry.path):
                    return Path(entry.path)
    return None


def _read_by_name(common_dir: Path, git_dir: Path, work_tree: Path | None) -> Iterator[str]:
    for name in _COMMON:
        yield f"{common_dir}/{name}"
    for name in _OWN:
        yield f"{git_dir}/{name}"
    if work_tree is not None:
        for name in _IN_FOLDERS:
            yield f"{work_tree}/{name}"


def _is_endless(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
