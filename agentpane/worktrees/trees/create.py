"""Making a worktree: a branch of its own, the files of its base, and the listed files that git ignores.

What fails half-way is taken back: no folder, no branch, no record stays. Where somebody has put something into it
meanwhile all of them stay, and the error says so in `details`: whoever keeps what is discarded takes it away.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.branches import free_branch
from agentpane.domain.diff import decode_path
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.temporary import delete
from agentpane.worktrees.git.config import ONE_WORKER
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner
from agentpane.worktrees.places import inside, objects_of, registered_git_dir
from agentpane.worktrees.refs import ref_files
from agentpane.worktrees.trees import begun, exclude
from agentpane.worktrees.trees.ageing import age_files
from agentpane.worktrees.trees.copying import copy_into
from agentpane.worktrees.trees.held import locked, mounted
from agentpane.worktrees.trees.identity import leave_mark, mark_of, points_to
from agentpane.worktrees.trees.leftover import holds_others
from agentpane.worktrees.values import CreatedWorktree, Repository, Worktree, WorktreePlan

Named = Callable[[str], Awaitable[object]]
BUSY = 1.5  # programs that want to run, for each core


@dataclass(frozen=True, slots=True)
class Making:
    """Whose a worktree is, what is copied into it, and what its HEAD says; None: whatever it says."""

    mark: str = ""
    copy_files: tuple[str, ...] = ()
    head: str | None = None


async def create_worktree(
    git: GitRunner, lock: asyncio.Lock, repo: Repository, plan: WorktreePlan, named: Named | None = None
) -> CreatedWorktree:
    """Make the worktree of a plan, on a new branch that starts at the plan's base.

    named: awaited before git makes a branch of another name than the plan's, which is taken.
    Raises WORKTREE_CREATION_FAILED or WORKTREE_ENV_COPY_FAILED; nothing of ours is left behind then.
    """
    async with lock:
        branch = free_branch(plan.branch, await _branches(git, repo, plan.branch))
        if named is not None and branch != plan.branch:
            await named(branch)
        path, parents = await asyncio.to_thread(_prepare, plan.path)
        made = Making(plan.mark, plan.copy_files, f"ref: refs/heads/{branch}")
        try:
            await _add(git, repo, "-b", branch, "--no-track", "--", str(path), plan.base_sha)
        except BaseException as error:
            # A branch that somebody else made in this very moment is theirs.
            ours = None if "already exists" in str(error) else branch
            await _undo(error, take_back(git, repo, path, ours, plan.base_sha, parents, made))
            raise
    try:
        return await _fill(git, repo, path, branch, plan.copy_files, plan.mark)
    except BaseException as error:
        await _undo(error, take_back(git, repo, path, branch, plan.base_sha, parents, made))
        raise


async def attach_worktree(
    git: GitRunner,
    lock: asyncio.Lock,
    repo: Repository,
    path: Path,
    branch: str,
    copy_files: tuple[str, ...] = (),
    mark: str = "",
) -> CreatedWorktree:
    """Make a worktree for a branch that exists. Raises WORKTREE_CREATION_FAILED; the branch is never touched."""
    async with lock:
        path, parents = await asyncio.to_thread(_prepare, path)
        await asyncio.to_thread(check_record, repo, path, mark)
        made = Making(mark, copy_files, f"ref: refs/heads/{branch}")
        try:
            # Twice: a record of a folder that was deleted may be there still, and may have our own lock.
            await _add(git, repo, "--force", "--force", "--", str(path), branch)
        except BaseException as error:
            await _undo(error, take_back(git, repo, path, None, "", parents, made))
            raise
    try:
        return await _fill(git, repo, path, branch, copy_files, mark)
    except BaseException as error:
        await _undo(error, take_back(git, repo, path, None, "", parents, made))
        raise


async def create_detached(
    git: GitRunner, lock: asyncio.Lock, repo: Repository, path: Path, sha: str, mark: str
) -> Worktree:
    """Make a worktree on no branch, for later: everything else goes first. Raises WORKTREE_CREATION_FAILED."""
    async with lock:
        path, parents = await asyncio.to_thread(_prepare, path)
        made = Making(mark, (), sha)
        try:
            await _add(git, repo, "--detach", "--", str(path), sha)
        except BaseException as error:
            await _undo(error, take_back(git, repo, path, None, "", parents, made))
            raise
    try:
        return (await _fill(git, repo, path, "", (), mark, gently=True)).worktree
    except BaseException as error:
        await _undo(error, take_back(git, repo, path, None, "", parents, made))
        raise


async def set_to(git: GitRunner, repo: Repository, worktree: Worktree, commit: str, gently: bool) -> None:
    """Give the worktree the files of a commit, and let them look as if they had long been there."""
    busy = gently or os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
    config = ONE_WORKER if busy else None
    reset = ("reset", "--hard", "--quiet", commit)
    await git.run(inside(repo, worktree), *reset, config=config, timeout=LONG_TIMEOUT, gently=gently)
    await _age(repo, worktree)


async def move_on(git: GitRunner, repo: Repository, ready: Worktree, commit: str) -> None:
    """The same for one on no branch that has files already, gently. Raises GitError rather than lose an edit."""
    move = ("checkout", "--quiet", "--detach", "--no-overwrite-ignore", commit, "--")
    await git.run(inside(repo, ready), *move, config=ONE_WORKER, timeout=LONG_TIMEOUT, gently=True)
    await _age(repo, ready)


async def _age(repo: Repository, worktree: Worktree) -> None:
    hash_size = 20 if repo.object_format == "sha1" else 32
    await asyncio.to_thread(age_files, worktree.path, worktree.git_dir / "index", hash_size)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Say in words what keeps our own small files beside git's record from being written."""
    try:
        yield
    except OSError as error:
        raise AgentPaneError(
            ErrorCode.WORKTREE_CREATION_FAILED,
            f"What belongs to the worktree {path} could not be written: {error.strerror or error}.",
            "Nothing was deleted. Look at the disk's free space and at who may write there, then try again.",
            {"path": str(path)},
        ) from error


