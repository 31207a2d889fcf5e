"""Files of one worktree: read, and replaced as a whole. The only part of the tools that opens a file.

Paths are tuples of components below the worktree. Nothing outside it can be reached, `.git` cannot be written, and
only regular files are touched. A write goes to a new file that takes the old one's name, so that a hard
link's other names keep what they had.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentpane.errors import ErrorCode
from agentpane.orchestrator.tree.openat import open_beneath
from agentpane.orchestrator.tree.refusal import Refusal

MAX_FILE = 16 * 1024 * 1024  # bytes
CHUNK = 1024 * 1024
MAX_NAME = 4096
TEMPORARY = ".agentpane-"

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as it was at one moment. stamp: changes whenever the file does."""

    data: bytes
    mode: int
    stamp: tuple[int, ...]
    owner: tuple[int, int]


def components(worktree: Path, named: str) -> tuple[str, ...]:
    """The path that a model has named, as components below the worktree; empty for the worktree itself.

    Raises Refusal with SECURITY_PATH_OUTSIDE_WORKTREE for a path outside, VALIDATION_ERROR for what is no path.
    """
    if "\0" in named or not named or len(named) > MAX_NAME:
        what = "is empty" if not named else "holds a NUL character" if "\0" in named else "is too long"
        raise Refusal(f"The path {what}.", ErrorCode.VALIDATION_ERROR)
    try:
        os.fsencode(named)
    except UnicodeEncodeError as error:
        raise Refusal("The path holds characters that no file name has.", ErrorCode.VALIDATION_ERROR) from error
    relative = named
    if os.path.isabs(named):
        below = _below(os.path.normpath(named), (os.path.normpath(worktree), os.path.realpath(worktree)))
        if below is None:
            raise outside(named)
        relative = below
    parts = tuple(part for part in os.path.normpath(relative).split("/") if part not in ("", "."))
    if ".." in parts:
        raise outside(named)
    return parts


def outside(named: str) -> Refusal:
    return Refusal(
        f"{named} is outside the worktree. Only files of the worktree can be used; give a path below it.",
        ErrorCode.SECURITY_PATH_OUTSIDE_WORKTREE,
    )


def shown(parts: tuple[str, ...]) -> str:
    """A path for people and models: what is no UTF-8 is shown with escapes."""
    return os.fsencode("/".join(parts) or ".").decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def opened(worktree: Path) -> Iterator[int]:
    """The worktree's folder, as a descriptor."""
    try:
        root = os.open(worktree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refusal(f"The worktree cannot be opened: {error.strerror}.") from error
    try:
        yield root
    finally:
        os.close(root)


def read(root: int, parts: tuple[str, ...], *, links: bool = True, limit: int = MAX_FILE) -> FileContent:
    """The whole of a regular file. Raises Refusal in words; FileNotFoundError when there is none."""
    try:
        descriptor = open_beneath(root, parts, os.O_RDONLY | os.O_NONBLOCK, links=links)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _explained(error, parts) from error
    try:
        status = os.fstat(descriptor)
        _check_regular(status.st_mode, parts)
        if status.st_size > limit:
            raise Refusal(
                f"{shown(parts)} has {status.st_size:,} bytes, more than the {limit:,} that are read at once. "
                "Look for what you need with Grep, or cut a part out with Bash."
            )
        return FileContent(_read_all(descriptor, limit, parts), status.st_mode, _stamp(status), _owner(status))
    finally:
        os.close(descriptor)


def replace(root: int, parts: tuple[str, ...], data: bytes, before: FileContent | None) -> None:
    """Give a file this content, whole or not at all; folders on the way are made.

    before: the file as it was read, whose mode is kept; None when there must be none. Raises Refusal when that has
    changed, or when the path goes through a link or into `.git`.
    """
    check_writable(parts)
    try:
        folder = _folder(root, parts[:-1])
    except OSError as error:
        raise _explained(error, parts) from error
    try:
        _replace_in(folder, parts, data, before)
    except OSError as error:
        raise _explained(error, parts) from error
    finally:
        os.close(folder)


def check_writable(parts: tuple[str, ...]) -> None:
    if not parts:
        raise Refusal("The path names the worktree itself, which is a folder.")
    if any(part.casefold() == ".git" for part in parts):
        raise Refusal(f"{shown(parts)} belongs to git and cannot be written.", ErrorCode.SECURITY_PATH_OUTSIDE_WORKTREE)


def _replace_in(folder: int, parts: tuple[str, ...], data: bytes, before: FileContent | None) -> None:
    name, temporary = parts[-1], TEMPORARY + secrets.token_hex(8)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder
    )
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if before is not None:
                _keep_attributes(descriptor, before)
        finally:
            os.close(descriptor)
        _check_unchanged(folder, parts, before)
        if before is None:  # linking, unlike renaming, never takes the place of what came meanwhile
            _name_new(folder, temporary, name)
        else:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


