"""How much memory a command's processes hold together: their own, what they share, and what lies in files in memory.

Files without a name (memfd_create) are found by their descriptors, so that one that is on its way through a socket
is not. Where there is no /proc nothing is found. Source: proc(5), memfd_create(2).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

BLOCK = 512  # bytes, whatever st_blksize says
NAMELESS = "/memfd:"
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def held(pids: Iterable[int], in_files: int) -> int:
    """Bytes. What processes share is counted once where the kernel says so, and so are files that they have mapped."""
    own = mapped = 0
    for pid in pids:
        private, shared = _share(pid)
        own, mapped = own + private, mapped + shared
    return own + max(mapped, in_files)


def in_files(root: int, pids: Iterable[int]) -> int:
    """Bytes in files without a name that these processes hold, and in file systems that only they see.

    root: the process below which they are, in the same mount namespace.
    """
    files: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    path = f"/proc/{pid}/fd/{name}"
                    if os.readlink(path).startswith(NAMELESS):  # looked at first: any other may hold up who asks
                        status = os.stat(path)
                        files[status.st_dev, status.st_ino] = status.st_blocks * BLOCK
    return sum(files.values()) + _in_own_file_systems(root)


def _in_own_file_systems(root: int) -> int:
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        if os.readlink(f"/proc/{root}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
            for line in Path(f"/proc/{root}/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
                fields = line.split()
                if fields[fields.index("-") + 1] in IN_MEMORY:
                    with contextlib.suppress(OSError):
                        system = os.statvfs(f"/proc/{root}/root{_unescaped(fields[4])}")
                        found[fields[2]] = (system.f_blocks - system.f_bfree) * system.f_frsize
    return sum(found.values())


def _unescaped(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def _share(pid: int) -> tuple[int, int]:
    """A process's part of memory that is no file's in memory, and of memory that is."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        kilobytes = {
            key: int(words.split()[0]) for key, words in (line.split(b":", 1) for line in file.readlines()[1:])
        }
        shared = kilobytes.get(b"Pss_Shmem", 0)
        return (kilobytes[b"Pss"] - shared) * 1024, shared * 1024
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
        _, resident, shared = map(int, file.read().split()[:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE"), 0
    return 0, 0
