"""Whether a worktree whose making failed holds anything besides what the making has put there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from agentpane.domain.diff import decode_path, split_z
from agentpane.errors import AgentPaneError
from agentpane.worktrees.git.files import read_line
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.places import inside
from agentpane.worktrees.trees import begun
from agentpane.worktrees.trees.folding import without_file
from agentpane.worktrees.values import Repository, Worktree

_CLOSED = b"could not open directory"


async def holds_others(
    git: GitRunner, repo: Repository, worktree: Worktree, copied: Collection[str], head: str | None
) -> bool:
    """Whether there is anything in it that neither git nor the copying put there, or git's record of it says more.

    Where that cannot be found out, there may be. A file that git has begun to write is git's.
    copied: the files and folders that are copied from the person's checkout, which may have begun.
    head: what its HEAD was made to say; None: whatever it says.
    """
    try:
        if await asyncio.to_thread(_is_empty, worktree):
            return False
        if begun.is_begun(worktree.git_dir) or head not in {None, read_line(worktree.git_dir / "HEAD")}:
            return True
        place = inside(repo, worktree)
        if await asyncio.to_thread((worktree.git_dir / "index").exists):
            found = await _not_laid_out(git, place)
            return found is None or not await asyncio.to_thread(_are_copies, repo, worktree, found, copied)
        return await _beyond_head(git, place)
    except (AgentPaneError, OSError):
        return True


def _is_empty(worktree: Worktree) -> bool:
    return set(os.listdir(worktree.path)) <= {".git"} and not (worktree.git_dir / "index").exists()


async def beyond_index(git: GitRunner, place: Place, index: Path | None = None) -> list[str]:
    """What differs from HEAD, as git's status tells it with its two letters; every file that git ignores counts.

    index: another than the worktree's own.
    A folder that git may not look into counts as well, without a name.
    """
    shape = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignored", "--no-renames")
    listed = await git.run(place, *shape, index=index, timeout=LONG_TIMEOUT)
    records = [decode_path(record) for record in split_z(listed.stdout)]
    shared = await without_file(git, place, index, [record[3:] for record in records if record[1] in "MDT"])
    records = [record for record in records if record[0] != " " or record[3:] not in shared]
    return [*records, "?? "] if _CLOSED in listed.stderr else records


def is_beginning(file: Path, wanted: bytes) -> bool:
    """Whether a file holds the beginning of what is wanted there, and no more."""
    if file.stat().st_size >= len(wanted):
        return False
    with file.open("rb") as opened:
        return wanted.startswith(opened.read(len(wanted)))


async def _not_laid_out(git: GitRunner, place: Place) -> list[str] | None:
    """The files that git did not lay out as they are; None where something is staged."""
    records = await beyond_index(git, place)
    if any(record[0] not in " ?!" for record in records):
        return None
    return [record[3:] for record in records if record[:2] != " D"]


async def _beyond_head(git: GitRunner, place: Place) -> bool:
    """Whether there is more than what git has laid out, where it has not come to write that down."""
    async with git.scratch() as folder:
        index = folder / "index"
        await git.run(place, "read-tree", "HEAD", index=index)
        records = await beyond_index(git, place, index)
    for record in records:
        if record[:2] != " D" and not (record[:2] == " M" and await _is_cut_off(git, place, record[3:])):
            return True
    return False


async def _is_cut_off(git: GitRunner, place: Place, path: str) -> bool:
    """Whether git was cut off in the midst of writing a file of its HEAD."""
    assert place.work_tree is not None
    file = place.work_tree / path
    if file.is_symlink() or not file.is_file():
        return False
    wanted = await git.run(place, "cat-file", "blob", f"HEAD:{path}")
    return await asyncio.to_thread(is_beginning, file, wanted.stdout)


def _are_copies(repo: Repository, worktree: Worktree, paths: Collection[str], copied: Collection[str]) -> bool:
    """Whether each of the files is one that was copied, or is what there is of it as yet."""
    listed = [PurePosixPath(name) for name in copied]
    return all(
        any(PurePosixPath(path).is_relative_to(name) for name in listed)
        and not repo.bare
        and _is_copy(repo.path / path, worktree.path / path)
        for path in paths
    )


def _is_copy(source: Path, made: Path) -> bool:
    with suppress(OSError):
        if made.is_symlink():
            return source.is_symlink() and os.readlink(source) == os.readlink(made)
        if source.is_file() and made.is_file():
            return all(source_part.startswith(part) for source_part, part in _parts(source, made))
    return False


def _parts(source: Path, made: Path) -> Iterator[tuple[bytes, bytes]]:
    with source.open("rb") as original, made.open("rb") as copy:
        while part := copy.read(1024 * 1024):
            yield original.read(len(part)), part
