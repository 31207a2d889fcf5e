"""Copying the env file and the listed ignored files from the person's checkout into a fresh worktree.

Never reads outside of the checkout and never writes outside of the worktree, whatever links lie in either.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from agentpane.domain.diff import decode_path, display_path, split_z
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.places import inside
from agentpane.worktrees.values import Repository, Worktree


async def copy_into(git: GitRunner, repo: Repository, worktree: Worktree, listed: tuple[str, ...]) -> tuple[str, ...]:
    """Copy the listed files of the person's checkout into a worktree that was just laid out; see `copy_listed`.

    Tracked files among them are replaced; what else somebody has put there meanwhile stays.
    """
    if repo.bare or not listed:
        return ()
    tracked: frozenset[str] = frozenset()
    there = [name for name in listed if os.path.lexists(worktree.path / _inner(name))]
    if there:
        known = await git.run(inside(repo, worktree), "ls-files", "-z", "--", *there)
        tracked = frozenset(decode_path(name) for name in split_z(known.stdout))
    return await asyncio.to_thread(copy_listed, repo.path, worktree.path, listed, tracked)


def copy_listed(
    source_root: Path, target_root: Path, listed: tuple[str, ...], over: Collection[str] | None = None
) -> tuple[str, ...]:
    """Copy the files and folders `listed`, with their modes; returns those that exist in the source.

    over: the files that are replaced where they are in the target, and no others; None: any.
    A missing one is no error. Raises WORKTREE_ENV_COPY_FAILED for a path that leads out, or a failing disk.
    """
    copied: list[str] = []
    for name in listed:
        path = _inner(name)
        if not os.path.lexists(source_root / path):
            continue
        source = Path(os.path.realpath(source_root / path))
        if not source.is_relative_to(os.path.realpath(source_root)):
            raise _failed(name, "it leads out of the repository through a link")
        if not source.exists():
            continue
        try:
            _copy(source, target_root, path, over)
        except OSError as error:
            raise _failed(name, error.strerror or str(error)) from error
        copied.append(str(path))
    return tuple(copied)


def _inner(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0] == ".git":
        raise _failed(name, "it is not a path inside of the repository")
    return path


def _copy(source: Path, target_root: Path, path: PurePosixPath, over: Collection[str] | None) -> None:
    if not source.is_dir():
        _copy_file(source, target_root, path, over)
        return
    for folder, folders, files in os.walk(source):
        inner = PurePosixPath(folder).relative_to(source)
        if ".git" in folders:
            folders.remove(".git")
        with open_folder(target_root, path / inner):
            pass
        for entry in [*files, *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
            _copy_file(Path(folder, entry), target_root, path / inner / entry, over)


def _copy_file(source: Path, target_root: Path, path: PurePosixPath, over: Collection[str] | None) -> None:
    """Copy one file; a link is made anew, not followed."""
    replaces = over is None or str(path) in over
    with open_folder(target_root, path.parent) as parent:
        name = f".agentpane-{os.getpid()}-{path.name[:100]}" if replaces else path.name
        try:
            if _make_like(source, name, parent) and replaces:
                os.rename(name, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        except FileExistsError:
            if replaces:
                raise
            return  # it is somebody's
        except OSError:
            with suppress(OSError):
                if replaces:
                    os.unlink(name, dir_fd=parent)
            raise


def _make_like(source: Path, name: str, folder: int) -> bool:
    """Make a new file or link that is like another. False for a socket, a device or a pipe: no worktree needs one."""
    kind = source.lstat().st_mode
    if stat.S_ISLNK(kind):
        os.symlink(os.readlink(source), name, dir_fd=folder)
    elif stat.S_ISREG(kind):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        read = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with (
            os.fdopen(read, "rb") as original,
            os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as copy,
        ):
            shutil.copyfileobj(original, copy, 1024 * 1024)
            os.fchmod(copy.fileno(), stat.S_IMODE(kind))
    else:
        return False
    return True


@contextmanager
def open_folder(root: Path, path: PurePosixPath) -> Iterator[int]:
    """A folder inside `root`, made where it is missing and opened step by step, so that no link is followed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open(root, flags)
    try:
        for part in path.parts:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=current)
            inner = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = inner
        yield current
    finally:
        os.close(current)


def _failed(name: str, why: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.WORKTREE_ENV_COPY_FAILED,
        f"{display_path(name)} could not be copied into the worktree: {why}.",
        "Correct the project's env file or its list of ignored files, then start the task again.",
        {"path": display_path(name)},
    )
