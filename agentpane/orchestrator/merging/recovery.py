"""What was cut off is settled: runs and merges that the last engine left, and merges before another one may move.

The lock of one task is held at a time, and none while an act waits for another task's merge: two acts that find each
other's merges open go on one after the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpane.db import merges, projects, runs
from agentpane.domain.board import Column
from agentpane.domain.merges import MergeKind, MergeRecord, MergeState
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging.journal import OpenMergesError
from agentpane.orchestrator.merging.resolving import Resolving
from agentpane.orchestrator.merging.review import Review
from agentpane.orchestrator.merging.undoing import Undoing
from agentpane.orchestrator.sessions import note
from agentpane.worktrees import MergeIntent, MergeRecovery, MergeRefused, RecoveryOutcome, Repository
from agentpane.worktrees.places import git_dir_of

log = logging.getLogger(__name__)

TRIES = 5

Handler = Callable[[Any], Awaitable[Any]]
PutOff = Callable[[Any, MergeRefused], Awaitable[Any]]

_OPEN = frozenset({MergeState.INTENT, MergeState.NEEDS_PERSON})
_ENDED = {
    RecoveryOutcome.COMPLETED: MergeState.DONE,
    RecoveryOutcome.ROLLED_BACK: MergeState.ROLLED_BACK,
    RecoveryOutcome.NEEDS_PERSON: MergeState.NEEDS_PERSON,
}
_SET_RIGHT = (
    "Set the checkout right: switch it back to that branch; commit, stash or take back what you changed. Then try "
    "again. Once you have looked at it, `agentpane doctor --fix` settles it, too."
)
_BUSY = MergeRefused(
    ErrorCode.RESOURCE_LOCKED,
    f"Other merges into the same branch were under way, {TRIES} times over. Nothing has been changed.",
    "Try again when they have ended.",
)


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

    def alone(self, handler: Handler, put_off: PutOff | None = None) -> Handler:
        """The handler of a command that moves a branch, after whatever it finds open in the same place is settled.

        put_off: makes the answer where that cannot be done now; else it is raised.
        """
        first = self.first(handler)

        async def in_turn(command: Any) -> Any:
            stays: list[MergeRefused] = []
            for _ in range(TRIES):
                try:
                    return await first(command)
                except OpenMergesError as found:
                    looked_at = [await self._make_room(merge) for merge in found.merges]
                stays = [each for each in looked_at if each is not None]
                if stays:
                    break
            refused = next(iter(stays), _BUSY)
            if put_off is not None:
                return await put_off(command, refused)
            raise AgentPaneError(refused.code, refused.message, refused.hint, {"paths": list(refused.paths)})

        return in_turn

    async def _make_room(self, merge: MergeRecord) -> MergeRefused | None:
        """Settle a merge that another act found open. Returns why it stays open."""
        act = "The undoing of a merge" if merge.kind is MergeKind.UNDO else "A merge"
        whose = await self._title(merge)
        cut_off = f"{act} into {merge.target_ref}{whose} was cut off before, and is not settled:"
        try:
            found = await self._settle(merge, _OPEN)
        except (AgentPaneError, OSError) as error:
            code, why, hint, paths = _told(error)
        else:
            if found is None or found.outcome is not RecoveryOutcome.NEEDS_PERSON:
                return None
            code, why, hint, paths = ErrorCode.MERGE_CHECKOUT_DIRTY, found.message, _SET_RIGHT, found.paths
        return MergeRefused(code, f"{cut_off} {why} Nothing has been changed.", hint, paths)

    async def _title(self, merge: MergeRecord) -> str:
        if merge.task_id is None:
            return ""
        return f" (“{(await self.core.task(merge.task_id)).card.title}”)"

    async def settle(self, merge: MergeRecord) -> MergeRecovery | None:
        """Settle a merge that the person has looked at. None where it has been. The caller holds the task's lock."""
        merge = await self.core.db.read(merges.get, merge.id)
        if merge.state not in _OPEN:
            return None
        return await self._merge(merge, looked=True)

    async def _settle_alone(self, merge: MergeRecord, *, finish: bool = True) -> None:
        try:
            await self._settle(merge, {MergeState.INTENT}, finish=finish)
        except (AgentPaneError, OSError) as error:
            log.warning("the merge of task %s waits: %s", merge.task_id, error)
        except Exception:  # nothing about one merge is to keep the engine from its start
            log.exception("the merge of task %s waits", merge.task_id)

    async def _settle(
        self, merge: MergeRecord, states: Collection[MergeState], *, finish: bool = True
    ) -> MergeRecovery | None:
        """Settle a merge if it is still in one of these states. None where it is not."""
        async with self.core.task_locks.of(merge.task_id or merge.id):  # a person may be acting already
            merge = await self.core.db.read(merges.get, merge.id)
            return await self._merge(merge, finish=finish) if merge.state in states else None

    async def _merge(self, merge: MergeRecord, *, finish: bool = True, looked: bool = False) -> MergeRecovery:
        project = await self.core.db.read(projects.get, merge.project_id)
        repository = await self.core.git.open_repository(Path(project.path))
        task = None if merge.task_id is None else await self.core.task(merge.task_id)
        intent = await self._intent(merge, task, repository)
        card = task if task is not None and _stands(merge, task) else None
        found = await self.core.git.recover_merge(repository, intent, wanted=finish and card is not None, looked=looked)
        if found.outcome is RecoveryOutcome.COMPLETED and card is not None:
            await self._carry_through(merge, card, repository)
            return found
        if found.outcome is RecoveryOutcome.COMPLETED:
            log.warning("%s holds a merge that task %s does not stand for any more", merge.target_ref, merge.task_id)
        elif found.outcome is RecoveryOutcome.NEEDS_PERSON:
            log.warning("the merge of task %s needs a person: %s", merge.task_id, found.message)
        await self.core.db.write(merges.finish, merge.id, _ENDED[found.outcome], self.core.clock.now())
        return found

    async def _carry_through(self, merge: MergeRecord, task: Task, repository: Repository) -> None:
        """Write down what git has done, and do what comes after it."""
        if merge.kind is MergeKind.UNDO:
            await self.undoing.undone(task, merge, repository)
            return
        name = merge.approved_by or ""
        await self.review.merged(task, merge.new_sha, merge.id, name, merge.strategy.value, repository)

    async def _intent(self, merge: MergeRecord, task: Task | None, repository: Repository) -> MergeIntent:
        checkout = Path(merge.checkout_path) if merge.checkout_path else None
        git_dir = None if checkout is None else await asyncio.to_thread(git_dir_of, repository, checkout)
        if git_dir is None:
            checkout = None  # nothing is half done where nothing is
        return MergeIntent(
            run_id=task.runs[-1].id if task is not None else "",
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


def _told(error: AgentPaneError | OSError) -> tuple[ErrorCode, str, str, tuple[str, ...]]:
    if isinstance(error, AgentPaneError):
        return error.code, error.message, error.hint, ()
    return ErrorCode.RESOURCE_LOCKED, f"{error}.", "Look at that file, then try again.", ()


def _stands(merge: MergeRecord, task: Task) -> bool:
    """Whether the card is still where the merge, or its undoing, began."""
    if merge.kind is MergeKind.UNDO:
        return task.card.column is Column.VERIFIED and task.merge_commit is not None
    return task.card.column is Column.WAITING_APPROVAL and task.snapshot == merge.reviewed_sha
