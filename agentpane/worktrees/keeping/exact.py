"""Files stored as they are and laid out as they were: every byte, whatever filters and line endings, modes and links.

Git keeps one bit of a file's mode; the rest is written into the commit's message, a line for each file it concerns.
Nothing here follows a link.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentpane.domain.diff import FileChange, decode_path, display_path, encode_path
from agentpane.domain.filemodes import LINK, SUBMODULE
from agentpane.domain.gitpaths import MalformedGitOutputError, unquote
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.trees.copying import open_folder

AT_ONCE = 16 * 1024 * 1024  # bytes of small files that are read in one go
# Nothing of a worktree is refused for what it would mean on another system.
_ANY_NAME = {"core.protectNTFS": "false", "core.protectHFS": "false"}
_PLAIN = {True: 0o755, False: 0o644}  # executable or not: the modes that git makes by itself
_MODE = re.compile(rb"^Mode: ([0-7]{3}) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _File:
    """What lies at a path. source: what is hashed for it; None where there is nothing to store."""

    path: str
    kind: bytes
    source: bytes | None
    mode: int | None = None


async def store(
    git: GitRunner, place: Place, index: Path, scratch: Path, paths: Iterable[str], nothing: str
) -> Mapping[str, int]:
    """Put these files into the private `index` byte for byte; returns the modes of those that git would not keep.

    nothing: the name of no object, zeros as many as a name has here.
    Raises WORKTREE_REMOVAL_FAILED for a file that cannot be read.
    """
    assert place.work_tree is not None
    files, names = await asyncio.to_thread(_look, place.work_tree, scratch, tuple(paths))
    arguments = ("hash-object", "-w", "--no-filters", "--stdin-paths")
    hashed = (await git.run(place, *arguments, stdin=names, timeout=LONG_TIMEOUT)).stdout if names else b""
    lines = await asyncio.to_thread(_lines, files, hashed.split(), nothing.encode())
    if lines:
        await git.run(place, "update-index", "-z", "--index-info", stdin=lines, index=index, config=_ANY_NAME)
    return {file.path: file.mode for file in files if file.mode is not None}


def _lines(files: Sequence[_File], hashed: Sequence[bytes], nothing: bytes) -> bytes:
    """What `update-index --index-info` is told of the files, whose sources have these hashes in turn."""
    if len(hashed) != sum(file.source is not None for file in files):
        raise MalformedGitOutputError("hash-object named fewer objects than it was given")
    objects = iter(hashed)
    return b"".join(
        b"%s %s\t%s\0" % (file.kind, nothing if file.source is None else next(objects), encode_path(file.path))
        for file in files
    )


def mode_lines(modes: Mapping[str, int]) -> bytes:
    """What a commit's message says of these modes."""
    return b"".join(b"Mode: %03o %s\n" % (mode, quoted(encode_path(path))) for path, mode in sorted(modes.items()))


def _look(root: Path, scratch: Path, paths: Sequence[str]) -> tuple[list[_File], bytes]:
    """What lies at the paths, and the sources as `hash-object --stdin-paths` reads them."""
    links = scratch / "links"
    links.mkdir(exist_ok=True)
    found: list[_File] = []
    for number, path in enumerate(paths):
        try:
            about = os.lstat(root / path)
        except (FileNotFoundError, NotADirectoryError):
            found.append(_File(path, b"0", None))
            continue
        if beyond_a_link(root, path):
            continue  # what the link names is not the worktree's; the link itself is stored
        if stat.S_ISLNK(about.st_mode):
            target = links / str(number)
            target.write_bytes(os.readlink(os.fsencode(root / path)))
            found.append(_File(path, LINK.encode(), os.fsencode(target)))
        elif stat.S_ISREG(about.st_mode):
            found.append(_regular(root, path, stat.S_IMODE(about.st_mode) & 0o777))
        elif stat.S_ISDIR(about.st_mode):
            found.append(_File(path, b"0", None))  # its files are listed by themselves
    return found, b"".join(quoted(file.source) + b"\n" for file in found if file.source is not None)


def _regular(root: Path, path: str, mode: int) -> _File:
    if not os.access(root / path, os.R_OK):
        raise AgentPaneError(
            ErrorCode.WORKTREE_REMOVAL_FAILED,
            f"{display_path(path)} cannot be read, so it cannot be kept in the recovery bin. Nothing was discarded.",
            f"Make it readable: it lies in {root}. Then try again.",
            {"path": display_path(path)},
        )
    executable = bool(mode & stat.S_IXUSR)
    kind = b"100755" if executable else b"100644"
    return _File(path, kind, encode_path(path), None if mode == _PLAIN[executable] else mode)


def beyond_a_link(root: Path, path: str) -> bool:
    """Whether a folder on the way to the path is a link, so that what lies there is not the worktree's."""
    return any((root / parent).is_symlink() for parent in PurePosixPath(path).parents)


