"""Each row of a worktree, compared with git's record of it, its folder and its branch."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from agentpane.db import recoveries, worktrees
from agentpane.domain.health import HealthCode
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment, Ward, ailment
from agentpane.orchestrator.keeping.branch_back import branch_back
from agentpane.orchestrator.keeping.holding import check_unchanged
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.orchestrator.workspaces.workspace import Workspaces

PRESENT = frozenset({WorktreeStatus.ACTIVE, WorktreeStatus.MERGING, WorktreeStatus.POOLED})
PASSING = frozenset({WorktreeStatus.CREATING, WorktreeStatus.REMOVING})
LONG = timedelta(minutes=1)
REASON = "the doctor took it away"


@dataclass(frozen=True, slots=True)
class Rows:
    """began: when this engine did; what an older one had under way is cut off."""

    core: Core
    workspaces: Workspaces
    began: datetime

    async def look(self, ward: Ward) -> AsyncIterator[Ailment]:
        newest = {row.task_id: row.id for row in ward.rows}
        for row in ward.rows:
            if row.status in PRESENT:
                found = await self._present(ward, row)
            elif row.status in PASSING and (row.updated_at < self.began or self._is_stuck(row)):
                found = self._cut_off(ward, row)
            elif row.status is WorktreeStatus.ERROR:
                superseded = row.task_id is not None and newest[row.task_id] != row.id
                found = self._in_error(ward, row, superseded)
            elif row.status is WorktreeStatus.REMOVED:
                found = await self._still_there(ward, row)
            else:
                found = None
            if found is not None and await self._unchanged(row):
                yield found

    def _is_stuck(self, row: WorktreeRow) -> bool:
        """Whether nobody is at it any more, although this engine began it: a removal that could not be taken back."""
        if row.status is not WorktreeStatus.REMOVING or self.core.clock.now() - row.updated_at < LONG:
            return False
        return not any(self.core.task_locks.is_held(name) for name in (row.task_id or "", f"worktree:{row.id}"))

    async def _unchanged(self, row: WorktreeRow) -> bool:
        """What was found while a card went on is no finding."""
        try:
            return await self.core.db.read(worktrees.get, row.id) == row
        except AgentPaneError:
            return False

    async def _present(self, ward: Ward, row: WorktreeRow) -> Ailment | None:
        worktree = as_worktree(row)
        made = partial(ailment, project=ward.project.id, task_id=row.task_id)
        moved = await self.core.git.moved_to(ward.repository, worktree)
        if moved is not None:
            text = f"A card's worktree was moved, to {moved}."
            fix = "Go on with it at its new place."
            mend = partial(self._follow, row, moved)
            return made(HealthCode.WORKTREE_MOVED, text, row.path, fix, about=(row.id, str(moved)), mend=mend)
        why = await self.core.git.why_not_ours(ward.repository, worktree)
        if not os.path.lexists(row.path):
            return await self._gone(ward, row)
        if why is not None:
            return self._not_its_folder(ward, row, why)
        if row.status is not WorktreeStatus.POOLED and f"refs/heads/{row.branch}" not in ward.refs:
            text = f"The branch {row.branch} of a card is gone; its worktree is kept."
            fix = "Make the branch again at the last commit that the worktree is known to have been at."
            mend = partial(self._branch_again, ward, row)
            return made(HealthCode.BRANCH_GONE, text, row.path, fix, about=(row.branch,), mend=mend)
        return None

    async def _gone(self, ward: Ward, row: WorktreeRow) -> Ailment:
        if row.task_id is not None and (await self.core.task(row.task_id)).is_restored:
            return ailment(
                ErrorCode.WORKTREE_NOT_FOUND,
                "The worktree that work was restored to is gone from the disk; its branch is kept.",
                row.path,
                "Let the card be without it; what is in the recovery bin can be restored once more.",
                about=(row.id,),
                mend=partial(self._not_restored, ward, row),
                project=ward.project.id,
                task_id=row.task_id,
            )
        pooled = row.status is WorktreeStatus.POOLED
        return ailment(
            ErrorCode.WORKTREE_NOT_FOUND,
            "A worktree that was kept ready is gone from the disk."
            if pooled
            else "A card's worktree is gone from the disk; its branch is kept.",
            row.path,
            "Take it off the list; another is made when it is wanted."
            if pooled
            else "Make it again from the branch; resuming the card does so too.",
            about=(row.id,),
            mend=partial(self._take_away, ward, row) if pooled else partial(self._make_again, ward, row),
            project=ward.project.id,
            task_id=row.task_id,
        )

    def _not_its_folder(self, ward: Ward, row: WorktreeRow, why: str) -> Ailment:
        fix = "Move it away, then resume the card: its worktree is made again from its branch."
        text = f"What lies at the path of a card's worktree is not the worktree that was made there: {why}."
        return ailment(ErrorCode.WORKTREE_NOT_FOUND, text, row.path, fix, about=(row.id, why), project=ward.project.id)

    def _cut_off(self, ward: Ward, row: WorktreeRow) -> Ailment:
        doing = "made" if row.status is WorktreeStatus.CREATING else "removed"
        return ailment(
            HealthCode.WORKTREE_CUT_OFF,
            f"A worktree was being {doing}, and that was cut off.",
            row.path,
            "Keep what it holds in the recovery bin and take it away; its branch stays.",
            about=(row.id, row.status),
            mend=partial(self._take_away, ward, row),
            project=ward.project.id,
            task_id=row.task_id,
        )

    def _in_error(self, ward: Ward, row: WorktreeRow, superseded: bool) -> Ailment:
        return ailment(
            ErrorCode.WORKTREE_CREATION_FAILED,
            row.last_error or "The worktree is in error.",
            row.path,
            "Take it off the list; what it holds is kept in the recovery bin."
            if superseded
            else "Resume or cancel the card. Or take away what is left; what it holds is kept in the recovery bin.",
            about=(row.id,),
            mend=partial(self._take_away, ward, row),
            project=ward.project.id,
            task_id=row.task_id,
        )

    async def _still_there(self, ward: Ward, row: WorktreeRow) -> Ailment | None:
        """A worktree of ours that is removed by its row, and still there."""
        if row.git_dir is None or not os.path.lexists(row.path):
            return None
        if await self.core.git.why_not_ours(ward.repository, as_worktree(row)) is not None:
            return None
        return self._cut_off(ward, row)

    async def _follow(self, row: WorktreeRow, moved: Path) -> str:
        await check_unchanged(self.core, row)
        await self.core.db.write(worktrees.set_fields, row.id, self.core.clock.now(), path=str(moved))
        return f"The card goes on with its worktree at {moved}."

    async def _make_again(self, ward: Ward, row: WorktreeRow) -> str:
        await check_unchanged(self.core, row)
        await self._branch_again(ward, row)
        _, made = await self.workspaces.make_again(row, ward.repository)
        return f"The worktree was made again from {made.branch}."

    async def _not_restored(self, ward: Ward, row: WorktreeRow) -> str:
        """Made again from the branch it would not hold what was restored, and the card would say that it does."""
        await check_unchanged(self.core, row)
        await self.workspaces.take_away(row, ward.repository, REASON, actor="person")
        kept = await self.core.db.read(recoveries.for_project, ward.project.id)
        names = ", ".join(each.id for each in kept if each.task_id == row.task_id)
        where = f"What was kept of the card is in the recovery bin: {names}." if names else "The recovery bin has none."
        return f"The card has no restored work any more. {where}"

    async def _branch_again(self, ward: Ward, row: WorktreeRow) -> str:
        need = ward.needs.get(row.id)
        known = need.snapshot if need else None, row.base_sha
        sha = await branch_back(self.core, row, ward.repository, *known)
        if sha is not None:
            return f"The branch {row.branch} is at {sha[:12]} again."
        if await self.core.git.branch_tip(ward.repository, row.branch) is not None:
            return f"The branch {row.branch} is there."
        raise AgentPaneError(
            ErrorCode.WORKTREE_NOT_FOUND,
            f"No commit is known that {row.branch} could be at.",
            "The worktree's files are kept. Make the branch with git, or cancel the card.",
        )

    async def _take_away(self, ward: Ward, row: WorktreeRow) -> str:
        await check_unchanged(self.core, row)
        if await self.workspaces.unmade.as_before(row, ward.repository) is not None:
            return "Nothing of it was laid out again. Its folder is away, and what git knows of it is kept."
        ref = await self.workspaces.take_away(row, ward.repository, REASON, actor="person")
        gone = not os.path.lexists(row.path)
        kept = f" What it held is kept as {ref}." if ref else ""
        return ("It was taken away." if gone else "It is not ours for certain, and was left where it is.") + kept