def check_record(repo: Repository, path: Path, mark: str) -> None:
    """Somebody else's worktree may be known at this path while its disk is away, and ours may be locked.

    Raises WORKTREE_CREATION_FAILED.
    """
    known = registered_git_dir(repo, path)
    if known is not None and mark_of(known) != mark:
        raise AgentPaneError(
            ErrorCode.WORKTREE_CREATION_FAILED,
            f"Git has a record of another worktree at {path}, which AgentPane did not make.",
            "If that worktree is gone for good, `git worktree prune` forgets it; then try again.",
        )
    held = None if known is None else locked(Worktree(path, known, ""))
    if held is not None:
        raise AgentPaneError(
            ErrorCode.WORKTREE_CREATION_FAILED,
            f"The worktree {path} is gone from the disk and was not made again: {held.why}.",
            held.hint,
            {"path": str(path)},
        )


async def _branches(git: GitRunner, repo: Repository, branch: str) -> list[str]:
    """The branches that may be in the way of this one: all of them, where git has to be asked."""
    if ref_files.are_files(repo, await git.configuration(objects_of(repo))):
        return await asyncio.to_thread(ref_files.branches_beside, repo, branch)
    listed = await git.run(objects_of(repo), "for-each-ref", "--format=%(refname)", "refs/heads/")
    return [decode_path(line).removeprefix("refs/heads/") for line in listed.stdout.splitlines()]


def _prepare(path: Path) -> tuple[Path, tuple[Path, ...]]:
    """The path to use, and the parent folders that were made for it, innermost first."""
    if os.path.lexists(path) and not (path.is_dir() and not path.is_symlink() and not any(path.iterdir())):
        raise AgentPaneError(
            ErrorCode.WORKTREE_CREATION_FAILED,
            f"{path} exists already, so no worktree was made there.",
            "Move it away, or set another folder for worktrees in the project.",
        )
    missing: list[Path] = []
    parent = path.parent
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AgentPaneError(
            ErrorCode.WORKTREE_CREATION_FAILED,
            f"The folder {path.parent} cannot be made: {error.strerror}.",
            "Set another folder for worktrees in the project.",
        ) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):  # git drops its record of an earlier one before it finds that out
        raise AgentPaneError(
            ErrorCode.WORKTREE_CREATION_FAILED,
            f"Nothing may be written in {path.parent}, so no worktree was made there.",
            "Look at who may write there, or set another folder for worktrees in the project.",
        )
    return Path(os.path.realpath(path.parent)) / path.name, tuple(missing)