def _name_new(folder: int, temporary: str, name: str) -> None:
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)  # a file system without hard links


def _keep_attributes(descriptor: int, before: FileContent) -> None:
    status = os.fstat(descriptor)
    if _owner(status) != before.owner:
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, *before.owner)
    os.fchmod(descriptor, stat.S_IMODE(before.mode) & 0o777)


def _check_unchanged(folder: int, parts: tuple[str, ...], before: FileContent | None) -> None:
    try:
        status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        status = None
    if status is not None:
        _check_regular(status.st_mode, parts)
    if (None if status is None else _stamp(status)) != (None if before is None else before.stamp):
        raise Refusal(f"{shown(parts)} was changed by something else meanwhile. Read it again; nothing was written.")


def _folder(root: int, parts: tuple[str, ...]) -> int:
    """The folder that holds the file, made where it is missing, reached without following a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return open_beneath(root, parts, flags)
    except FileNotFoundError:
        pass
    current = open_beneath(root, (), flags)
    for part in parts:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o777, dir_fd=current)
            following = open_beneath(current, (part,), flags)
        finally:
            os.close(current)
        current = following
    return current


def _read_all(descriptor: int, limit: int, parts: tuple[str, ...]) -> bytes:
    data = bytearray()
    while chunk := os.read(descriptor, CHUNK):
        data += chunk
        if len(data) > limit:
            raise Refusal(f"{shown(parts)} grows while it is read.")
    return bytes(data)


def _check_regular(mode: int, parts: tuple[str, ...]) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISLNK(mode):
        raise _through_a_link(parts)
    kind = next((words for test, words in _KINDS if test(mode)), "no regular file")
    hint = " Use Glob to list what is in it." if stat.S_ISDIR(mode) else ""
    raise Refusal(f"{shown(parts)} is {kind}, not a file.{hint}")


def _explained(error: OSError, parts: tuple[str, ...]) -> Refusal:
    if error.errno == errno.EXDEV:
        return outside(shown(parts))
    if error.errno == errno.ELOOP:
        return _through_a_link(parts)
    if error.errno == errno.ENXIO:
        return Refusal(f"{shown(parts)} is a socket or a device, not a file.")
    if error.errno == errno.EEXIST:
        return Refusal(f"{shown(parts)} was made by something else meanwhile. Read it; nothing was written.")
    return Refusal(f"{shown(parts)} cannot be used: {error.strerror}.")


def _through_a_link(parts: tuple[str, ...]) -> Refusal:
    return Refusal(
        f"{shown(parts)} is a symbolic link, or lies behind one, which is not followed here. "
        "Use the path that it leads to.",
        ErrorCode.SECURITY_PATH_OUTSIDE_WORKTREE,
    )


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _owner(status: os.stat_result) -> tuple[int, int]:
    return status.st_uid, status.st_gid


def _below(path: str, roots: tuple[str, ...]) -> str | None:
    for root in roots:
        if path == root:
            return "."
        if path.startswith(root.rstrip("/") + "/"):
            return path[len(root.rstrip("/")) + 1 :]
    return None


def is_escape(error: OSError) -> bool:
    """Did opening fail because the path leads outside, or may lead there?"""
    return error.errno in (errno.EXDEV, errno.ELOOP)
