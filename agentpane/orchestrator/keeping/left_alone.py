"""What becomes of a card's worktree that is not ours for certain, or is held: it is left where it is, and the person
is told.

Nothing is written into such a folder, and no agent runs there.
"""

from __future__ import annotations

import os

from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository, Worktree

GONE = frozenset({WorktreeStatus.REMOVED, WorktreeStatus.AWAY})
AWAY = (
    "What it holds stays where it is. When the repository is back, `agentpane doctor --fix` keeps it and takes it away."
)
MOVED = "`agentpane doctor --fix` lets the card follow it. Nothing was deleted."
FOREIGN = "Nothing was deleted. Put the worktree back where it was, or move what lies there away, then try again."


async def why_left_alone(
    core: Core, row: WorktreeRow, worktree: Worktree, repository: Repository | None
) -> AgentPaneError | None:
    """Why it can be neither kept nor taken away, worded for the person; None where it is ours, or nothing is there.

    What is ours and held stays too.

    repository: None when it is away.
    """
    if row.status in GONE or row.git_dir is None:
        return None
    if repository is None:
        return _failed(row, "its repository is away", AWAY)
    moved = await core.git.moved_to(repository, worktree)
    if moved is not None:
        return _failed(row, f"it was moved to {moved}", MOVED)
    why = await core.git.why_not_ours(repository, worktree)
    if why is not None:
        return _failed(row, why, FOREIGN) if os.path.lexists(row.path) else None
    held = await core.git.held_by(worktree)
    return None if held is None else held.failure(worktree.path)


async def check_its_folder(core: Core, row: WorktreeRow, worktree: Worktree, repository: Repository) -> None:
    """Raises WORKTREE_NOT_FOUND where something lies in a worktree's place that is not ours for certain."""
    if not os.path.lexists(row.path):
        return
    why = await core.git.why_not_ours(repository, worktree)
    if why is not None:
        raise AgentPaneError(
            ErrorCode.WORKTREE_NOT_FOUND,
            f"What lies at {row.path} is not the card's worktree: {why}. It was left alone.",
            "Move it away, then resume the card: its worktree is made again from its branch.",
            {"path": row.path},
        )


def _failed(row: WorktreeRow, why: str, hint: str) -> AgentPaneError:
    message = f"{row.path} was not removed: {why}."
    return AgentPaneError(ErrorCode.WORKTREE_REMOVAL_FAILED, message, hint, {"path": row.path})
