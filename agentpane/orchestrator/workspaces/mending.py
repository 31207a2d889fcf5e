"""Worktrees that were being removed, or were to come back, when the last engine ended: what the card says is done.

A removal that was cut off half-way is taken back first, so that whatever lies in the folder goes through the recovery
bin like everything else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import projects, unsettled, worktrees
from agentpane.domain.board import Column
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.orchestrator.merging.review import Review
from agentpane.orchestrator.workspaces.settling import settle_each
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import Repository
from agentpane.worktrees.refs import left_locks
from agentpane.worktrees.refs.processes import may_be_held

LOOKS, PAUSE_S = 25, 0.2  # a git that the last engine started may still be at work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mending:
    core: Core
    workspaces: Workspaces
    review: Review

    async def run(self) -> None:
        """Settle each, before a run starts."""
        rows = await self.core.db.read(unsettled.cut_off)
        await settle_each(self.core, rows, self._settle, "stays as it is")

    async def unlock(self) -> None:
        """Remove the locks that the last engine left on refs and worktrees, once no git may hold one."""
        noted = await asyncio.to_thread(self.core.git.notes.left)
        for project in await self.core.db.read(projects.list_all):
            try:
                repository = await self.core.git.open_repository(Path(project.path))
                await self.core.git.inspection.break_own_lock(repository)
                rows = await self.core.db.read(worktrees.all_for_project, project.id)
                ours = {Path(row.git_dir) for row in rows if row.git_dir and row.status is not WorktreeStatus.REMOVED}
                # A target may be checked out in a worktree of the person's: a git of ours was at work there, too.
                theirs = {note.git_dir for note in noted if note.git_dir.parent == repository.common_dir / "worktrees"}
                locks = await self.core.git.inspection.locks(repository, sorted(ours))
                shared = await self.core.git.inspection.shared_locks(repository, sorted(theirs - ours))
                await self._unlock(left_locks.of_last_engine(locks, shared, repository, noted), repository)
            except (AgentPaneError, OSError) as error:
                log.info("the locks of %s are not looked at: %s", project.path, error)

    async def _unlock(self, left: Mapping[Path, left_locks.Seen], repository: Repository) -> None:
        """Wait for the gits at work once for all of them; what they let go of is gone then."""
        for _ in range(LOOKS):
            left = {lock: seen for lock, seen in left.items() if left_locks.seen(lock) == seen}
            if not left:
                return
            if not await asyncio.to_thread(may_be_held, repository, tuple(left)):
                for lock in left_locks.remove(left):
                    log.info("a lock that the last engine left was removed: %s", lock)
                return
            await self.core.clock.sleep(PAUSE_S)

    async def _settle(self, row: WorktreeRow) -> None:
        project = await self.core.db.read(projects.get, row.project_id)
        repository = await self.core.git.open_repository(Path(project.path))
        if row.status is WorktreeStatus.REMOVING:
            row = await self._whole_or_gone(row, repository)
        if row.task_id is None:
            if row.status is WorktreeStatus.ACTIVE:
                await self.workspaces.take_away(row, repository, "its removal was cut off")
            return
        task = await self.core.task(row.task_id)
        if task.card.column is Column.VERIFIED and row.status is WorktreeStatus.REMOVED and task.snapshot is not None:
            await self.core.git.delete_branch(repository, row.branch, task.snapshot)
        if task.card.column is Column.VERIFIED and row.status is WorktreeStatus.ACTIVE:
            await self.review.tidy(task, repository)
        elif task.card.column is Column.WAITING_APPROVAL and row.status is WorktreeStatus.REMOVED:
            await self.workspaces.bring_back(task, repository, task.snapshot or "", task.base_sha or "")
        await self.core.announce_task(task.card.id, counts=False)

    async def _whole_or_gone(self, row: WorktreeRow, repository: Repository) -> WorktreeRow:
        """The row of a removal that was cut off: the worktree is whole again, or nothing of it was left to remove."""
        now = self.core.clock.now()
        if await self.core.git.put_back(repository, as_worktree(row)):
            return await self.core.db.write(worktrees.set_fields, row.id, now, status=WorktreeStatus.ACTIVE)
        gone = await self.core.db.write(
            worktrees.set_fields, row.id, now, status=WorktreeStatus.REMOVED, removed_at=now
        )
        told = {"path": row.path, "branch": row.branch, "reason": "its removal was cut off"}
        entry = self.core.record(
            "worktree.remove", row.project_id, actor="engine", task_id=row.task_id, input=dict(told)
        )
        await self.core.audit(entry)
        return gone
