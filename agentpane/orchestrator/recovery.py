"""What the engine does at its start about what the last one left: runs cut off, merges cut off."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import merges, projects, runs
from agentpane.domain.merges import MergeKind, MergeRecord, MergeState
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.resolving import Resolving
from agentpane.orchestrator.review import Review
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.undoing import Undoing
from agentpane.worktrees import MergeIntent, RecoveryOutcome, Repository

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovery:
    core: Core
    blobs: BlobStore
    review: Review
    undoing: Undoing
    resolving: Resolving

    async def run(self) -> None:
        """Mark runs without a process as interrupted, and finish or take back merges that were cut off."""
        for run in await self.core.db.write(runs.interrupt_orphans, self.core.clock.now()):
            task = await self.core.task(run.task_id)
            await note(self.core, self.blobs, task, run.id, EventKind.STATE, {"state": "interrupted"})
            await self.core.announce_task(run.task_id)
            await self.core.announce_agent(run.agent_id)
        for merge in await self.core.db.read(merges.unfinished):
            try:
                async with self.core.task_locks.of(merge.task_id or merge.id):  # a person may be acting already
                    merge = await self.core.db.read(merges.get, merge.id)
                    if merge.state is MergeState.INTENT:
                        await self._merge(merge)
            except AgentPaneError as error:
                log.warning("the merge of task %s waits: %s", merge.task_id, error.message)
        await self.resolving.settle_left()

    async def settle(self, merge: MergeRecord) -> bool:
        """Try once more to settle a merge that needed a person; whether that is done."""
        await self._merge(merge)
        return (await self.core.db.read(merges.get, merge.id)).state is not MergeState.NEEDS_PERSON

    async def _merge(self, merge: MergeRecord) -> None:
        project = await self.core.db.read(projects.get, merge.project_id)
        repository = await self.core.git.open_repository(Path(project.path))
        task = await self.core.task(merge.task_id or "")
        found = await self.core.git.recover_merge(repository, await self._intent(merge, task, repository))
        if found.outcome is RecoveryOutcome.COMPLETED and merge.kind is MergeKind.UNDO:
            await self.undoing.undone(task, merge, repository)
        elif found.outcome is RecoveryOutcome.COMPLETED:
            name = merge.approved_by or ""
            await self.review.merged(task, merge.new_sha, merge.id, name, merge.strategy.value, repository)
        elif found.outcome is RecoveryOutcome.ROLLED_BACK:
            await self.core.db.write(merges.finish, merge.id, MergeState.ROLLED_BACK, self.core.clock.now())
        else:
            log.warning("the merge of task %s needs a person: %s", merge.task_id, found.message)
            await self.core.db.write(merges.finish, merge.id, MergeState.NEEDS_PERSON, self.core.clock.now())

    async def _intent(self, merge: MergeRecord, task: Task, repository: Repository) -> MergeIntent:
        checkout = Path(merge.checkout_path) if merge.checkout_path else None
        git_dir = None
        if checkout is not None:
            main = checkout == repository.path
            git_dir = repository.git_dir if main else (await self.core.git.find_worktree(repository, checkout)).git_dir
        return MergeIntent(
            run_id=task.runs[-1].id,
            target=merge.target_ref,
            old=merge.old_sha,
            new=merge.new_sha,
            reviewed=merge.reviewed_sha,
            checkout=checkout,
            checkout_git_dir=git_dir,
            back=merge.kind is MergeKind.UNDO
            and await self.core.git.merge_base(repository, merge.old_sha, merge.new_sha) == merge.new_sha,
        )
