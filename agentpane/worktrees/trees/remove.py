"""Taking a worktree away: at once for whoever looks, while its files are deleted in the background.

Only what `identity` finds to be ours is ever touched.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentpane.domain.diff import decode_path, split_z
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.runner import GitError, GitRunner
from agentpane.worktrees.places import checkouts, objects_of, recorded_path
from agentpane.worktrees.refs import ref_files
from agentpane.worktrees.repository import branch_tip
from agentpane.worktrees.trees.held import held_by
from agentpane.worktrees.trees.identity import points_to, why_not_its_folder, why_not_ours
from agentpane.worktrees.values import ListedWorktree, Repository, Worktree

_NAME = re.compile(r"[0-9a-f]{16}")
_SECOND = 1_000_000_000
_FILES_CLOCK = 5  # CLOCK_REALTIME_COARSE, by which Linux writes down the times of files
_TICK = 20_000_000  # elsewhere that clock may be so many nanoseconds late


def clock_of_files() -> int:
    """A time that is not after any that a file gets from here on, in nanoseconds."""
    return time.clock_gettime_ns(_FILES_CLOCK) if sys.platform == "linux" else time.time_ns() - _TICK


@dataclass(frozen=True, slots=True)
class Late:
    """What to do about what is saved into a worktree after it was kept and before it is out of everybody's way.

    keep: called with the worktree, which lies in the trash by then. since: when the keeping began, in nanoseconds.
    """

    keep: Callable[[Worktree], Awaitable[None]]
    since: int = field(default_factory=clock_of_files)


async def remove_worktree(
    lock: asyncio.Lock,
    repo: Repository,
    worktree: Worktree,
    late: Late | None = None,
) -> tuple[Path, ...]:
    """Take the worktree away by two renames, however many files it holds; returns the folders left to delete.

    Raises WORKTREE_REMOVAL_FAILED, also where something holds it; and what `late` raises. What was not done then is as
    it was.
    """
    async with lock:
        why = await asyncio.to_thread(why_not_ours, repo, worktree)
        if why is not None:
            raise _failed(worktree.path, why)
        held = await asyncio.to_thread(held_by, worktree)
        if held is not None:
            raise held.failure(worktree.path)
        folder = await asyncio.to_thread(_to_trash, repo, worktree)
        try:
            there = replace(worktree, path=folder or worktree.path)
            if late is not None and await asyncio.to_thread(_saved_since, there, late.since):
                await late.keep(there)
            record = await asyncio.to_thread(_record_to_trash, repo, worktree)
        except BaseException:
            if folder is not None:
                put_home(folder, worktree.path)
            raise
    return (record,) if folder is None else (folder, record)


def _record_to_trash(repo: Repository, worktree: Worktree) -> Path:
    record = trash_folder(repo) / secrets.token_hex(8)
    try:
        _make_trash(repo)
        os.rename(worktree.git_dir, record)
    except OSError as error:
        raise _failed(worktree.path, error.strerror or str(error)) from error
    with suppress(OSError):
        worktree.git_dir.parent.rmdir()  # as git does with the last one
    return record


def _saved_since(worktree: Worktree, since: int) -> bool:
    """Whether anything in the worktree, or in git's record of it, was written or put there at or after a time.

    The record has what is staged and committed there, of which the folder may show nothing.
    """
    with suppress(OSError):  # the time at which its status changed is the one of its renaming
        if _is_since(worktree.path.stat().st_mtime_ns, since):
            return True
    folders = [os.fspath(worktree.path), os.fspath(worktree.git_dir)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if _is_since(entry.stat(follow_symlinks=False).st_ctime_ns, since):
                    return True
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return False


def _is_since(at: int, since: int) -> bool:
    """Where times are whole seconds, all of the second counts."""
    return at >= (since if at % _SECOND else since // _SECOND * _SECOND)


def put_home(folder: Path, home: Path) -> None:
    """Put what was renamed into the trash back. Raises WORKTREE_REMOVAL_FAILED; it stays in the trash then."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, home)
    except OSError as error:
        raise AgentPaneError(
            ErrorCode.WORKTREE_REMOVAL_FAILED,
            f"The removal of {home} was cut off, and what is left of it could not be put back: {error.strerror}.",
            f"Nothing was deleted; it lies in {folder}. `agentpane doctor --fix` tries again.",
            {"path": str(home)},
        ) from error


