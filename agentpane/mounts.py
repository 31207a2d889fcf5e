"""What is mounted in a folder: it is not the folder's own, and goes with it all the same when the folder is deleted.

Standard library only, since it is used by every floor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")


def mounted_in(folder: Path) -> tuple[Path, ...]:
    """Where something is mounted at the folder itself or below it. Blocks.

    Read from the system's own table where there is one: a folder of the same disk, mounted there, looks like any other.
    """
    root = os.path.realpath(folder)
    try:
        return within(root, places(TABLE.read_bytes()))
    except OSError:
        return tuple(_of_other_disks(root))


def places(table: bytes) -> Iterator[Path]:
    """Where the mounts of a `mountinfo` are.

    table: a line for each mount, of which the fifth word is the place, with blanks, line ends and backslashes in octal.
    Source: proc_pid_mountinfo(5).
    """
    for line in table.split(b"\n"):
        words = line.split(b" ")
        if len(words) > 4:
            yield Path(os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), words[4])))


def within(root: str, found: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(sorted({place for place in found if place.is_relative_to(root)}))


def _of_other_disks(root: str) -> Iterator[Path]:
    """Folders below that lie on another disk than the one that they are in."""
    if os.path.ismount(root):
        yield Path(root)
    folders = [root]
    while folders:
        folder = folders.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            disk = os.lstat(folder).st_dev
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.stat(follow_symlinks=False).st_dev == disk:
                        folders.append(entry.path)
                    else:
                        yield Path(entry.path)