async def _add(git: GitRunner, repo: Repository, *arguments: str) -> None:
    """Record a worktree, without its files: this part is short, and needs the lock."""
    try:
        await git.run(objects_of(repo), "worktree", "add", "--quiet", "--no-checkout", *arguments)
    except GitError as error:
        raise _failed(error) from error


async def _fill(
    git: GitRunner,
    repo: Repository,
    path: Path,
    branch: str,
    copy_files: tuple[str, ...],
    mark: str,
    gently: bool = False,
) -> CreatedWorktree:
    git_dir = await asyncio.to_thread(registered_git_dir, repo, path)
    if git_dir is None:
        raise AgentPaneError(ErrorCode.WORKTREE_CREATION_FAILED, f"Git has no record of the worktree {path}.")
    with storing(path):
        await asyncio.to_thread(leave_mark, git_dir, mark)
    try:
        await set_to(git, repo, Worktree(path, git_dir, branch), "HEAD", gently)
    except GitError as error:
        raise _failed(error) from error
    if not repo.bare:
        await exclude.keep_out(git, repo, path)
    copied = await copy_into(git, repo, Worktree(path, git_dir, branch), copy_files)
    return CreatedWorktree(path, branch, git_dir, copied, mark)


async def take_back(
    git: GitRunner,
    repo: Repository,
    path: Path,
    branch: str | None,
    sha: str,
    parents: tuple[Path, ...],
    making: Making = Making(),
) -> bool:
    """Undo a creation that failed; what cannot be undone is left for `doctor` to find.

    A folder that somebody else made in this very moment does not lead to git's record, and stays. So does one that
    something is mounted in. One that somebody has put anything into stays as well, with its branch and its record,
    which says whose it is. Whether it is that.
    """
    record = await asyncio.to_thread(begun.record_at, repo, path)
    made = record is not None and await asyncio.to_thread(points_to, path) == record
    if record is not None and made:
        worktree = Worktree(path, record, branch or "", making.mark)
        if await holds_others(git, repo, worktree, making.copy_files, making.head):
            with suppress(OSError):
                await asyncio.to_thread(_mark_left, worktree)
            return True
        await asyncio.to_thread(delete, path)
        made = await asyncio.to_thread(mounted, path) is None  # git would delete it
    else:
        await asyncio.to_thread(begun.clear, path)
    if record is not None and begun.is_begun(record) and not os.path.lexists(path):
        await asyncio.to_thread(delete, record)  # git was killed, and need not be able to read what it has left
        made = False
    with suppress(GitError):
        if made:
            await git.run(objects_of(repo), "worktree", "remove", "--force", "--force", "--", str(path))
    with suppress(GitError):
        if branch is not None:
            await git.run(objects_of(repo), "update-ref", "-d", f"refs/heads/{branch}", sha)
    for parent in parents:
        with suppress(OSError):
            parent.rmdir()
    return False


def _mark_left(worktree: Worktree) -> None:
    begun.complete(worktree)
    if mark_of(worktree.git_dir) is None and worktree.mark:
        leave_mark(worktree.git_dir, worktree.mark)


async def _undo(error: BaseException, taking_back: Coroutine[object, object, bool]) -> None:
    """Take back to the end, whoever cancels; an error says what became of it."""
    left = await asyncio.shield(taking_back)
    if isinstance(error, AgentPaneError):
        error.details["left"] = left
        if not left and not error.hint.startswith("Nothing"):
            error.hint = f"Nothing was left behind. {error.hint}"


def _failed(error: GitError) -> AgentPaneError:
    what = f"{error.cause.what} " if error.cause else ""
    return AgentPaneError(
        ErrorCode.WORKTREE_CREATION_FAILED,
        f"{what}Git could not make the worktree: {error.stderr or error.message}",
        error.cause.hint if error.cause else "Look at what git says, then try again.",
        error.details,
    )
