"""The recovery bin: what a worktree holds is kept here before anything of it is discarded.

Whoever removes, resets or begins anew goes through `keep`; nothing else makes a recovery snapshot.
"""

from __future__ import annotations

from agentpane.db import recoveries
from agentpane.db.references import new_id
from agentpane.domain.ids import TaskId
from agentpane.domain.recoveries import RecoveryId
from agentpane.domain.worktrees import WorktreeRow
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository, Worktree


class RecoveryBin:
    """Keeps recovery snapshots; each has a ref in its repository and a row in the database."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def keep(
        self, task_id: TaskId | None, row: WorktreeRow, worktree: Worktree, repository: Repository, reason: str
    ) -> str | None:
        """Keep what the worktree holds beyond its HEAD. Returns the snapshot's ref; None when there is nothing to keep.

        The worktree, its index and its branch stay as they are. Raises AgentPaneError when the files cannot be
        read or stored; whoever wanted to discard them then must not.
        """
        recovery_id = RecoveryId(new_id())
        kept = await self._core.git.recovery_snapshot(repository, worktree, recovery_id, row.copied)
        if kept is None:
            return None
        new = recoveries.NewRecovery(
            id=recovery_id, project_id=row.project_id, task_id=task_id, ref=kept.ref, sha=kept.sha, reason=reason
        )
        await self._core.db.write(recoveries.add, new, self._core.clock.now())
        return kept.ref
