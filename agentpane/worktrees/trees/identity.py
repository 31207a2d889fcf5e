"""Whether a worktree is ours: the row's path, git's record of it, the mark we left in that record, and the folder's own
pointer back all have to agree.

A folder that was made again at the same path, moved with git, copied or replaced fails at least one of the four.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agentpane.worktrees.places import head_branch, recorded_path, registered
from agentpane.worktrees.values import Repository, Worktree

MARK = "agentpane-mark"  # git keeps to itself what it does not know in a worktree's record
_LONGEST = 8_192


def leave_mark(git_dir: Path, mark: str) -> None:
    """Write down in git's record of a worktree whose it is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(git_dir / MARK, flags, 0o600), "w", encoding="ascii") as file:
        file.write(f"{mark}\n")


def mark_of(git_dir: Path) -> str | None:
    """The mark in git's record of a worktree; None where there is none."""
    return _line(git_dir / MARK)


def why_not_ours(repo: Repository, worktree: Worktree) -> str | None:
    """What does not agree, in words that follow "it was left alone: "; None when the worktree is ours.

    A folder that is not there contradicts nothing: then the record alone has to be ours.
    """
    record = why_no_record_of_ours(repo, worktree)
    return record if record is not None else why_not_its_folder(worktree.path, worktree)


def why_no_record_of_ours(repo: Repository, worktree: Worktree) -> str | None:
    """The same for git's record alone."""
    if worktree.path == repo.path:
        return "it is the repository itself"
    known = recorded_path(repo, worktree.git_dir)
    if known is None or worktree.git_dir.is_symlink():
        return f"it is not a worktree that {repo.path} has a record of"
    if known != worktree.path:
        return f"git has it at {known}"
    if not worktree.mark or mark_of(worktree.git_dir) != worktree.mark:
        return "git's record of it was not made by AgentPane"
    return None


def moved_to(repo: Repository, worktree: Worktree) -> Path | None:
    """Where a worktree of ours is, when somebody has moved it with git."""
    known = recorded_path(repo, worktree.git_dir)
    if known is None or known == worktree.path or not worktree.mark or mark_of(worktree.git_dir) != worktree.mark:
        return None
    there = Worktree(known, worktree.git_dir, worktree.branch, worktree.mark)
    return known if known.is_dir() and why_not_ours(repo, there) is None else None


def inside_of(repo: Repository, worktree: Worktree) -> tuple[Worktree, ...]:
    """The worktrees of the repository whose folders lie inside of this one."""
    within = [
        (git_dir, path)
        for git_dir, path in registered(repo)
        if path != worktree.path and path.is_relative_to(worktree.path) and path.is_dir()
    ]
    return tuple(Worktree(path, git_dir, head_branch(git_dir) or "") for git_dir, path in within)


def why_not_its_folder(path: Path, worktree: Worktree) -> str | None:
    """What speaks against the folder that lies at `path` being the worktree's own."""
    try:
        kind = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(kind):
        return "a link or a file lies in its place"
    if os.path.realpath(path) != str(path):
        return "a link leads to it"
    back = points_to(path, worktree.path)
    if back is None:
        return "the folder has no .git file that leads back to it"
    if back != worktree.git_dir:
        return f"the folder belongs to {back}"
    return None


def points_to(folder: Path, home: Path | None = None) -> Path | None:
    """Where a worktree's .git file leads; None if it is none. home: where the folder was when git wrote it."""
    text = _line(folder / ".git")
    if text is None or not text.startswith("gitdir: "):
        return None
    return Path(os.path.normpath((home or folder) / text.removeprefix("gitdir: ")))


def _line(file: Path) -> str | None:
    """What a small regular file says, without its end; a link, a pipe or anything else says nothing."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = os.read(descriptor, _LONGEST).decode("utf-8", "surrogateescape").rstrip("\r\n")
    finally:
        os.close(descriptor)
    return text or None
