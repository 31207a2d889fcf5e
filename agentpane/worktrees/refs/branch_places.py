"""Where a branch's commit is written down, so that the place can be watched and read without starting git.

Reads the files of the repository that a person has named; nothing of a worktree is followed. For a repository that is
not there it says which folder to look at until it is back.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SYMBOLIC_DEPTH = 5  # how often a branch may be another name of a branch, as for git

Folder = tuple[str, int, int]  # its path, device and inode: a folder made anew at the same path is another one


@dataclass(frozen=True, slots=True)
class BranchPlaces:
    """folders: those to watch, each for its own entries, not for what lies deeper.

    telling: the paths whose change may mean that the branch has moved, or that there is something else to watch.
    mark: differs whenever the branch is at another commit, and perhaps more often; None where no such branch can be
        read, because it is gone, or the repository is.
    """

    folders: frozenset[Folder]
    telling: frozenset[str]
    mark: str | None


def branch_places(path: Path, branch: str) -> BranchPlaces:
    """Look at the repository at `path`. Raises nothing for one that is gone, or cannot be read."""
    common = _common_dir(path)
    if common is None:
        return BranchPlaces(_folders((_nearest(path), _nearest(path.parent))), _up_to(path / ".git"), None)
    named = common / "refs" / "heads" / branch
    branch = _followed(common, branch)
    ref = common / "refs" / "heads" / branch
    tables, packed = common / "reftable", common / "packed-refs"
    inside = [
        folder for folder in (common, *_between(common, named), *_between(common, ref), tables) if folder.is_dir()
    ]
    # The folder above tells when the repository itself is moved away or comes back.
    above = {_nearest(path.parent), _nearest((common.parent if common.name == ".git" else common).parent)}
    telling = _up_to(ref) | _up_to(named) | _up_to(path) | {str(packed), str(tables), str(tables / "tables.list")}
    return BranchPlaces(_folders((*inside, *above)), telling, _mark(ref, packed, tables / "tables.list", branch))


def _common_dir(path: Path) -> Path | None:
    """The folder that holds the refs. `path` may be a checkout, a bare repository or a linked worktree."""
    dot = path / ".git"
    if dot.is_dir():
        git_dir = dot
    elif dot.is_file():
        git_dir = path / _read(dot).removeprefix("gitdir: ").strip()
    elif (path / "HEAD").is_file() and (path / "objects").is_dir():
        git_dir = path
    else:
        return None
    common = Path(os.path.realpath(git_dir / _read(git_dir / "commondir").strip()))
    return common if (common / "HEAD").is_file() else None


def _followed(common: Path, branch: str) -> str:
    """The branch that this one is another name of, if it is one."""
    for _ in range(SYMBOLIC_DEPTH):
        said = _read(common / "refs" / "heads" / branch)
        if not said.startswith("ref: refs/heads/"):
            break
        branch = said.removeprefix("ref: refs/heads/").strip()
    return branch


def _mark(ref: Path, packed: Path, tables: Path, branch: str) -> str | None:
    """What the branch's file says, and when that was written: a branch that went away and back has moved too."""
    if (of_tables := _read(tables)) != "":
        return of_tables  # which of its refs has moved is not for us to read
    if (loose := _read(ref).strip()) != "":
        return f"{loose} {_written(ref)}"
    name = f" refs/heads/{branch}"
    line = next((line for line in _read(packed).splitlines() if line.endswith(name) and line[0] != "#"), None)
    return None if line is None else f"{line} {_written(packed)}"


def _written(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _between(folder: Path, file: Path) -> Iterator[Path]:
    """The folders below `folder` on the way to `file`, from the top."""
    for part in file.relative_to(folder).parts[:-1]:
        folder = folder / part
        yield folder


def _up_to(path: Path) -> frozenset[str]:
    return frozenset(map(str, (path, *path.parents)))


def _nearest(path: Path) -> Path:
    """The folder itself, or the first one above it that is there."""
    return next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))


def _folders(paths: Iterable[Path]) -> frozenset[Folder]:
    found: set[Folder] = set()
    for path in paths:
        try:
            about = path.stat()
        except OSError:
            continue
        if stat.S_ISDIR(about.st_mode):
            found.add((str(path), about.st_dev, about.st_ino))
    return frozenset(found)


def _read(path: Path) -> str:
    """The text of a regular file; empty where there is none. A pipe that was put in its place is not waited for."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read().decode("utf-8", "surrogateescape") if regular else ""
    except OSError:
        return ""
