"""The recovery bin: what a worktree holds is kept here before anything of it is discarded.

Whoever removes, resets or begins anew goes through `keep`; nothing else makes a recovery snapshot. A ref comes before
its row and goes before it, so that no row promises what is not there.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from agentpane.api import commands as c
from agentpane.api.events import RecoveriesChanged, RecoveriesExpiring
from agentpane.db import audit, projects, recoveries, tasks
from agentpane.domain.ids import TaskId
from agentpane.domain.recoveries import KEPT, NOTICE, RecoveryId, RecoverySnapshot
from agentpane.domain.resolving import Stage
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository, Worktree

log = logging.getLogger(__name__)
NOWHERE = frozenset({ErrorCode.PROJECT_PATH_INVALID, ErrorCode.PROJECT_NOT_A_GIT_REPO})


class RecoveryBin:
    """Keeps recovery snapshots; each has a ref in its repository and a row in the database."""

    def __init__(self, core: Core) -> None:
        self.windows: Callable[[], int] = lambda: 0  # how many would show a person what is announced
        self._core = core
        self._arrived = asyncio.Event()

    async def keep(
        self,
        task_id: TaskId | None,
        row: WorktreeRow,
        worktree: Worktree,
        repository: Repository,
        reason: str,
        also: tuple[str, ...] = (),
        leaving_for: str | None = None,
    ) -> str | None:
        """Keep what the worktree holds beyond its HEAD. Returns the snapshot's ref; None when there is nothing to keep.

        Of one whose folder is gone, what git's record of it still holds.
        also: ignored files and folders to keep besides the copied ones.
        leaving_for: the commit that the branch is about to be moved to; what it holds beyond that is kept as well.
        The worktree, its index and its branch stay as they are. Raises AgentPaneError when the files cannot be
        read or stored; whoever wanted to discard them then must not.
        """
        recovery_id = recoveries.fresh_id()
        # In the middle of a resolution the files are those of a merge, and what is not the target's is the card's.
        merging = row.merging if row.merging is not None and row.merging.stage is not Stage.PLANNED else None
        there = os.path.lexists(worktree.path)
        if there:
            kept = await self._core.git.recovery_snapshot(
                repository,
                worktree,
                recovery_id,
                (*row.copied, *also),
                onto=merging.sha if merging else None,
                whole=row.status is not WorktreeStatus.CREATING,
                began=row.base_sha,
                leaving_for=leaving_for,
            )
        else:
            merging = None
            kept = await self._core.git.record_snapshot(repository, worktree, recovery_id, row.base_sha)
        if kept is None:
            return None
        now = self._core.clock.now()

        def store(connection: recoveries.Connection) -> None:
            new = RecoverySnapshot(
                id=recovery_id,
                project_id=row.project_id,
                task_id=task_id,
                ref=kept.ref,
                sha=kept.sha,
                reason=reason,
                size_bytes=kept.size,
                created_at=now,
                expires_at=now + KEPT,
                files=kept.files,
                title=tasks.card(connection, task_id).title if task_id else "",
                project=projects.get(connection, row.project_id).name,
                repository=str(repository.path),
                branch=row.branch,
                base_branch=row.base_branch,
                base_sha=merging.sha if merging else row.base_sha,
                parent=kept.parent,
                copied=row.copied,
                beside=kept.beside,
            )
            recoveries.add(connection, new)

        await self._core.db.write(store)
        self._core.bus.publish(RecoveriesChanged(row.project_id))
        return kept.ref

    async def keep_record(self, row: WorktreeRow, repository: Repository, reason: str) -> str | None:
        """Keep what git's record of a worktree of ours still holds, before the record goes; if its folder is gone."""
        if row.git_dir is None or os.path.lexists(row.path):
            return None
        worktree = Worktree(Path(row.path), Path(row.git_dir), row.branch, row.id)
        return await self.keep(row.task_id, row, worktree, repository, reason)

    async def listed(self, command: c.ListRecoveries) -> tuple[RecoverySnapshot, ...]:
        def read(connection: recoveries.Connection) -> tuple[RecoverySnapshot, ...]:
            if command.project is None:
                return recoveries.everything(connection)
            return recoveries.for_project(connection, projects.resolve(connection, command.project, archived=True))

        found = await self._core.db.read(read)
        now = self._core.clock.now()
        if command.shown and await self._core.db.read(recoveries.any_unnoticed, now, NOTICE):
            await self._core.db.write(recoveries.notice, now, NOTICE, tuple(each.id for each in found))
            found = await self._core.db.read(read)
        return found

    async def delete(self, command: c.DeleteRecovery, actor: str = "person") -> RecoverySnapshot:
        """Take a snapshot out of the bin. Where its repository is gone, only the row is left to go."""
        kept = await self.get(command.recovery)
        try:
            await self._drop_ref(kept)
        except AgentPaneError as error:
            if error.code not in NOWHERE:
                raise
        await self._forget(kept, actor, "recovery.delete")
        return kept

    async def get(self, recovery: str) -> RecoverySnapshot:
        """The snapshot that a reference names. Raises VALIDATION_ERROR."""
        return await self._core.db.read(lambda db: recoveries.get(db, recoveries.resolve(db, recovery)))

    async def expire(self) -> tuple[RecoveryId, ...]:
        """Take out what is past its time, and announce what soon will be. Returns what went.

        What nobody has been told of stays until somebody was, for as long as the notice is given before. What lies in
        a repository that is away stays until it is back.
        """
        now = self._core.clock.now()
        gone: list[RecoveryId] = []
        for kept in await self._core.db.read(recoveries.expired, now):
            try:
                await self._drop_ref(kept)
            except AgentPaneError as error:
                log.info("recovery %s stays: %s", kept.id, error.message)
                continue
            await self._forget(kept, "engine", "recovery.expire")
            gone.append(kept.id)
        await self._announce()
        return tuple(gone)

    async def serve(self) -> None:
        """Tell each window that comes of what soon goes, unless one has been told; until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                if await self._core.db.read(recoveries.any_unnoticed, self._core.clock.now(), NOTICE):
                    await self._announce()
            except AgentPaneError as error:
                log.info("what soon leaves the bin was not announced: %s", error.message)

    def greet(self) -> None:
        """A client listens from here on."""
        if self.windows():
            self._arrived.set()

    async def _announce(self) -> None:
        now = self._core.clock.now()
        await self._core.db.write(recoveries.put_off, now, NOTICE)
        soon = await self._core.db.read(recoveries.ending, now, NOTICE)
        if soon and self.windows():
            await self._core.db.write(recoveries.notice, now, NOTICE)
            soon = await self._core.db.read(recoveries.ending, now, NOTICE)
        if soon:
            self._core.bus.publish(RecoveriesExpiring(soon))

    async def _drop_ref(self, kept: RecoverySnapshot) -> None:
        repository = await self._core.git.open_repository(Path(kept.repository))
        if await self._core.git.delete_refs(repository, {kept.ref: kept.sha}):
            raise AgentPaneError(
                ErrorCode.RESOURCE_LOCKED,
                f"{kept.ref} could not be deleted: another git is at work in {kept.repository}, or has left a lock.",
                hint="Try again in a moment. It is still in the recovery bin.",
            )

    async def _forget(self, kept: RecoverySnapshot, actor: str, act: str) -> None:
        told = {"recovery": kept.id, "ref": kept.ref, "sha": kept.sha, "reason": kept.reason}
        entry = self._core.record(act, kept.project_id, actor=actor, task_id=kept.task_id, input=told)

        def store(connection: recoveries.Connection) -> None:
            recoveries.remove(connection, kept.id)
            audit.append(connection, (entry,))

        await self._core.db.write(store)
        self._core.bus.publish(RecoveriesChanged(kept.project_id))
