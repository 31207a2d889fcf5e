"""Taking back a removal that was cut off between the renaming of a folder and that of git's record of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.identity import points_to, why_no_record_of_ours, why_not_its_folder
from agentpane.worktrees.remove import left_in_trash
from agentpane.worktrees.values import Repository, Worktree


def put_back(repo: Repository, worktree: Worktree) -> bool:
    """Put the folder of a worktree back from the trash; whether the worktree is whole now.

    Not when git's record of it is gone, and never over what lies at its path.
    Raises WORKTREE_REMOVAL_FAILED where its folder cannot be put back; it stays in the trash then.
    """
    if why_no_record_of_ours(repo, worktree) is not None:
        return False
    if not os.path.lexists(worktree.path):
        for folder in _trash_of(repo, worktree):
            if points_to(folder, worktree.path) == worktree.git_dir:
                _rename(folder, worktree.path)
                break
    return worktree.path.is_dir() and why_not_its_folder(worktree.path, worktree) is None


def _rename(folder: Path, home: Path) -> None:
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


def _trash_of(repo: Repository, worktree: Worktree) -> Iterator[Path]:
    yield from left_in_trash(repo)
    with suppress(OSError):
        yield from sorted(worktree.path.parent.glob(".agentpane-trash-*"))
