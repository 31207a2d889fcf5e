"""Taking back a removal that was cut off between the renaming of a folder and that of git's record of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agentpane.worktrees.trees.identity import points_to, why_no_record_of_ours, why_not_its_folder
from agentpane.worktrees.trees.remove import left_in_trash, put_home
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
                put_home(folder, worktree.path)
                break
    return worktree.path.is_dir() and why_not_its_folder(worktree.path, worktree) is None


def _trash_of(repo: Repository, worktree: Worktree) -> Iterator[Path]:
    yield from left_in_trash(repo)
    with suppress(OSError):
        yield from sorted(worktree.path.parent.glob(".agentpane-trash-*"))