def quoted(name: bytes) -> bytes:
    """A path as git quotes it, which it reads again whatever bytes it has."""
    return b'"%s"' % b"".join(
        bytes([byte]) if 32 < byte < 127 and byte not in b'"\\' else b"\\%03o" % byte for byte in name
    )


async def modes_of(git: GitRunner, place: Place, commit: str) -> Mapping[str, int]:
    """The modes that a commit's message tells of."""
    whole = (await git.run(place, "cat-file", "commit", commit)).stdout
    message = whole.partition(b"\n\n")[2]
    return {decode_path(unquote(found[2])): int(found[1], 8) for found in _MODE.finditer(message)}


async def sizes(git: GitRunner, place: Place, blobs: Iterable[str]) -> Mapping[str, int]:
    """The sizes of these blobs. Raises MalformedGitOutputError when one is not there."""
    names = sorted(set(blobs))
    if not names:
        return {}
    asked = "".join(f"{name}\n" for name in names).encode("ascii")
    said = await git.run(place, "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked)
    return await asyncio.to_thread(_sizes, said.stdout)


def _sizes(said: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in said.decode("ascii", "replace").splitlines():
        name, _, size = line.partition(" ")
        if not size.isdigit():
            raise MalformedGitOutputError(f"the object {name} is not there")
        found[name] = int(size)
    return found


def blobs_of(changes: Iterable[FileChange]) -> list[str]:
    """The contents that the changes bring."""
    return [change.new_sha for change in changes if change.status != "D" and change.new_mode != SUBMODULE]


async def lay_out(git: GitRunner, place: Place, changes: Sequence[FileChange], modes: Mapping[str, int]) -> None:
    """Make the worktree hold what the changes lead to: first what goes, then what comes."""
    root = place.work_tree
    assert root is not None
    await asyncio.to_thread(take_away, root, [change.path for change in changes if change.status == "D"])
    coming = [change for change in changes if change.status != "D" and change.new_mode != SUBMODULE]
    known = await sizes(git, place, blobs_of(changes))
    for batch in _batches(coming, known):
        if len(batch) == 1 and known[batch[0].new_sha] > AT_ONCE:
            await _lay_large(git, place, root, batch[0], _mode(batch[0], modes))
            continue
        asked = "".join(f"{change.new_sha}\n" for change in batch).encode("ascii")
        said = await git.run(place, "cat-file", "--batch=%(objectsize)", stdin=asked, timeout=LONG_TIMEOUT)
        await asyncio.to_thread(_lay_small, root, batch, said.stdout, modes)


def _batches(changes: Sequence[FileChange], known: Mapping[str, int]) -> Iterator[list[FileChange]]:
    batch: list[FileChange] = []
    size = 0
    for change in changes:
        if batch and size + known[change.new_sha] > AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += known[change.new_sha]
    if batch:
        yield batch


def _mode(change: FileChange, modes: Mapping[str, int]) -> int:
    return modes.get(change.path, _PLAIN[change.new_mode == "100755"])


def _lay_small(root: Path, batch: Sequence[FileChange], said: bytes, modes: Mapping[str, int]) -> None:
    at = 0
    for change in batch:  # each one is `SIZE\nCONTENT\n`
        start = said.index(b"\n", at) + 1
        end = start + int(said[at:start])
        content = said[start:end]
        at = end + 1
        with _in_place_of(root, change.path) as (folder, temporary):
            if change.new_mode == LINK:
                os.symlink(content, os.fsencode(temporary), dir_fd=folder)
                continue
            with os.fdopen(_made(temporary, folder), "wb") as out:
                out.write(content)
                os.fchmod(out.fileno(), _mode(change, modes))


async def _lay_large(git: GitRunner, place: Place, root: Path, change: FileChange, mode: int) -> None:
    pieces: AsyncIterator[bytes] = git.stream(place, "cat-file", "blob", change.new_sha)
    with _in_place_of(root, change.path) as (folder, temporary), os.fdopen(_made(temporary, folder), "wb") as out:
        async for piece in pieces:
            await asyncio.to_thread(out.write, piece)
        os.fchmod(out.fileno(), mode)


def _made(name: str, folder: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=folder)


@contextmanager
def _in_place_of(root: Path, path: str) -> Iterator[tuple[int, str]]:
    """A folder and a name in it to write to; what was written takes the path's place at the end."""
    whole = PurePosixPath(path)
    with open_folder(root, whole.parent) as folder:
        temporary = f".agentpane-{os.getpid()}"
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        try:
            yield folder, temporary
            with suppress(FileNotFoundError, NotADirectoryError):  # the empty folder of a submodule
                os.rmdir(whole.name, dir_fd=folder)
            os.rename(temporary, whole.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def take_away(root: Path, paths: Iterable[str]) -> None:
    """Delete these files and links, and the folders that are empty without them."""
    for path in paths:
        whole = PurePosixPath(path)
        if beyond_a_link(root, path):
            continue
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            os.unlink(root / whole)
        with suppress(OSError):
            for parent in whole.parents[:-1]:
                os.rmdir(root / parent)
