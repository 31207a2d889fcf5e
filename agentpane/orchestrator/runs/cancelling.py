"""Putting aside what a card has come to: its run ends, its worktree goes, and what was in it is kept in the bin."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import audit, projects, recoveries, tasks, worktrees
from agentpane.domain.audit import AuditRecord
from agentpane.domain.board import BoardEvent, Column, after
from agentpane.domain.gitpaths import display_path
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.keeping import Cancelled, Going
from agentpane.domain.limits import invalid
from agentpane.domain.projects import Project
from agentpane.domain.recoveries import RecoveryId, RecoverySnapshot
from agentpane.domain.runs import RunStatus, live_run
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents import agent_homes
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.holding import ChangedError
from agentpane.orchestrator.keeping.leaving import Leaving
from agentpane.orchestrator.runs.dispatch import Dispatcher
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import Repository


@dataclass(frozen=True, slots=True)
class Cancelling:
    """Each method holds the task's lock, as the dispatcher's do."""

    core: Core
    blobs: BlobStore
    workspaces: Workspaces
    dispatcher: Dispatcher
    leaving: Leaving

    async def cancel(self, command: c.CancelTask, position: int | None = None) -> Task:
        """As `put_back`."""
        return (await self.put_back(c.PutBack(command.task, command.confirmed, position))).task

    async def put_back(self, command: c.PutBack) -> Cancelled:
        """Stop the run and everything it started, keep a recovery snapshot, put the card in the backlog.

        Raises WORKTREE_REMOVAL_FAILED while what lies in the worktree's place is not ours for certain, and what keeping
        and removing raise; a run that was stopped for it is then interrupted, and can be resumed.
        """
        task = await self.core.task(command.task)
        after(task.card.column, BoardEvent.CANCEL)
        run = live_run(task.runs)
        if run is not None and run.status in {RunStatus.RUNNING, RunStatus.PAUSED}:
            await self._check_goes(task)  # before its agent is stopped for nothing
        async with self.dispatcher.stopped(task), self.core.task_locks.of(task.card.id):
            task = await self.core.task(task.card.id)
            target = after(task.card.column, BoardEvent.CANCEL)
            if task.card.column is Column.WAITING_APPROVAL and not command.confirmed:
                raise unconfirmed(task)
            ref, going, branch = await self._discard(task)
            renumbered = await self._put_down(task, target, command.position, ref, branch)
        await self.core.announce_task(task.card.id, renumbered)
        kept = None if ref is None else await self._kept(ref)
        return Cancelled(await self.core.task(task.card.id), kept, going)

    async def put_away(self, project: Project) -> None:
        """Take away the worktrees that a project has beside those of its cards at work, each after a recovery snapshot.

        Raises WORKTREE_REMOVAL_FAILED, or RESOURCE_LOCKED when a card works in one by then; those that were not taken
        away are still there.
        """
        repository = await self._repository(project.id)
        for row in await self.core.db.read(worktrees.all_for_project, project.id):
            async with self.core.task_locks.of(row.task_id or row.id):  # a merge may be taking it away
                now = await self.core.db.read(worktrees.get, row.id)
                if now.status is WorktreeStatus.REMOVED:
                    continue
                if now.task_id != row.task_id or await self._is_alive(now.task_id):
                    raise ChangedError(now)
                await self.workspaces.take_away(now, repository, "project remove")

    async def _check_goes(self, task: Task) -> tuple[Repository | None, AgentPaneError | None]:
        """The project's repository, and why the worktree stays where it is; raises that where it can be mended."""
        repository = await self._repository(task.card.project_id)
        apart = await self.workspaces.left_alone(task, repository)
        if apart is not None and repository is not None:
            raise apart
        return repository, apart

    async def _discard(self, task: Task) -> tuple[str | None, Going, str | None]:
        """Keep what the worktree holds and take it away.

        Returns the recovery's ref, what became of the rest, and the card's branch if it is still there.
        """
        repository, apart = await self._check_goes(task)
        going = await self.leaving.foresee(c.ForeseeCancel(task.card.id))
        # A branch with commits beyond its base holds somebody's work, and stays.
        tip = await self.core.git.branch_tip(repository, task.branch) if repository and task.branch else None
        unused = tip == task.base_sha
        recovery = await self.workspaces.discard(
            task, repository, "cancel", delete_branch_at=task.base_sha if unused else None
        )
        if task.worktree is not None and os.path.lexists(task.worktree):
            going = Going()  # the card has let go of it, as of one that is not ours: its files stay
        left = await self._branch_left(task, repository)
        holds = left if tip is not None and not unused else None
        going = replace(going, branch=holds, branch_known=repository is not None)
        await self._tell(task, recovery, going, apart)
        return recovery, going, left

    async def _tell(self, task: Task, recovery: str | None, going: Going, apart: AgentPaneError | None) -> None:
        """Write into the session what was kept, what stays and what went."""
        said: list[JsonObject] = []
        if recovery is not None:
            said.append({"state": "worktree_kept", "recovery": recovery})
        if apart is not None:
            words = f"{apart.message} {apart.hint}"
            said.append({"state": "worktree_stays", "code": apart.code.value, "message": words})
        if going.ignored:
            names = [display_path(name) for name in going.some]
            said.append({"state": "ignored_gone", "paths": names, "more": going.ignored - len(names)})
        elif going.ignored is None:
            said.append({"state": "ignored_not_known"})
        if going.branch is not None:
            said.append({"state": "branch_kept", "branch": going.branch})
        for each in said:
            await note(self.core, self.blobs, task, None, EventKind.STATE, each)

    async def _put_down(
        self, task: Task, target: Column, position: int | None, recovery: str | None, branch: str | None
    ) -> tuple[tuple[str, int], ...]:
        await self.dispatcher.call_off(task)
        await agent_homes.remove(self.core, task.card.id)
        entry = self.core.record(
            "cancel", task.card.project_id, task=task.card, output={"recovery": recovery, "branch": task.branch}
        )
        return await self.core.db.write(self._store, task.card.id, target, position, entry, branch)

    async def _kept(self, ref: str) -> RecoverySnapshot | None:
        """The snapshot of a ref, which ends with its id; None when it is deleted by now."""
        try:
            return await self.core.db.read(recoveries.get, RecoveryId(ref.rpartition("/")[2]))
        except AgentPaneError:
            return None

    async def _branch_left(self, task: Task, repository: Repository | None) -> str | None:
        """The card's branch; None when it is not there any more."""
        if repository is None or task.branch is None:
            return task.branch
        tip = await self.core.git.branch_tip(repository, task.branch)
        return None if tip is None else task.branch

    async def _is_alive(self, task_id: TaskId | None) -> bool:
        return task_id is not None and live_run((await self.core.task(task_id)).runs) is not None

    async def _repository(self, project_id: ProjectId) -> Repository | None:
        """The project's repository; None when its folder is gone or is no repository any more."""
        project = await self.core.db.read(projects.get, project_id)
        try:
            return await self.core.git.open_repository(Path(project.path))
        except AgentPaneError as error:
            if error.code in {ErrorCode.PROJECT_PATH_INVALID, ErrorCode.PROJECT_NOT_A_GIT_REPO}:
                return None
            raise

    def _store(
        self,
        connection: tasks.Connection,
        task_id: TaskId,
        target: Column,
        position: int | None,
        entry: AuditRecord,
        branch: str | None,
    ) -> tuple[tuple[str, int], ...]:
        now = self.core.clock.now()
        tasks.set_fields(
            connection,
            task_id,
            now,
            snapshot=None,
            files_changed=None,
            lines_added=None,
            lines_removed=None,
            code=None,
            conflicts=(),
            worktree_id=None,
            branch=branch,
        )
        audit.append(connection, (entry,))
        return tasks.move(connection, task_id, target, position or 0, now).renumbered


def unconfirmed(task: Task) -> AgentPaneError:
    return invalid(
        "confirmed",
        f"The diff of “{task.card.title}” waits for approval; cancelling puts it aside.",
        "Confirm it (headless: --yes) to cancel all the same. Nothing has changed.",
    )
