"""Finding the repositories inside a worktree, and the files of what is kept whole there whatever git says of it.

Git names a repository only where it tracks nothing. So one is looked for in each folder that holds a tracked or a new
file, for the price of one look at a name, and on the way through everything that is walked because it is kept whole.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.diff import decode_path
from agentpane.worktrees.contents import Listing
from agentpane.worktrees.exact import beyond_a_link
from agentpane.worktrees.git import GitRunner, Place


@dataclass(frozen=True, slots=True)
class Inner:
    """What lies in the folders that are kept whole, and where in the worktree repositories lie, submodules too."""

    files: frozenset[str]
    repositories: tuple[str, ...]
    closed: bool  # there are folders that cannot be looked into


async def look(git: GitRunner, place: Place, index: Path, listing: Listing, also: Iterable[str]) -> Inner:
    """Look through a worktree whose files are listed and whose tracked ones `index` holds.

    also: files and folders that are kept whole besides repositories and the folders of submodules.
    """
    staged = await git.run(place, "ls-files", "--stage", "-z", index=index)
    return await asyncio.to_thread(_look, place.work_tree, staged.stdout, listing, tuple(also))


def _look(root: Path | None, staged: bytes, listing: Listing, also: Sequence[str]) -> Inner:
    assert root is not None
    submodules: list[str] = []
    tracked: set[bytes] = set()
    for record in staged.split(b"\0"):
        start = record.find(b"\t") + 1
        tracked.add(record[start : record.rfind(b"/", start)])
        if record.startswith(b"160000 "):
            submodules.append(decode_path(record[start:]))
    folders = {os.path.dirname(path) for path in listing.paths}.union(map(decode_path, tracked))
    files: set[str] = set()
    found: set[str] = set()
    closed = False
    for name in (*listing.nested, *submodules, *also):
        closed |= _walk(root, name, files, found)
    looked = {""}
    for folder in folders:
        while folder not in looked:
            looked.add(folder)
            if os.path.lexists(f"{root}/{folder}/.git"):
                found.add(folder)
            folder = os.path.dirname(folder)
    there = sorted(path for path in found if not beyond_a_link(root, f"{path}/.git"))
    return Inner(frozenset(files), tuple(there), closed)


def _walk(root: Path, name: str, files: set[str], repositories: set[str]) -> bool:
    """Add what lies there; links are files, git's own folders are not. Returns whether a folder stayed closed."""
    whole = root / name
    if ".." in Path(name).parts or not whole.is_relative_to(root):
        return False
    if whole.is_symlink() or whole.is_file():
        files.add(os.path.normpath(name))
        return False
    failed: list[OSError] = []
    for folder, folders, names in os.walk(whole, onerror=failed.append):
        here = os.path.relpath(folder, root)
        if here != "." and (".git" in folders or ".git" in names):
            repositories.add(here)
        links = [entry for entry in folders if os.path.islink(os.path.join(folder, entry))]
        files.update(os.path.normpath(os.path.join(here, entry)) for entry in (*names, *links) if entry != ".git")
        folders[:] = [entry for entry in folders if entry != ".git"]
    return any(not isinstance(error, FileNotFoundError | NotADirectoryError) for error in failed)
