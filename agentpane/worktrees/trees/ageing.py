"""Making a fresh worktree look some seconds old, in its files and in its index alike.

Git cannot trust a file that was written in the very second in which its index was: it reads each one again
at the first `git status` (230 ms at 10,000 files). Only the times of the index's entries are rewritten, in a
format that git was just asked for; an index of any other form is left as it is, which is slow and still right.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

AGE_S = 5
_SECOND = 1_000_000_000
_HASHES = {20: "sha1", 32: "sha256"}

# An entry: ctime (s, ns), mtime (s, ns), dev, ino, mode, uid, gid, size, the object's name, flags, the path.
_TIMES = struct.Struct(">4I")
_UNKNOWN = bytes(_TIMES.size)  # whatever the times of such a file are, git reads it
_ABOUT = {size: struct.Struct(f">8xII10xH{12 + size}xH") for size in _HASHES}  # mtime, the end of mode, flags
_LENGTH, _EXTENDED = 0x0FFF, 0x4000
_REGULAR = stat.S_IFREG >> 12


@dataclass(frozen=True, slots=True)
class _Index:
    """after: what is to be written in the place of `before`."""

    before: bytes
    after: bytearray
    count: int
    hash_size: int


def age_files(root: Path, index: Path, hash_size: int) -> bool:
    """Move the times of the young regular files in `index` back, on disk and in the index; whether that was done.

    A file that is not as git has just written it keeps its time, and git reads it: git compares whole seconds, and
    would not see that somebody has written it once more in the same one.
    Where the new index cannot be written, the old one stays as it is.
    """
    aged = index.with_name("index.aged")
    try:
        aged.unlink(missing_ok=True)  # of an engine that was killed here
        return _age(root, index, aged, hash_size)
    except OSError:
        with suppress(OSError):
            aged.unlink(missing_ok=True)
        return False


def _age(root: Path, index: Path, aged: Path, hash_size: int) -> bool:
    before = index.read_bytes()
    version, count = struct.unpack_from(">II", before, 4)
    if before[:4] != b"DIRC" or version not in (2, 3):
        return False
    body = len(before) - hash_size
    if hashlib.new(_HASHES[hash_size], before[:body]).digest() != before[body:]:
        return False
    after, written = bytearray(before), index.stat().st_mtime_ns // _SECOND
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _age_files(_Index(before, after, count, hash_size), written, folder)
    finally:
        os.close(folder)
    after[body:] = hashlib.new(_HASHES[hash_size], after[:body]).digest()
    with open(aged, "xb") as out:
        out.write(after)
    os.replace(aged, index)
    return True


def _age_files(index: _Index, written: int, folder: int) -> None:
    """written: the second of the index; git trusts what was written in an earlier one."""
    seconds, aged = written - AGE_S, list[tuple[int, bytes]]()
    times = (seconds * _SECOND, seconds * _SECOND)
    for at, name, mtime in _files(index):
        try:
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns != mtime:
                index.after[at : at + _TIMES.size] = _UNKNOWN
            elif mtime >= written * _SECOND:
                os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)
                aged.append((at, name))
        except (FileNotFoundError, NotADirectoryError):
            continue
    if not aged:
        return
    # The system's clock, by which it says when it did this, only goes forward, and git compares whole seconds; where
    # it was built to compare more, it reads the file once again.
    first, last = (_changed(name, folder) for _, name in (aged[0], aged[-1]))
    for at, name in aged:
        changed = first if first == last else _changed(name, folder)
        index.after[at : at + _TIMES.size] = _TIMES.pack(changed, 0, seconds, 0)


def _files(index: _Index) -> Iterator[tuple[int, bytes, int]]:
    """The entries of regular files: where each begins, its path, and when git has written it, in nanoseconds."""
    data, about, at = index.before, _ABOUT[index.hash_size], 12
    for _ in range(index.count):
        seconds, nanoseconds, mode, flags = about.unpack_from(data, at)
        name_at = at + about.size + (2 if flags & _EXTENDED else 0)
        length = flags & _LENGTH
        end = name_at + length if length < _LENGTH else data.index(b"\0", name_at)
        if mode >> 12 == _REGULAR:
            yield at, data[name_at:end], seconds * _SECOND + nanoseconds
        at += (end - at + 8) // 8 * 8


def _changed(name: bytes, folder: int) -> int:
    """The second in which something about a file was changed last."""
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ctime_ns // _SECOND
