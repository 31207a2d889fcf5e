"""Keeping the worktrees that lie inside a repository's checkout out of its own `git status`."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.files import read_regular
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.places import checkout_of
from agentpane.worktrees.trees.identity import mark_of, points_to
from agentpane.worktrees.values import Repository


async def keep_out(git: GitRunner, repo: Repository, path: Path) -> None:
    """Add one line to `.git/info/exclude` if `path` lies in the checkout and git does not ignore it yet.

    The line names the folder that worktrees are kept in, or the worktree alone where that folder also holds
    anything that is not a worktree of ours: a file that a person puts there is one that git has to show.
    """
    if not path.is_relative_to(repo.path):
        return
    relative = path.relative_to(repo.path)
    place = checkout_of(repo)
    others = ("ls-files", "--others", "--exclude-standard", "--directory", "-z", "--", str(relative))
    if not (await git.run(place, *others)).stdout:
        return
    alone = relative.parent == Path(".") or await asyncio.to_thread(_is_shared, repo, path)
    if not alone:  # what is tracked may be gone from the disk
        alone = bool((await git.run(place, "ls-files", "-z", "--", str(relative.parent))).stdout)
    await asyncio.to_thread(_append, _file(repo), _line(relative if alone else relative.parent))


def follow(repo: Repository, former: Path, path: Path) -> None:
    """Name a worktree that was renamed as well, where the line in `.git/info/exclude` names it alone. Blocks."""
    if repo.bare or not path.is_relative_to(repo.path):
        return
    try:
        lines = read_regular(_file(repo)).splitlines(keepends=True)
    except OSError:
        return
    if os.fsencode(_line(former.relative_to(repo.path))) in lines:
        _append(_file(repo), _line(path.relative_to(repo.path)))


def _is_shared(repo: Repository, path: Path) -> bool:
    """Whether anything lies beside the worktree at `path` that is none of ours."""
    try:
        with os.scandir(path.parent) as entries:
            return any(entry.name != path.name and not _is_ours(repo, Path(entry.path)) for entry in entries)
    except OSError:
        return True


def _is_ours(repo: Repository, folder: Path) -> bool:
    record = points_to(folder)
    return record is not None and record.parent == repo.common_dir / "worktrees" and mark_of(record) is not None


def _file(repo: Repository) -> Path:
    return repo.common_dir / "info" / "exclude"


def _line(folder: Path) -> str:
    return f"/{_escaped(str(folder))}/\n"


def _escaped(path: str) -> str:
    """A path as a pattern that matches only itself."""
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", path)
    return re.sub(r" $", r"\\ ", pattern)


def _append(file: Path, line: str) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(file, flags, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            newline = b"" if not size or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
            os.write(descriptor, newline + line.encode("utf-8", "surrogateescape"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AgentPaneError(
            ErrorCode.WORKTREE_CREATION_FAILED,
            f"{file} cannot be written ({error.strerror}), so the worktree would show up in the repository's status.",
            "Set a folder for worktrees outside of the repository, or make that file writable.",
        ) from error
