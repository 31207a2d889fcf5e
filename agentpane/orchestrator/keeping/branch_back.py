"""A card's branch that somebody has deleted, made again at the last commit that it is known to have named."""

from __future__ import annotations

from pathlib import Path

from agentpane.domain.worktrees import WorktreeRow
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository, Worktree


async def branch_back(core: Core, row: WorktreeRow, repository: Repository, *also: str | None) -> str | None:
    """Make the branch of a worktree again if it is gone. Returns where; None when it is there, or no commit is known.

    Git's record of the worktree knows best, then what is given in `also`, the first that git still has.
    """
    if not row.branch or await core.git.branch_tip(repository, row.branch) is not None:
        return None
    inspection = core.git.inspection
    worktree = Worktree(Path(row.path), Path(row.git_dir or ""), row.branch, row.id)
    last = await inspection.last_head(repository, worktree) if row.git_dir else None
    for sha in (last, *also):
        if sha and await inspection.has_commit(repository, sha):
            await core.git.restore_branch(repository, row.branch, sha)
            return sha
    return None
