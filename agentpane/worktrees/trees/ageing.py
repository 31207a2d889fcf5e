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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

AGE_S = 5
_SECOND = 1_000_000_000
_HASHES = {20: "sha1", 32: "sha256"}

# An entry: ctime (s, ns), mtime (s, ns), dev, ino, mode, uid, gid, size, the object's name, flags, the path.
_TIMES = struct.Struct(">4I")
_MTIME = struct.Struct(">II")
_MTIME_AT, _MODE_AT, _HASH_AT = 8, 24, 40
_SHORT = struct.Struct(">H")
_LENGTH, _EXTENDED = 0x0FFF, 0x4000
_REGULAR = stat.S_IFREG >> 12


_Entry = tuple[int, bytes]  # where it begins in the index, and its path


def age_files(root: Path, index: Path, hash_size: int, careful: bool = True) -> bool:
    """Move the times of the young regular files in `index` back, on disk and in the index; whether that was done.

    Where a file is gone meanwhile, or the new index cannot be written, the old one stays as it is.

    careful: look at each file before and after, and pass over one that is not as git has just written it. Without
        that it takes a third of the time, and is right as long as nobody but git has been in the worktree.
    """
    aged = index.with_name("index.aged")
    try:
        aged.unlink(missing_ok=True)  # of an engine that was killed here
        return _age(root, index, aged, hash_size, careful)
    except OSError:
        with suppress(OSError):
            aged.unlink(missing_ok=True)
        return False


def _age(root: Path, index: Path, aged: Path, hash_size: int, careful: bool) -> bool:
    data = bytearray(index.read_bytes())
    version, count = struct.unpack_from(">II", data, 4)
    if data[:4] != b"DIRC" or version not in (2, 3):
        return False
    body = len(data) - hash_size
    if hashlib.new(_HASHES[hash_size], data[:body]).digest() != data[body:]:
        return False
    written = index.stat().st_mtime_ns // _SECOND
    young = _young(data, count, hash_size, written)  # git trusts what was written in an earlier second
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        (_age_each if careful else _age_all)(data, young, written - AGE_S, folder)
    finally:
        os.close(folder)
    data[body:] = hashlib.new(_HASHES[hash_size], data[:body]).digest()
    with open(aged, "xb") as out:
        out.write(data)
    os.replace(aged, index)
    return True


def _young(data: bytearray, count: int, hash_size: int, since: int) -> list[_Entry]:
    """The regular files among the entries that were written in the second `since` or later."""
    found: list[_Entry] = []
    flags_at, at = _HASH_AT + hash_size, 12
    for _ in range(count):
        (flags,) = _SHORT.unpack_from(data, at + flags_at)
        name_at = at + flags_at + (4 if flags & _EXTENDED else 2)
        length = flags & _LENGTH
        end = name_at + length if length < _LENGTH else data.index(b"\0", name_at)
        (mode,) = _SHORT.unpack_from(data, at + _MODE_AT + 2)
        (seconds, _nanoseconds) = _MTIME.unpack_from(data, at + _MTIME_AT)
        if mode >> 12 == _REGULAR and seconds >= since:
            found.append((at, bytes(data[name_at:end])))
        at += (end - at + 8) // 8 * 8
    return found


def _age_each(data: bytearray, entries: Sequence[_Entry], seconds: int, folder: int) -> None:
    aged = seconds * _SECOND
    for entry in entries:
        before = os.stat(entry[1], dir_fd=folder, follow_symlinks=False)
        if before.st_mtime_ns == _mtime(data, entry):
            os.utime(entry[1], ns=(before.st_atime_ns, aged), dir_fd=folder, follow_symlinks=False)
            _put(data, entry, _changed(entry, folder), seconds)


def _age_all(data: bytearray, entries: Sequence[_Entry], seconds: int, folder: int) -> None:
    """Without a look at each file. The system's clock, by which it says when it did this, only goes forward."""
    times = (seconds * _SECOND, seconds * _SECOND)
    for _at, name in entries:
        os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)
    if not entries:
        return
    first, last = _changed(entries[0], folder), _changed(entries[-1], folder)
    for entry in entries:
        # Git compares whole seconds; where it was built to compare more, it reads the file once again.
        same = first // _SECOND == last // _SECOND
        _put(data, entry, first if same else _changed(entry, folder), seconds)


def _mtime(data: bytearray, entry: _Entry) -> int:
    seconds, nanoseconds = _MTIME.unpack_from(data, entry[0] + _MTIME_AT)
    return int(seconds) * _SECOND + int(nanoseconds)


def _changed(entry: _Entry, folder: int) -> int:
    return os.stat(entry[1], dir_fd=folder, follow_symlinks=False).st_ctime_ns


def _put(data: bytearray, entry: _Entry, changed: int, seconds: int) -> None:
    _TIMES.pack_into(data, entry[0], *divmod(changed, _SECOND), seconds, 0)
