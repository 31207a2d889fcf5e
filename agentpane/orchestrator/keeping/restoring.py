"""Taking work out of the recovery bin: laid out as uncommitted files, where its card goes on with it, or by itself.

Nothing of it is ever committed on the way: what was ignored, or copied in, is so again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import audit, projects, recoveries, tasks, worktrees
from agentpane.domain.board import Column
from agentpane.domain.branches import recovered_branch
from agentpane.domain.diff import FileChange
from agentpane.domain.ids import ProjectId
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import invalid
from agentpane.domain.projects import Project
from agentpane.domain.recoveries import RecoveryId, RecoverySnapshot, RestoredWork
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping import relaying
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.unmade import Unmade
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.workspaces.workspace import worktree_root
from agentpane.worktrees import CreatedWorktree, Repository, WorktreePlan

FREE = frozenset({WorktreeStatus.REMOVED, WorktreeStatus.ERROR})


@dataclass(frozen=True, slots=True)
class Restoring:
    core: Core
    blobs: BlobStore
    bin: RecoveryBin

    async def restore(self, command: c.RestoreRecovery) -> RestoredWork:
        """See `commands.RestoreRecovery`."""
        kept = await self.bin.get(command.recovery)
        async with self.core.task_locks.of(kept.task_id or kept.id):
            project = await self._project(kept)
            repository = await self.core.git.open_repository(Path(project.path))
            if await self.core.git.ref_tip(repository, kept.ref) != kept.sha:
                raise invalid(
                    "recovery",
                    f"{kept.ref} is not in {project.path} any more, so there is nothing to restore.",
                    "`agentpane doctor` lists what has lost its ref. Nothing has changed.",
                )
            task = await self._free_card(kept, project, repository)
            row = await self._row(kept, project, task, repository)
            made = await self._laid_out(kept, row, task, repository)
            return await self._stored(kept, row, task, made)

    async def _project(self, kept: RecoverySnapshot) -> Project:
        """The snapshot's project, on the board or off it; one whose rows are gone may have been added once more."""

        def find(connection: projects.Connection) -> Project:
            for ref in (kept.project_id, kept.repository):
                with suppress(AgentPaneError):
                    return projects.get(connection, projects.resolve(connection, ref, archived=True))
            raise AgentPaneError(
                ErrorCode.PROJECT_NOT_FOUND,
                f"The project {kept.project} is not known any more.",
                f"Add it again, then restore: agentpane project add {kept.repository}",
            )

        return await self.core.db.read(find)

    async def _free_card(self, kept: RecoverySnapshot, project: Project, repository: Repository) -> Task | None:
        """The snapshot's card, if the work can lie in a worktree of its own again, on a branch that has not moved."""
        if kept.task_id is None or kept.project_id != project.id:
            return None
        try:
            task = await self.core.task(kept.task_id)
        except AgentPaneError:
            return None
        row = await self.core.db.read(worktrees.for_task, kept.task_id)
        off_board = task.card.column is not Column.BACKLOG or task.card.archived_at is not None
        if off_board or row is None or row.status not in FREE or row.branch != kept.branch:
            return None
        if kept.base_sha != row.base_sha:  # built on another commit of the base branch, which is not the card's work
            return None
        if await self.core.git.branch_tip(repository, kept.branch) not in {None, kept.parent}:
            return None
        listed = await self.core.git.list_worktrees(repository)
        return None if any(each.branch == kept.branch for each in listed) else task

    async def _row(
        self, kept: RecoverySnapshot, project: Project, task: Task | None, repository: Repository
    ) -> WorktreeRow:
        """The row that the worktree is made under, as `creating`: cut short, it is no worktree that a run takes up.

        It knows of no record then, and what was made is found by its path and its mark.
        """
        now = self.core.clock.now()
        if task is not None:
            row = await self.core.db.read(worktrees.for_task, task.card.id)
            assert row is not None
            await self.bin.keep_record(row, repository, "restore")
            begun = {"status": WorktreeStatus.CREATING, "path": _free_path(Path(row.path)), "git_dir": None}
            return await self.core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=now, **begun))
        branch = recovered_branch(kept.title, kept.id)
        path = _free_path(worktree_root(project, project.config) / branch.split("/", 1)[-1])
        base_sha = kept.base_sha or kept.parent
        new = worktrees.NewWorktree(project.id, None, branch, kept.base_branch, base_sha, path, kept.title)
        return await self.core.db.write(worktrees.create, new, now)

    async def _laid_out(
        self, kept: RecoverySnapshot, row: WorktreeRow, task: Task | None, repository: Repository
    ) -> CreatedWorktree:
        """Make the worktree and lay the work out; what cannot be done whole is taken back."""
        git = self.core.git
        new_branch = await git.branch_tip(repository, row.branch) is None
        try:
            if task is None:
                plan = WorktreePlan(Path(row.path), row.branch, kept.parent, (), row.id)
                made = await git.create_worktree(repository, plan, partial(relaying.named, self.core, row))
            else:
                await git.restore_branch(repository, row.branch, kept.parent)
                made = await git.attach_worktree(repository, Path(row.path), row.branch, (), row.id)
            await git.lay_out_recovery(repository, made.worktree, kept.parent, kept.sha)
        except BaseException as error:
            words = error.message if isinstance(error, AgentPaneError) else "It was stopped while it was restored."
            before = {each.id for each in await self.core.db.read(recoveries.for_project, row.project_id)}
            left = await Unmade(self.core, self.bin).settle(row, repository, kept.parent if new_branch else None)
            with suppress(AgentPaneError, OSError):
                left = replace(left, ref=await self._beyond(kept, row, repository, before)) if left.ref else left
            now = self.core.clock.now()
            fields: dict[str, object] = {"last_error": left.noted(words)}
            if left.gone:
                fields |= {"status": WorktreeStatus.REMOVED, "removed_at": now}
            await self.core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=now, **fields))
            left.tell(error)
            raise
        return made

    async def _beyond(
        self, kept: RecoverySnapshot, row: WorktreeRow, repository: Repository, before: set[RecoveryId]
    ) -> str | None:
        """Take out of the bin what was put there of a restore that failed, and is in the restored snapshot.

        before: what was in the bin when it failed.
        Returns the ref of what is left of it, which somebody has put into the worktree meanwhile.
        """
        mine = {(each.path, each.new_mode, each.new_sha) for each in await self._changes(kept, repository)}
        ref = None
        for made in await self.core.db.read(recoveries.for_project, row.project_id):
            if made.branch != row.branch or made.id in before:
                continue
            files = {(each.path, each.new_mode, each.new_sha) for each in await self._changes(made, repository)}
            alone = made.beside.staged or made.beside.histories or made.beside.loose
            if made.parent == kept.parent and not alone and files <= mine:
                await self.bin.delete(c.DeleteRecovery(made.id), "engine")
            else:
                ref = made.ref
        return ref

    async def _changes(self, snapshot: RecoverySnapshot, repository: Repository) -> tuple[FileChange, ...]:
        return await self.core.git.diff_files(repository, snapshot.parent, snapshot.sha)

    async def _stored(
        self, kept: RecoverySnapshot, row: WorktreeRow, task: Task | None, made: CreatedWorktree
    ) -> RestoredWork:
        now = self.core.clock.now()
        told: JsonObject = {
            "state": "restored",
            "path": str(made.path),
            "branch": made.branch,
            "recovery": kept.id,
            "sha": kept.sha,
        }
        owner = ProjectId(row.project_id)
        entry = self.core.record("recovery.restore", owner, task=task.card if task else None, output=told)

        def store(connection: recoveries.Connection) -> None:
            worktrees.set_fields(
                connection,
                row.id,
                now,
                status=WorktreeStatus.ACTIVE,
                path=str(made.path),
                git_dir=str(made.git_dir),
                branch=made.branch,
                base_sha=row.base_sha,
                copied=kept.copied,
                env_copied=bool(kept.copied),
                deps_installed=False,
                init_script_run=False,
                removed_at=None,
            )
            if task is not None:
                place = {"branch": made.branch, "base_branch": row.base_branch, "base_sha": row.base_sha}
                tasks.set_fields(connection, task.card.id, now, worktree_id=row.id, **place)
            audit.append(connection, (entry,))

        await self.core.db.write(store)
        if task is not None:
            await note(self.core, self.blobs, task, None, EventKind.WORKTREE, told)
            await self.core.announce_task(task.card.id, counts=False)
        # Its branch holds the commits that the files are built on.
        beside = replace(kept.beside, commits=kept.beside.loose)
        owner_card = task.card.id if task else None
        return RestoredWork(kept.id, str(made.path), made.branch, owner_card, kept.ref, beside)


def _free_path(wanted: Path) -> str:
    """`wanted`, or the same with a number where something lies there."""
    path, number = wanted, 1
    while os.path.lexists(path):
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return str(path)
