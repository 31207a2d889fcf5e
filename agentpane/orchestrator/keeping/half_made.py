"""What git had made of a worktree whose row knows of no record yet, found by its path and its mark."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agentpane.db import worktrees
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository
from agentpane.worktrees.inspection import LeftRecord


async def left_of(core: Core, row: WorktreeRow, repository: Repository) -> LeftRecord | None:
    """git's record of it; None where there is none that bears its mark, or holds nothing."""
    return await core.git.inspection.left_record(repository, Path(row.path), row.id)


async def found(core: Core, row: WorktreeRow, left: LeftRecord, status: WorktreeStatus | None = None) -> WorktreeRow:
    """The row with what git had made, whose record bears the mark from here on."""
    await core.git.inspection.take_on(left)
    made = left.worktree
    fields: dict[str, object] = {"path": str(made.path), "git_dir": str(made.git_dir), "status": status or row.status}
    fields |= {"branch": made.branch or row.branch}
    return await core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=core.clock.now(), **fields))


async def with_record(core: Core, row: WorktreeRow, repository: Repository) -> WorktreeRow:
    """The row with what git had made, if it knows of nothing and there is something."""
    left = await left_of(core, row, repository) if row.git_dir is None else None
    return row if left is None else await found(core, row, left)
