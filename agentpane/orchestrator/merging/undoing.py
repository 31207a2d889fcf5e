"""A person takes an approval back: the merge goes, and the card, its branch and its worktree return for review."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import audit, merges, projects, sessions, tasks
from agentpane.domain.board import BoardEvent, Column, after
from agentpane.domain.json import JsonObject
from agentpane.domain.merges import MergeKind, MergeRecord, MergeState
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging.journal import Journal, check_free
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import MergeRefused, Repository, UndoPlan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Undoing:
    core: Core
    blobs: BlobStore
    workspaces: Workspaces

    async def undo(self, command: c.Undo) -> Task:
        """See `commands.Undo`. Raises OpenMergesError too; then nothing has changed."""
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            task = await self.core.task_on_board(task.card.id)
            after(task.card.column, BoardEvent.UNDO)
            merge = await self._merge_of(task)
            await check_free(self.core, task, merge.target_ref)
            project = await self.core.db.read(projects.get, task.card.project_id)
            repository = await self.core.git.open_repository(Path(project.path))
            journal = Journal(self.core, task, merge.strategy, MergeKind.UNDO)
            revert = f"Revert “{task.card.title}”\n\nTask: {task.card.id}\nThis reverts {merge.new_sha}.\n"
            again = f"Reapply “{task.card.title}”\n\nTask: {task.card.id}\nThis is the change of {merge.new_sha}.\n"
            shas = (merge.old_sha, merge.new_sha, merge.reviewed_sha)
            plan = UndoPlan(merge.target_ref, *shas, task.runs[-1].id, revert, again)
            outcome = await self.core.git.undo(repository, plan, journal.write)
            await journal.end(outcome)
            if isinstance(outcome, MergeRefused):
                details: JsonObject = {"paths": list(outcome.paths)}
                raise AgentPaneError(outcome.code, outcome.message, outcome.hint, details)
            done = await self.core.db.read(merges.get, journal.ids[-1])
            await self.undone(task, done, repository)
        return await self.core.task(task.card.id)

    async def undone(self, task: Task, done: MergeRecord, repository: Repository) -> None:
        """Write down an undo that git has made, then bring the worktree back."""
        base = await self.core.git.merge_base(repository, done.new_sha, done.reviewed_sha)
        stat = await self.core.git.diff_stat(repository, base, done.reviewed_sha)
        told: JsonObject = {
            "merge_commit": task.merge_commit,
            "target": done.target_ref,
            "commit": done.new_sha,
            "snapshot": done.reviewed_sha,
            "exact": None if done.new_sha == done.old_sha else done.old_sha == task.merge_commit,
        }
        entry = self.core.record("undo", task.card.project_id, task=task.card, output=told)

        def store(connection: tasks.Connection) -> tuple[tuple[str, int], ...]:
            now = self.core.clock.now()
            merges.finish(connection, done.id, MergeState.DONE, now)
            merges.close(connection, task.card.id, now)
            sessions.open_for_task(connection, task.card.id, task.card.agent_id, now)
            tasks.set_fields(
                connection,
                task.card.id,
                now,
                merge_commit=None,
                approved_at=None,
                approved_by=None,
                snapshot=done.reviewed_sha,
                base_sha=base,
                files_changed=stat.files,
                lines_added=stat.added,
                lines_removed=stat.removed,
                code=None,
                conflicts=(),
            )
            audit.append(connection, (entry,))
            target = after(Column.VERIFIED, BoardEvent.UNDO)
            return tasks.move(connection, task.card.id, target, 0, now).renumbered

        renumbered = await self.core.db.write(store)
        await note(self.core, self.blobs, task, task.runs[-1].id, EventKind.STATE, {"state": "undone", **told})
        await self.core.announce_task(task.card.id, renumbered)
        try:
            await self.workspaces.bring_back(task, repository, done.reviewed_sha, base)
        except AgentPaneError as error:  # the merge is taken back all the same
            log.warning("the worktree of task %s stays as it is: %s", task.card.id, error.message)
            stays: JsonObject = {"state": "worktree_stays", "code": error.code.value, "message": error.message}
            await note(self.core, self.blobs, task, task.runs[-1].id, EventKind.STATE, stays)
        await self.core.announce_task(task.card.id, counts=False)

    async def _merge_of(self, task: Task) -> MergeRecord:
        """The merge that the card stands for."""
        known = await self.core.db.read(merges.for_task, task.card.id)
        for merge in reversed(known):
            done = merge.state is MergeState.DONE and merge.kind is MergeKind.MERGE
            if done and merge.new_sha == task.merge_commit:
                return merge
        raise AgentPaneError(
            ErrorCode.MERGE_UNDO_IMPOSSIBLE,
            "This card was not merged by AgentPane: its change was in the branch already. Nothing has been changed.",
            hint="Revert the commit by hand.",
        )
