"""Opening files below a folder so that no link, however it is flipped meanwhile, leads outside.

On Linux the kernel does it: openat2 with RESOLVE_BENEATH. Elsewhere, and where openat2 is filtered out, each
component is opened by itself without following links, so that links are not followed at all there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Sequence
from functools import cache

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
OPENAT2 = 437  # the same number on every architecture that Linux has it on
MACHINES = frozenset({"x86_64", "aarch64", "arm64"})
TRIES = 64  # EAGAIN: something was renamed while the kernel was looking


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, parts: Sequence[str], flags: int, *, mode: int = 0, links: bool = False) -> int:
    """Open `parts` below the folder `root`; a new descriptor.

    links: follow links that stay below the folder; without it any link is refused, with ELOOP.
    Raises OSError: EXDEV where the path leads outside, ELOOP for a link, and whatever open(2) says.
    """
    flags |= os.O_CLOEXEC | os.O_NOCTTY
    if openat2_works():
        resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (0 if links else RESOLVE_NO_SYMLINKS)
        return _openat2(root, os.fsencode("/".join(parts) or "."), flags, mode, resolve)
    return _walk(root, parts, flags, mode)


@cache
def openat2_works() -> bool:
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return False
    try:
        here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(_openat2(here, b".", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH))
        finally:
            os.close(here)
    except OSError:
        return False
    return True


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _openat2(root: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    how = _OpenHow(flags, mode, resolve)
    for _ in range(TRIES):
        result = int(
            _libc().syscall(
                ctypes.c_long(OPENAT2),
                ctypes.c_int(root),
                ctypes.c_char_p(path),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
        )
        if result >= 0:
            return result
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def _walk(root: int, parts: Sequence[str], flags: int, mode: int) -> int:
    """Component by component, following nothing."""
    if any(part in ("..", "/") or "/" in part for part in parts):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), "/".join(parts))
    current = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        for part in parts[:-1]:
            following = _open_one(current, part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0)
            os.close(current)
            current = following
        return _open_one(current, parts[-1] if parts else ".", flags, mode)
    finally:
        os.close(current)


def _open_one(folder: int, name: str, flags: int, mode: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ENOTDIR and _is_link(folder, name):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from error
        raise


def _is_link(folder: int, name: str) -> bool:
    try:
        os.readlink(name, dir_fd=folder)
    except OSError:
        return False
    return True
