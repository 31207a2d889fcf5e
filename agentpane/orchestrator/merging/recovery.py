"""What the engine does at its start about what the last one left: runs cut off, merges cut off."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpane.db import merges, projects, runs
from agentpane.domain.board import Column
from agentpane.domain.merges import MergeKind, MergeRecord, MergeState
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging.resolving import Resolving
from agentpane.orchestrator.merging.review import Review
from agentpane.orchestrator.merging.undoing import Undoing
from agentpane.orchestrator.sessions import note
from agentpane.worktrees import MergeIntent, MergeRecovery, RecoveryOutcome, Repository

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Recovery:
    """Forward goes only what the card still stands for: a person may have decided otherwise meanwhile."""

    core: Core
    blobs: BlobStore
    review: Review
    undoing: Undoing
    resolving: Resolving

    async def interrupt(self) -> None:
        """Mark runs without a process as interrupted; before anybody may ask about them."""
        for run in await self.core.db.write(runs.interrupt_orphans, self.core.clock.now()):
            task = await self.core.task(run.task_id)
            await note(self.core, self.blobs, task, run.id, EventKind.STATE, {"state": "interrupted"})
            await self.core.announce_task(run.task_id)
            await self.core.announce_agent(run.agent_id)

    async def run(self) -> None:
        """Mark runs without a process as interrupted, and finish or take back merges that were cut off."""
        await self.interrupt()
        for merge in await self.core.db.read(merges.unfinished):
            await self._settle_alone(merge)
        await self.resolving.settle_left()

    def first(self, handler: Handler, *, finish: bool = True) -> Handler:
        """The handler of a command about one task, after what was cut off of that task's merges is settled.

        finish: an act that goes on from there; else what was cut off is taken back, unless git has done it.
        """

        async def settled(command: Any) -> Any:
            task = await self.core.task(command.task)
            for merge in await self.core.db.read(merges.unfinished, task.card.id):
                await self._settle_alone(merge, finish=finish)
            return await handler(command)

        return settled

    async def settle(self, merge: MergeRecord) -> MergeRecovery | None:
        """Settle a merge that the person has looked at. None where it has been. The caller holds the task's lock."""
        merge = await self.core.db.read(merges.get, merge.id)
        if merge.state not in {MergeState.INTENT, MergeState.NEEDS_PERSON}:
            return None
        return await self._merge(merge, looked=True)

    async def _settle_alone(self, merge: MergeRecord, *, finish: bool = True) -> None:
        try:
            async with self.core.task_locks.of(merge.task_id or merge.id):  # a person may be acting already
                merge = await self.core.db.read(merges.get, merge.id)
                if merge.state is MergeState.INTENT:
                    await self._merge(merge, finish=finish)
        except (AgentPaneError, OSError) as error:
            log.warning("the merge of task %s waits: %s", merge.task_id, error)
        except Exception:  # nothing about one merge is to keep the engine from its start
            log.exception("the merge of task %s waits", merge.task_id)

    async def _merge(self, merge: MergeRecord, *, finish: bool = True, looked: bool = False) -> MergeRecovery:
        project = await self.core.db.read(projects.get, merge.project_id)
        repository = await self.core.git.open_repository(Path(project.path))
        task = await self.core.task(merge.task_id or "")
        intent, stands = await self._intent(merge, task, repository), _stands(merge, task)
        found = await self.core.git.recover_merge(repository, intent, wanted=finish and stands, looked=looked)
        if found.outcome is RecoveryOutcome.COMPLETED and not stands:
            log.warning("%s holds a merge that task %s does not stand for any more", merge.target_ref, task.card.id)
            await self.core.db.write(merges.finish, merge.id, MergeState.DONE, self.core.clock.now())
        elif found.outcome is RecoveryOutcome.COMPLETED and merge.kind is MergeKind.UNDO:
            await self.undoing.undone(task, merge, repository)
        elif found.outcome is RecoveryOutcome.COMPLETED:
            name = merge.approved_by or ""
            await self.review.merged(task, merge.new_sha, merge.id, name, merge.strategy.value, repository)
        elif found.outcome is RecoveryOutcome.ROLLED_BACK:
            await self.core.db.write(merges.finish, merge.id, MergeState.ROLLED_BACK, self.core.clock.now())
        else:
            log.warning("the merge of task %s needs a person: %s", merge.task_id, found.message)
            await self.core.db.write(merges.finish, merge.id, MergeState.NEEDS_PERSON, self.core.clock.now())
        return found

    async def _intent(self, merge: MergeRecord, task: Task, repository: Repository) -> MergeIntent:
        checkout = Path(merge.checkout_path) if merge.checkout_path else None
        git_dir = None
        if checkout is not None and not checkout.is_dir():
            checkout = None  # nothing is half done where nothing is
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
            began_s=merge.started_at.timestamp(),
            back=merge.kind is MergeKind.UNDO
            and await self.core.git.merge_base(repository, merge.old_sha, merge.new_sha) == merge.new_sha,
        )


def _stands(merge: MergeRecord, task: Task) -> bool:
    """Whether the card is still where the merge, or its undoing, began."""
    if merge.kind is MergeKind.UNDO:
        return task.card.column is Column.VERIFIED and task.merge_commit is not None
    return task.card.column is Column.WAITING_APPROVAL and task.snapshot == merge.reviewed_sha
