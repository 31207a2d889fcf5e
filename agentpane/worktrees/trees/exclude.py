"""Keeping the worktrees that lie inside a repository's checkout out of its own `git status`."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.places import checkout_of
from agentpane.worktrees.values import Repository


async def keep_out(git: GitRunner, repo: Repository, path: Path) -> None:
    """Add one line to `.git/info/exclude` if `path` lies in the checkout and git does not ignore it yet.

    The line names the folder that worktrees are kept in, or the worktree alone where that folder also holds
    files of the repository.
    """
    if not path.is_relative_to(repo.path):
        return
    relative = path.relative_to(repo.path)
    place = checkout_of(repo)
    others = ("ls-files", "--others", "--exclude-standard", "--directory", "-z", "--", str(relative))
    if not (await git.run(place, *others)).stdout:
        return
    folder = relative.parent
    if folder == Path("."):
        folder = relative
    else:
        tracked = await git.run(place, "ls-files", "-z", "--", str(folder))
        if tracked.stdout:
            folder = relative
    await asyncio.to_thread(_append, repo.common_dir / "info" / "exclude", f"/{_escaped(str(folder))}/\n")


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
