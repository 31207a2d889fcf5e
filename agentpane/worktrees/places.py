"""Where a call of git is pinned to, for each thing that it may be about, and which checkout holds a branch.

Reads the files that git keeps about worktrees; follows nothing that lies inside a worktree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.files import read_line, write_new
from agentpane.worktrees.git.runner import Place
from agentpane.worktrees.values import Repository, Worktree


def objects_of(repo: Repository) -> Place:
    """For what touches objects and refs alone: no index, no checkout."""
    return Place(repo.common_dir, repo.common_dir, allowed_filters=repo.allowed_filters)


def checkout_of(repo: Repository) -> Place:
    """The person's own checkout, whose attributes say how a difference is shown; for a bare one, no checkout."""
    work_tree = None if repo.bare else repo.path
    hold_common_dir(repo.git_dir, repo.common_dir)
    return Place(repo.git_dir, repo.common_dir, work_tree, allowed_filters=repo.allowed_filters)


def differences_of(repo: Repository) -> Place:
    """For showing what differs between commits: the attributes of the person's checkout count, and no setting of the
    repository, since both its configuration and its `info/attributes` can have text shown as binary, or as nothing.
    """
    work_tree = None if repo.bare else repo.path
    return Place(repo.git_dir, repo.common_dir, work_tree, objects_alone=repo.object_format)


def inside(repo: Repository, worktree: Worktree) -> Place:
    """A worktree of ours, by its recorded git folder; every file of its commit counts.

    Raises WORKTREE_NOT_FOUND when either is not what it was.
    """
    try:
        kind = worktree.path.lstat().st_mode
    except OSError:
        kind = 0
    known = worktree.git_dir.parent == repo.common_dir / "worktrees" and (worktree.git_dir / "HEAD").is_file()
    if not stat.S_ISDIR(kind) or not known or worktree.git_dir.is_symlink():
        raise AgentPaneError(
            ErrorCode.WORKTREE_NOT_FOUND,
            f"The worktree {worktree.path} is gone, or is not the folder that was made.",
            "Its branch still holds every snapshot; resume the run to get a new worktree.",
        )
    hold_common_dir(worktree.git_dir, repo.common_dir)
    return Place(worktree.git_dir, repo.common_dir, worktree.path, allowed_filters=repo.allowed_filters, whole=True)


def point_back(git_dir: Path, folder: Path) -> None:
    """Let git's record of a worktree lead to where its folder is, in the way in which it says so already."""
    pointer, text = f"{git_dir}/gitdir", f"{folder}/.git"
    if not os.path.isabs(read_line(Path(pointer))):
        text = os.path.relpath(text, git_dir)
    right = f"{pointer}.agentpane-{os.getpid()}"
    descriptor = os.open(right, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, os.fsencode(f"{text}\n"))
    finally:
        os.close(descriptor)
    os.replace(right, pointer)


def hold_common_dir(git_dir: Path, common_dir: Path) -> None:
    """Put a rewritten `commondir` right: git looks refs up through it, whatever GIT_COMMON_DIR says."""
    pointer = git_dir / "commondir"
    if git_dir == common_dir or Path(os.path.realpath(git_dir / read_line(pointer))) == common_dir:
        return
    right = git_dir / f"commondir.agentpane-{os.getpid()}"
    write_new(right, f"{os.path.relpath(common_dir, git_dir)}\n")
    os.replace(right, pointer)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A work tree that has a branch checked out, or is in the middle of rebasing it."""

    path: Path
    git_dir: Path
    busy: bool


def checkouts(repo: Repository, branch: str) -> list[Checkout]:
    """Every existing work tree of the repository that `branch` is checked out in."""
    found: list[Checkout] = []
    for git_dir, path in _work_trees(repo):
        busy = any(
            read_line(git_dir / state / "head-name") == f"refs/heads/{branch}"
            for state in ("rebase-merge", "rebase-apply")
        )
        if (busy or head_branch(git_dir) == branch) and path.is_dir():
            found.append(Checkout(path, git_dir, busy))
    return found


def head_branch(git_dir: Path) -> str | None:
    """The branch that a git folder's HEAD names, be it as a link, as of old; None when it is detached."""
    with suppress(OSError):
        linked = os.readlink(git_dir / "HEAD")
        if linked.startswith("refs/heads/"):
            return linked.removeprefix("refs/heads/")
    head = read_line(git_dir / "HEAD")
    prefix = "ref: refs/heads/"
    return head.removeprefix(prefix).strip() if head.startswith(prefix) else None


def registered(repo: Repository) -> Iterator[tuple[Path, Path]]:
    """The git folder and the path of each linked worktree that the repository has a record of."""
    folder = repo.common_dir / "worktrees"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        pointer = read_line(folder / name / "gitdir")
        if pointer:
            yield folder / name, Path(os.path.normpath(folder / name / pointer)).parent


def recorded_path(repo: Repository, git_dir: Path) -> Path | None:
    """The path that the repository's record of a linked worktree leads to; None where that is no such record."""
    if git_dir.parent != repo.common_dir / "worktrees":
        return None
    pointer = read_line(git_dir / "gitdir")
    return Path(os.path.normpath(git_dir / pointer)).parent if pointer else None


def registered_git_dir(repo: Repository, path: Path) -> Path | None:
    """The git folder of the linked worktree at exactly this path."""
    return next((git_dir for git_dir, known in registered(repo) if known == path), None)


def git_dir_of(repo: Repository, path: Path) -> Path | None:
    """The git folder of the person's checkout at `path`; None where the repository has no record of one there.

    Raises WORKTREE_NOT_FOUND where it has one, and the checkout is away: on a disk that is not mounted, say.
    """
    if path == repo.path and not repo.bare:
        return repo.git_dir
    main = path == repo.main_checkout
    git_dir = repo.common_dir if main else registered_git_dir(repo, path)
    if git_dir is None or (path.is_dir() if main else _leads_back(path, git_dir)):
        return git_dir
    raise AgentPaneError(
        ErrorCode.WORKTREE_NOT_FOUND,
        f"The checkout {path} is away.",
        "Put it back, or mount its disk, then try again. If it is gone for good: `git worktree prune`.",
        {"path": str(path)},
    )


def _work_trees(repo: Repository) -> Iterator[tuple[Path, Path]]:
    if not repo.bare:
        if repo.git_dir == repo.common_dir:
            yield repo.common_dir, repo.path
        elif repo.main_checkout is not None:
            yield repo.common_dir, repo.main_checkout
    for git_dir, path in registered(repo):
        if _leads_back(path, git_dir):
            yield git_dir, path


def _leads_back(path: Path, git_dir: Path) -> bool:
    """Whether the folder is the worktree of that record. A record alone may name any folder of the person's."""
    pointer = path / ".git"
    if pointer.is_symlink() or not read_line(pointer).startswith("gitdir: "):
        return False
    named = os.path.join(path, read_line(pointer).removeprefix("gitdir: "))
    return os.path.realpath(named) == os.path.realpath(git_dir)
