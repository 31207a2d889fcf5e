"""How things lie in a folder at this moment. Nothing is followed: what is beyond a link is not in the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from agentpane.mounts import mounted_in

# Inode, mode, size and times: what changes with every write.
Seen = tuple[int, int, int, int, int]


class Ground:
    """Remembers the folders on the way to what it is asked for, and so serves for one look. Blocks."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._barriers: dict[str, str | None] = {"": None}

    def barrier(self, path: str) -> str | None:
        """The link or file that lies where a folder on the way to `path` would; None where there is none."""
        parent = path.rpartition("/")[0]
        if parent not in self._barriers:
            above = self.barrier(parent)
            there = _lstat(self._root / parent) if above is None else None
            self._barriers[parent] = parent if there is not None and not stat.S_ISDIR(there.st_mode) else above
        return self._barriers[parent]

    def about(self, path: str) -> os.stat_result | None:
        """None where there is nothing, or only beyond a link."""
        return _lstat(self._root / path) if self.barrier(path) is None else None

    def seen(self, path: str) -> Seen | None:
        about = self.about(path)
        if about is None:
            return None
        return about.st_ino, about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns

    def is_folder(self, path: str) -> bool:
        about = self.about(path)
        return about is not None and stat.S_ISDIR(about.st_mode)

    def strangers(self, path: str, known: Collection[str], ways: Collection[str]) -> Iterator[str]:
        """What is in the folder `path`, or mounted there, beside the files `known`; a folder is named as a whole.

        ways: the folders on the way to `known`.
        """
        for mounted in mounted_in(self._root / path):
            yield os.path.relpath(mounted, os.path.realpath(self._root))
        yield from self._strangers(path, known, ways)

    def _strangers(self, path: str, known: Collection[str], ways: Collection[str]) -> Iterator[str]:
        with os.scandir(self._root / path) as entries:
            found = sorted((f"{path}/{entry.name}", entry.is_dir(follow_symlinks=False)) for entry in entries)
        for inner, is_folder in found:
            if is_folder and inner in ways:
                yield from self._strangers(inner, known, ways)
            elif is_folder or inner not in known:
                yield inner


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def ways_to(paths: Iterable[str]) -> frozenset[str]:
    """The folders in which these files lie."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return frozenset(found)
