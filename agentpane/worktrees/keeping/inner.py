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

from agentpane.domain.diff import decode_path, encode_path, parse_raw
from agentpane.domain.filemodes import SUBMODULE
from agentpane.worktrees.git.runner import GitRunner, Place
from agentpane.worktrees.keeping.contents import Listing
from agentpane.worktrees.keeping.exact import beyond_a_link


@dataclass(frozen=True, slots=True)
class Inner:
    """What lies in the folders that are kept whole, and where in the worktree repositories lie, submodules too."""

    files: frozenset[str]
    repositories: tuple[str, ...]
    closed: bool  # there are folders that cannot be looked into


async def forget_pointers(git: GitRunner, place: Place, index: Path, base: str, start: str) -> None:
    """Take out of `index`, which holds `start`, the repositories made here of which a commit holds the bare pointer.

    base: the commit that the work is done on; its submodules stay, and so does one that git has checked out. What lies
    in the folder is then seen as what it is: a repository, or files.
    """
    if base == start:
        return
    shape = ("diff-tree", "-r", "--raw", "-z", "--no-abbrev", "--no-renames", "--ignore-submodules=none")
    changed = parse_raw((await git.run(place, *shape, base, start)).stdout)
    pointers = [change.path for change in changed if change.new_mode == SUBMODULE and change.old_mode != SUBMODULE]
    made = await asyncio.to_thread(_made_here, place.work_tree, pointers)
    if made:
        names = b"".join(encode_path(path) + b"\0" for path in made)
        await git.run(place, "update-index", "--force-remove", "-z", "--stdin", stdin=names, index=index)


def _made_here(root: Path | None, paths: Sequence[str]) -> list[str]:
    """Those of the paths at which lies what git has not checked out as a submodule."""
    found: list[str] = []
    if root is None:
        return found
    for path in paths:
        whole = root / path
        pointer = whole / ".git"
        if beyond_a_link(root, f"{path}/.git") or not whole.is_dir() or not os.listdir(whole):
            continue
        if pointer.is_symlink() or not pointer.is_file():
            found.append(path)
    return found


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
