"""What a worktree's own index says, read from a copy: git's record of what is staged there, and of what it left out.

A file that git itself has left out of a worktree (`git sparse-checkout`, the mark skip-worktree) and that is not on
disk is not deleted: it is as that index has it. One that is on disk counts by its content, whatever its mark.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from agentpane.domain.diff import decode_path, encode_path, split_z
from agentpane.worktrees.git.runner import GitError, GitRunner, Place
from agentpane.worktrees.keeping.ground import Ground

Entry = tuple[str, str]  # mode and object


def copy_index(place: Place, index: Path) -> bool:
    """Copy the worktree's own index, through no link. Raises OSError; returns False where no file lies there."""
    descriptor = os.open(place.git_dir / "index", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as source, open(index, "wb") as copy:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return False
        shutil.copyfileobj(source, copy, 1024 * 1024)
        copy.flush()  # what is written later would make it young again
        # Git compares a file's time with the index's own to know whether it can be trusted.
        os.utime(index, ns=(about.st_atime_ns, about.st_mtime_ns))
    return True


async def has_marks(git: GitRunner, place: Place, index: Path) -> bool:
    """Whether an index has a mark that hides a file from git: assume-unchanged or skip-worktree."""
    listed = await git.run(place, "ls-files", "-v", "-z", index=index)
    return any(record[:1] == b"S" or record[:1].islower() for record in listed.stdout.split(b"\0"))


async def left_out(git: GitRunner, place: Place, paths: Iterable[str]) -> Mapping[str, Entry]:
    """Those of these paths that are not on disk because git has left them out, as the worktree's own index has them."""
    absent = await asyncio.to_thread(_absent, place.work_tree, paths)
    if not absent:
        return {}
    async with git.scratch() as folder:
        with suppress(OSError, GitError):
            if await asyncio.to_thread(_copy_that_may_mark, place, folder / "index"):
                listed = await git.run(place, "ls-files", "--stage", "-v", "-z", index=folder / "index")
                return await asyncio.to_thread(_marked, listed.stdout, absent)
    return {}


def _copy_that_may_mark(place: Place, index: Path) -> bool:
    """Copy the own index, and say whether it may leave files out: version 2 has no room for that mark."""
    if not copy_index(place, index):
        return False
    with open(index, "rb") as copy:
        return copy.read(8) != b"DIRC\0\0\0\2" or any(place.git_dir.glob("sharedindex.*"))


def _absent(root: Path | None, paths: Iterable[str]) -> frozenset[str]:
    """Those where nothing lies, nor anything in the place of a folder on the way."""
    if root is None:
        return frozenset()
    ground = Ground(root)
    return frozenset(path for path in paths if ground.barrier(path) is None and ground.about(path) is None)


def _marked(listed: bytes, wanted: frozenset[str]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for record in split_z(listed):  # `TAG MODE OBJECT STAGE\tPATH`
        about, _, name = record.partition(b"\t")
        if about[:1] in b"Ss" and (path := decode_path(name)) in wanted:
            _, mode, sha, _ = about.decode("ascii").split(" ")
            found[path] = mode, sha
    return found


async def put(git: GitRunner, place: Place, index: Path, entries: Mapping[str, Entry]) -> None:
    """Let these paths be in the private `index` as the worktree's own has them."""
    lines = b"".join(f"{mode} {sha}\t".encode() + encode_path(path) + b"\0" for path, (mode, sha) in entries.items())
    if lines:
        await git.run(place, "update-index", "--add", "--replace", "-z", "--index-info", stdin=lines, index=index)


async def mark_left_out(git: GitRunner, place: Place, index: Path, paths: Iterable[str]) -> None:
    """Mark those of these paths that are in `index` and still not on disk as left out, for it to become the own one."""
    absent = await asyncio.to_thread(_absent, place.work_tree, paths)
    if absent:
        listed = await git.run(place, "ls-files", "-z", index=index)
        names = b"".join(name + b"\0" for name in split_z(listed.stdout) if decode_path(name) in absent)
        await git.run(place, "update-index", "--skip-worktree", "-z", "--stdin", stdin=names, index=index)
