"""The journal of one act that moves a branch: what is to move is written down before it does.

Nothing is written down, and so nothing moves, while another move of the same branch or in the same checkout is open:
what that one has left half done would be built upon, and could be told from the person's work no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from agentpane.db import merges, projects
from agentpane.domain.ids import ProjectId
from agentpane.domain.merges import MergeId, MergeKind, MergeRecord, MergeState
from agentpane.domain.review import MergeStrategy
from agentpane.domain.tasks import Task
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Merged, MergeIntent, MergeRefused, Undone


class OpenMergesError(Exception):
    """Other merges are open in the same place, and have to be settled first. Nothing has been touched."""

    def __init__(self, found: tuple[MergeRecord, ...]) -> None:
        super().__init__(f"open merges: {', '.join(merge.id for merge in found)}")
        self.merges = found


async def check_free(core: Core, task: Task, target: str | None = None) -> None:
    """Raises OpenMergesError where a merge into the card's target is open. target: None for its base branch."""

    def look(connection: merges.Connection) -> tuple[MergeRecord, ...]:
        branch = target or task.base_branch or projects.get(connection, task.card.project_id).base_branch
        return merges.open_at(connection, ProjectId(task.card.project_id), branch)

    found = await core.db.read(look)
    if found:
        raise OpenMergesError(found)


@dataclass(slots=True)
class Journal:
    """ids: what this act has written down, oldest first. All but the last are given up."""

    core: Core
    task: Task
    strategy: MergeStrategy
    kind: MergeKind = MergeKind.MERGE
    approved_by: str | None = None
    ids: list[MergeId] = field(default_factory=list)

    async def write(self, intent: MergeIntent) -> None:
        """Raises OpenMergesError."""
        new = merges.NewMerge(
            task_id=self.task.card.id,
            project_id=ProjectId(self.task.card.project_id),
            target=intent.target,
            old_sha=intent.old,
            new_sha=intent.new,
            reviewed_sha=intent.reviewed,
            strategy=self.strategy.value,
            checkout=str(intent.checkout) if intent.checkout else None,
            approved_by=self.approved_by,
            kind=self.kind,
        )
        self.ids.append(await self.core.db.write(_intend, new, self.core.clock.now(), tuple(self.ids)))

    async def end(self, outcome: object) -> None:
        """Write down what has come to nothing: all of it, or all but the last where that has moved or is still open."""
        open_ = isinstance(outcome, MergeRefused) and outcome.open
        for given_up in self.ids[:-1] if open_ or isinstance(outcome, (Merged, Undone)) else self.ids:
            await self.core.db.write(merges.finish, given_up, MergeState.ROLLED_BACK, self.core.clock.now())


def _intend(connection: merges.Connection, new: merges.NewMerge, at: datetime, own: tuple[MergeId, ...]) -> MergeId:
    found = merges.open_at(connection, new.project_id, new.target, new.checkout, own)
    if found:
        raise OpenMergesError(found)
    return merges.intend(connection, new, at)