def _to_trash(repo: Repository, worktree: Worktree) -> Path | None:
    """Rename the folder out of the way, onto the same disk; None when it is gone already.

    What was renamed is looked at once more: the folder may have been replaced since the first look.
    """
    trash = _renamed(repo, worktree.path)
    why = None if trash is None else why_not_its_folder(trash, worktree)
    if trash is not None and why is not None:
        put_home(trash, worktree.path)
        raise _failed(worktree.path, why)
    return trash


def _renamed(repo: Repository, path: Path) -> Path | None:
    if not os.path.lexists(path):
        return None
    name = secrets.token_hex(8)
    bin_ = trash_folder(repo)
    try:
        _make_trash(repo)
        os.rename(path, bin_ / name)
        return bin_ / name
    except OSError:
        beside = path.with_name(f".agentpane-trash-{name}")
    try:
        os.rename(path, beside)
    except OSError as error:
        raise _failed(path, error.strerror or str(error)) from error
    return beside


def trash_folder(repo: Repository) -> Path:
    return repo.common_dir / "agentpane" / "trash"


def _make_trash(repo: Repository) -> None:
    trash_folder(repo).mkdir(parents=True, exist_ok=True)
    if not _is_own(trash_folder(repo)):
        raise OSError(errno.ELOOP, "a link leads to the repository's trash")


def _is_own(folder: Path) -> bool:
    return os.path.realpath(folder) == str(folder)


def left_in_trash(repo: Repository) -> tuple[Path, ...]:
    """The folders that were put into the trash; none where a link leads there, and none by another name."""
    if not _is_own(trash_folder(repo)):
        return ()
    try:
        with os.scandir(trash_folder(repo)) as entries:
            ours = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return ()
    return tuple(trash_folder(repo) / name for name in ours if _NAME.fullmatch(name))


def is_done_with(repo: Repository, folder: Path) -> bool:
    """Whether a folder in the trash may be deleted; not one whose removal was cut off, and may be taken back."""
    back = points_to(folder)
    record = None if back is None else repo.common_dir / "worktrees" / back.name
    home = None if record is None else recorded_path(repo, record)
    return home is None or points_to(home) == record


async def delete_branch(git: GitRunner, repo: Repository, branch: str, expected: str) -> None:
    """Delete a branch of ours that names `expected` and is checked out nowhere. Raises WORKTREE_REMOVAL_FAILED."""
    tip = await branch_tip(git, repo, branch)
    if tip is None:
        return
    held = await asyncio.to_thread(checkouts, repo, branch)
    if held:
        raise AgentPaneError(
            ErrorCode.WORKTREE_REMOVAL_FAILED,
            f"The worktree is gone, but its branch {branch} is checked out in {held[0].path} and was kept.",
            "Delete the branch with git when nothing needs it there.",
        )
    files = ref_files.are_files(repo, await git.configuration(objects_of(repo)))
    if files and await asyncio.to_thread(ref_files.delete_branch, repo, branch, expected):
        return
    try:
        await git.run(objects_of(repo), "update-ref", "-d", f"refs/heads/{branch}", expected)
    except GitError as error:
        moved = await branch_tip(git, repo, branch) != expected
        why = "has changed" if moved else f"could not be deleted ({error.stderr})"
        hint = "Look at what was committed there, then delete the branch with git."
        raise AgentPaneError(
            ErrorCode.WORKTREE_REMOVAL_FAILED,
            f"The worktree is gone, but its branch {branch} {why} and was kept.",
            hint if moved or error.cause is None else f"{error.cause.hint} Then delete the branch with git.",
            error.details,
        ) from error


def _failed(path: Path, why: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.WORKTREE_REMOVAL_FAILED,
        f"{path} was not removed: {why}.",
        "Nothing was deleted.",
        {"path": str(path)},
    )


async def list_worktrees(git: GitRunner, repo: Repository) -> tuple[ListedWorktree, ...]:
    """Every work tree that git lists for the repository, the main one first."""
    listed = await git.run(objects_of(repo), "worktree", "list", "--porcelain", "-z")
    found: list[ListedWorktree] = []
    about: dict[str, str] = {}
    for record in split_z(listed.stdout):
        if record:
            key, _, value = decode_path(record).partition(" ")
            about[key] = value
        elif about:
            found.append(_listed(about))
            about = {}
    return tuple([*found, _listed(about)] if about else found)


def _listed(about: dict[str, str]) -> ListedWorktree:
    branch = about.get("branch")
    return ListedWorktree(
        Path(about["worktree"]),
        about.get("HEAD"),
        branch.removeprefix("refs/heads/") if branch else None,
        "prunable" in about,
        "locked" in about,
    )
