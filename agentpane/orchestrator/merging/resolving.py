"""A card that conflicts with its base branch: handed to its agent, resolved by a person in the worktree, or let be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import audit, projects, tasks, worktrees
from agentpane.domain.board import COLUMN_TITLES, BoardEvent, Column, after
from agentpane.domain.gitpaths import display_path
from agentpane.domain.ids import TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.resolving import Merging, Resolver, Stage
from agentpane.domain.runs import LIVE, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging.resolutions import Resolutions, resolved, staged
from agentpane.orchestrator.merging.review import reviewable
from agentpane.orchestrator.runs import prompts
from agentpane.orchestrator.runs.completion import compared, taken_fields
from agentpane.orchestrator.runs.dispatch import Dispatcher
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import NothingChanged, Repository, Snapshot, reviewed_ref

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolving:
    core: Core
    blobs: BlobStore
    dispatcher: Dispatcher
    workspaces: Workspaces
    resolutions: Resolutions

    async def hand_over(self, command: c.HandOverConflict) -> Task:
        """See `commands.HandOverConflict`."""
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            task = await self.core.task(task.card.id)
            after(task.card.column, BoardEvent.HAND_OVER)
            repository = await self._repository(task)
            row = await self._settled(task, await self._row(task, repository), repository)
            begun = row.merging
            merging = replace(begun, by=Resolver.AGENT) if begun else await self._plan(task, row, repository)
            told = _told(merging)
            entry = self.core.record("conflict.hand_over", task.card.project_id, task=task.card, input=told)

            def store(connection: tasks.Connection) -> None:
                now = self.core.clock.now()
                worktrees.set_fields(connection, row.id, now, merging=merging)
                tasks.set_fields(
                    connection,
                    task.card.id,
                    now,
                    snapshot=None,
                    files_changed=None,
                    lines_added=None,
                    lines_removed=None,
                    conflicts=(),
                    code=None,
                )
                audit.append(connection, (entry,))

            prompt = prompts.conflict_prompt(merging, begun=begun is not None)
            try:
                await self.dispatcher.send_back(task, prompt, command.environment, store)
            except BaseException:
                if begun is None:
                    await self.resolutions.forget(merging, repository)
                raise
            await self._said(task, {"state": "resolving", **told})
        await self.core.announce_task(task.card.id)
        return await self.core.task(task.card.id)

    async def write(self, command: c.WriteConflict) -> Task:
        """See `commands.WriteConflict`."""
        task = await self.core.task(command.task)
        if _left_by_its_run(task):
            await self.dispatcher.rest(task)
        async with self.core.task_locks.of(task.card.id):
            task = await self._at_hand(await self.core.task(task.card.id))
            repository = await self._repository(task)
            row = await self._settled(task, await self._row(task, repository), repository)
            if row.merging is None:
                merging = await self._plan(task, row, repository, Resolver.PERSON)
                told = _told(merging)
                entry = self.core.record("conflict.write", task.card.project_id, task=task.card, input=told)

                def store(connection: worktrees.Connection) -> WorktreeRow:
                    audit.append(connection, (entry,))
                    return worktrees.set_fields(connection, row.id, self.core.clock.now(), merging=merging)

                await self._settled(task, await self.core.db.write(store), repository)
                await self._said(task, {"state": "resolving", **told})
        await self.core.announce_task(task.card.id, counts=False)
        return await self.core.task(task.card.id)

    async def take(self, command: c.TakeResolution) -> Task:
        """See `commands.TakeResolution`."""
        task = await self.core.task(command.task)
        if _left_by_its_run(task):
            await self.dispatcher.rest(task)
        async with self.core.task_locks.of(task.card.id):
            task = await self._at_hand(await self.core.task(task.card.id))
            repository = await self._repository(task)
            row = await self._settled(task, await self._row(task, repository), repository)
            if row.merging is None:
                raise _none_under_way(task)
            await self._take(task, row, row.merging, repository)
        await self.core.announce_task(task.card.id)
        return await self.core.task(task.card.id)

    async def _at_hand(self, task: Task) -> Task:
        """The card, which waits for approval: a person goes on with a conflict that its run has left."""
        if not _left_by_its_run(task):
            _check_waiting(task)
            return task
        repository = await self._repository(task)
        row = await self._row(task, repository)
        if row.merging is None:
            raise _none_under_way(task)
        merging = replace(row.merging, by=Resolver.PERSON)

        def store(connection: worktrees.Connection) -> None:
            worktrees.set_fields(connection, row.id, self.core.clock.now(), merging=merging)

        await self._take_back(task, row, merging, repository, store)
        await self._said(task, {"state": "resolving", **_told(merging)})
        return await self.core.task(task.card.id)

    async def _take(self, task: Task, row: WorktreeRow, merging: Merging, repository: Repository) -> None:
        worktree = await self.workspaces.existing(task, repository)
        run_id = task.runs[-1].id
        message = f"{task.card.title}\n\nTask: {task.card.id}\nRun: {run_id}\nMerges: {merging.target} {merging.sha}\n"
        async with self.core.task_locks.of(f"run:{task.card.id}"):
            taken = await self.core.git.snapshot(
                repository, worktree, merging.card, run_id, message, row.copied, merging
            )
        if isinstance(taken, NothingChanged):
            raise _nothing_left(merging)
        await self._store_taken(task, row, merging, repository, taken)

    async def abandon(self, command: c.AbandonResolution) -> Task:
        """See `commands.AbandonResolution`."""
        task = await self.core.task(command.task)
        if task.card.resolving is None:
            raise _none_under_way(task)
        await self._row(task, await self._repository(task))
        async with self.dispatcher.stopped(task), self.core.task_locks.of(task.card.id):
            await self._abandon(await self.core.task(task.card.id))
        await self.core.announce_task(task.card.id)
        return await self.core.task(task.card.id)

    async def _abandon(self, task: Task) -> None:
        repository = await self._repository(task)
        row = await self._row(task, repository)
        if row.merging is None:
            raise _none_under_way(task)
        if task.card.column is Column.IN_PROGRESS:
            abandoned = partial(self._store_abandoned, task=task, row=row)
            await self._take_back(task, row, row.merging, repository, abandoned)
        else:
            _check_waiting(task)
            await self._back_to_review(task, row, row.merging, repository)
            await self.core.db.write(self._store_abandoned, task, row)
        await self._said(task, {"state": "resolution_abandoned", "target": row.merging.target})
        row = await self.core.db.read(worktrees.get, row.id)
        await self._settled(task, row, repository)

    async def settle_left(self) -> None:
        """Finish what an engine that was ended had begun in the worktrees of cards that wait for approval."""
        for row in await self.core.db.read(worktrees.with_resolution):
            if row.task_id is None:
                continue
            try:
                await self._settle_waiting(row.task_id)
            except AgentPaneError as error:
                log.warning("the conflict of task %s waits: %s", row.task_id, error.message)

    async def _settle_waiting(self, task_id: TaskId) -> None:
        async with self.core.task_locks.of(task_id):
            task = await self.core.task(task_id)
            if task.card.column is Column.WAITING_APPROVAL:
                repository = await self._repository(task)
                row = await self._settled(task, await self._row(task, repository), repository)
                if row.merging is not None and await self._committed(task, row.merging, repository):
                    await self._take(task, row, row.merging, repository)
        await self.core.announce_task(task_id, counts=False)

    async def _committed(self, task: Task, merging: Merging, repository: Repository) -> bool:
        """Whether a resolution was committed, and never written down. A pin that is gone says nothing of it."""
        ref = reviewed_ref(task.runs[-1].id)
        pinned = await self.core.git.ref_tip(repository, ref)
        if pinned is None and task.snapshot is not None:
            await self.core.git.inspection.put_ref(repository, ref, task.snapshot)
        if pinned is None or pinned == task.snapshot:
            return False
        return await self.core.git.merge_base(repository, merging.sha, pinned) == merging.sha

    async def _plan(
        self, task: Task, row: WorktreeRow, repository: Repository, by: Resolver = Resolver.AGENT
    ) -> Merging:
        """The conflict as it is at this moment, laid out in the object store. Raises what the commands say."""
        _, snapshot = reviewable(task)
        target = task.base_branch or row.base_branch
        sha = await self.core.git.branch_tip(repository, target)
        if sha is None:
            raise AgentPaneError(
                ErrorCode.MERGE_BASE_MOVED,
                f"There is no branch {display_path(target)!r} any more. Nothing has been changed.",
                "Make the branch again, or give the project another base branch.",
            )
        await self.core.git.restore_branch(repository, row.branch, snapshot)
        card = await self.core.git.branch_tip(repository, row.branch) or snapshot
        run_id = task.runs[-1].id
        laid = await self.core.git.lay_out_conflict(repository, card, sha, target, run_id)
        if laid is None:
            raise AgentPaneError(
                ErrorCode.TASK_INVALID_TRANSITION,
                f"“{task.card.title}” merges into {display_path(target)} without a conflict.",
                hint="Approve it. Nothing has changed.",
            )
        return Merging(target, sha, card, laid.laid, run_id, snapshot, by, Stage.PLANNED, laid.paths)

    async def _settled(self, task: Task, row: WorktreeRow, repository: Repository) -> WorktreeRow:
        """Do in the worktree what is left to do there; a folder that is gone is made again from its branch first."""
        if row.merging is None or (row.merging.stage is Stage.WRITTEN and Path(row.path).is_dir()):
            return row
        if row.status is not WorktreeStatus.ACTIVE or not Path(row.path).is_dir():
            row, _ = await self.workspaces.make_again(row, repository)
        notes: list[JsonObject] = []
        async with self.core.task_locks.of(f"run:{task.card.id}"):
            row = await self.workspaces.settle(row, repository, notes.append)
        for data in notes:
            await self._said(task, data)
        return row

    async def _store_taken(
        self, task: Task, row: WorktreeRow, merging: Merging, repository: Repository, taken: Snapshot
    ) -> None:
        base, stat = await compared(self.core, repository, merging.target, taken)
        told: JsonObject = {"sha": taken.sha, "base": base, "target": merging.target, "commit": merging.sha}
        entry = self.core.record("conflict.resolve", task.card.project_id, task=task.card, output=told)

        def store(connection: tasks.Connection) -> None:
            now = self.core.clock.now()
            tasks.set_fields(connection, task.card.id, now, **taken_fields(taken, base, stat))
            worktrees.set_fields(connection, row.id, now, merging=None, base_sha=base)
            audit.append(connection, (entry,))

        await self.core.db.write(store)
        figures = {"files": stat.files, "added": stat.added, "removed": stat.removed}
        snapshot: JsonObject = {"sha": taken.sha, "base": base, **figures}
        await note(self.core, self.blobs, task, task.runs[-1].id, EventKind.SNAPSHOT, snapshot)
        await self._said(task, resolved(merging))
        await self.resolutions.forget(merging, repository)

    async def _take_back(
        self,
        task: Task,
        row: WorktreeRow,
        merging: Merging,
        repository: Repository,
        also: Callable[[worktrees.Connection], None],
    ) -> None:
        """Let the card wait for approval as it did before its conflict was handed over, and its run be called off.

        also: what becomes of the resolution, stored in the same transaction.
        """
        target = after(task.card.column, BoardEvent.TAKE_BACK)
        tip = await self.core.git.branch_tip(repository, merging.target)
        base = await self.core.git.merge_base(repository, tip or merging.sha, merging.snapshot)
        stat = await self.core.git.diff_stat(repository, base, merging.snapshot)
        await self._back_to_review(task, row, merging, repository)
        await self.dispatcher.call_off(task)  # once nothing can refuse it any more

        def store(connection: tasks.Connection) -> tuple[tuple[str, int], ...]:
            now = self.core.clock.now()
            tasks.set_fields(
                connection,
                task.card.id,
                now,
                snapshot=merging.snapshot,
                base_sha=base,
                files_changed=stat.files,
                lines_added=stat.added,
                lines_removed=stat.removed,
                code=None,
            )
            also(connection)
            return tasks.move(connection, task.card.id, target, 0, now).renumbered

        renumbered = await self.core.db.write(store)
        await self.core.announce_task(task.card.id, renumbered)

    async def _back_to_review(self, task: Task, row: WorktreeRow, merging: Merging, repository: Repository) -> None:
        run_id = task.runs[-1].id
        await self.core.git.back_to_review(repository, row.branch, run_id, merging.card, merging.snapshot)

    def _store_abandoned(self, connection: tasks.Connection, task: Task, row: WorktreeRow) -> None:
        entry = self.core.record("conflict.abandon", task.card.project_id, task=task.card, input={"path": row.path})
        staged(connection, row, Stage.ABANDONED, self.core.clock.now())
        audit.append(connection, (entry,))

    async def _row(self, task: Task, repository: Repository) -> WorktreeRow:
        row = await self.core.db.read(worktrees.for_task, task.card.id)
        if row is None or row.status not in {WorktreeStatus.ACTIVE, WorktreeStatus.AWAY}:
            raise AgentPaneError(
                ErrorCode.WORKTREE_NOT_FOUND, "The card has no worktree to resolve a conflict in.",
                hint="`agentpane recovery list` shows what was kept of it. Nothing has changed.",
            )  # fmt: skip
        await self.workspaces.check_its_folder(row, repository)
        return row

    async def _repository(self, task: Task) -> Repository:
        project = await self.core.db.read(projects.get, task.card.project_id)
        return await self.core.git.open_repository(Path(project.path))

    async def _said(self, task: Task, data: JsonObject) -> None:
        await note(self.core, self.blobs, task, task.runs[-1].id, EventKind.STATE, data)


def _told(merging: Merging) -> JsonObject:
    return {
        "by": merging.by.value,
        "target": merging.target,
        "commit": merging.sha,
        "paths": [display_path(laid.path) for laid in merging.paths],
    }


def _left_by_its_run(task: Task) -> bool:
    """Whether the card's run was handed a conflict, and nobody is about it: it is paused, or has ended over it."""
    resolving, run = task.card.resolving, task.runs[-1] if task.runs else None
    if task.card.column is not Column.IN_PROGRESS or run is None or resolving is None:
        return False
    return resolving.stage is not Stage.ABANDONED and (run.status is RunStatus.PAUSED or run.status not in LIVE)


