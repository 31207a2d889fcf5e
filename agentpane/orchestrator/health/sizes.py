"""What a folder takes on disk, counted in a thread that stops when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path


class Sizes:
    """One count at a time, so that looking never takes more than one core."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def of(self, folder: Path) -> int | None:
        """Bytes on disk below `folder`, itself included; None when it is not there."""
        stop = threading.Event()
        async with self._one:
            try:
                return await asyncio.to_thread(size_of, folder, stop)
            finally:
                stop.set()


def size_of(folder: Path, stop: threading.Event) -> int | None:
    """No link is followed, and a file with several names counts once. Half of it when it was stopped."""
    try:
        total = os.lstat(folder).st_blocks * 512
    except OSError:
        return None
    seen: set[tuple[int, int]] = set()
    left = [os.fspath(folder)]
    while left and not stop.is_set():
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    if about.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if (about.st_dev, about.st_ino) in seen:
                            continue
                        seen.add((about.st_dev, about.st_ino))
                    total += about.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue
    return total