def _check_waiting(task: Task) -> None:
    resolving = task.card.resolving
    if task.card.column is Column.IN_PROGRESS and resolving is not None and resolving.stage is not Stage.ABANDONED:
        raise AgentPaneError(
            ErrorCode.TASK_NOT_WAITING_APPROVAL,
            "The card's agent is at work on the conflict.",
            hint="Wait for it: what it cannot finish, or is paused over, you resolve by hand. To take the conflict "
            f"back from it: agentpane resolve {task.card.id} --abandon. Nothing has changed.",
            details={"column": task.card.column.value},
        )
    if task.card.column is not Column.WAITING_APPROVAL:
        raise AgentPaneError(
            ErrorCode.TASK_NOT_WAITING_APPROVAL,
            f"The card is in {COLUMN_TITLES[task.card.column]}, not in Waiting Approval.",
            hint="A conflict is resolved by hand while its card waits for approval. Nothing has changed.",
            details={"column": task.card.column.value},
        )


def _none_under_way(task: Task) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.TASK_INVALID_TRANSITION,
        f"No conflict of “{task.card.title}” is being resolved.",
        hint="Hand it to the agent, or write it into the worktree, first. Nothing has changed.",
    )


def _nothing_left(merging: Merging) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.TASK_NO_DIFF,
        f"Resolved like this, nothing of the card is left: all of it is as {display_path(merging.target)} has it.",
        hint="Cancel the card, or change the worktree and take it again. Nothing has changed.",
    )
