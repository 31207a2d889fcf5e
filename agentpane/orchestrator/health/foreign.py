"""What lies where ours lies and is not ours: told, counted, and never touched.

The one thing here that may be taken away is a worktree that was kept ready and that no row speaks of: it bears our
mark, our lock and our seal.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agentpane.db import health, pool
from agentpane.db.worktrees import NewWorktree
from agentpane.domain.health import HealthCode
from agentpane.domain.ids import WorktreeId
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment, Ward, ailment
from agentpane.orchestrator.health.sizes import Sizes
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees.inspection import MarkedRecord

NAMED = 5  # how many of many are named
REFS = "refs/agentpane/"
RUN_REFS = ("refs/agentpane/run/", "refs/agentpane/turn/")
RECOVERY_REFS = "refs/agentpane/recovery/"  # see `kept`
REASON = "no longer kept ready"


@dataclass(frozen=True, slots=True)
class Foreign:
    core: Core
    workspaces: Workspaces
    sizes: Sizes

    async def look(self, ward: Ward) -> AsyncIterator[Ailment]:
        ours = {row.path for row in (*ward.rows, *ward.beside) if row.status is not WorktreeStatus.REMOVED}
        lost = await self._lost(ward)
        for path, record in lost.items():
            yield await self._of_nobody(ward, path, record)
        told = {str(each.worktree.path) for each in ward.marked if await self._is_told(ward, each)} | {*lost}
        theirs = {str(listed.path) for listed in ward.listed} - ours
        foreign = theirs - ward.elsewhere - told
        for path in sorted(path for path in foreign if Path(path).is_relative_to(ward.root)):
            text = "A worktree that was not made for a card, or whose row is gone. It is left alone."
            size = await self._size(ward, Path(path))
            yield ailment(HealthCode.WORKTREE_FOREIGN, text, path, size=size, notice=True, project=ward.project.id)
        for found in (await self._folders(ward, ours | theirs), self._branches(ward), await self._refs(ward)):
            if found is not None:
                yield found

    async def _lost(self, ward: Ward) -> dict[str, MarkedRecord]:
        """Ready worktrees that no row speaks of, by their paths."""
        ready = [each for each in ward.marked if each.ready_at is not None]
        unknown = await self.core.db.read(health.unknown_worktrees, {each.worktree.mark for each in ready})
        return {str(each.worktree.path): each for each in ready if each.worktree.mark in unknown}

    async def _of_nobody(self, ward: Ward, path: str, record: MarkedRecord) -> Ailment:
        return ailment(
            HealthCode.WORKTREE_STALE,
            "A worktree that was kept ready may go: no project here keeps it.",
            path,
            "Keep what somebody put into it in the recovery bin and take it away. "
            "If another data folder keeps it ready, that one makes another.",
            about=(record.worktree.mark, record.ready_at or ""),
            mend=partial(self._take_away, ward, record),
            size=await self.sizes.of(record.worktree.path),
            notice=True,
            project=ward.project.id,
        )

    async def _take_away(self, ward: Ward, record: MarkedRecord) -> str:
        """With a row of its own first: where it cannot be taken away, it is a ready one of this project."""
        found = record.worktree
        if record not in await self.core.git.inspection.marked(ward.repository):
            raise AgentPaneError(
                ErrorCode.RESOURCE_LOCKED,
                f"The worktree {found.path} was given to a card meanwhile, or taken away. Nothing has changed.",
                "Look again: agentpane doctor",
                {"path": str(found.path)},
            )
        new = NewWorktree(ward.project.id, None, "", ward.project.base_branch, record.ready_at or "", str(found.path))
        git_dir, now = str(found.git_dir), self.core.clock.now()
        row = await self.core.db.write(pool.adopt, WorktreeId(found.mark), new, git_dir, now)
        ref = await self.workspaces.take_away(row, ward.repository, REASON, actor="person")
        return "It was taken away." + (f" What it held is kept as {ref}." if ref else "")

    async def _is_told(self, ward: Ward, record: MarkedRecord) -> bool:
        """Whether what is to be said about it is said where its row is looked at; see `rows`."""
        for row in (*ward.rows, *ward.beside):
            if row.id == record.worktree.mark and row.git_dir == str(record.worktree.git_dir):
                there = row.path == str(record.worktree.path)
                ours = await self.workspaces.why_not_ours(row, ward.repository) is None
                return row.status is not WorktreeStatus.REMOVED or (there and ours)
        return False

    async def _folders(self, ward: Ward, known: set[str]) -> Ailment | None:
        names = await asyncio.to_thread(_folders_of, ward.root, known | ward.elsewhere)
        if not names:
            return None
        sizes = [await self._size(ward, ward.root / name) or 0 for name in names]
        one = len(names) == 1
        what = "A folder among the worktrees was" if one else f"{len(names)} folders among the worktrees were"
        left = "It is left alone." if one else "They are left alone."
        return ailment(
            HealthCode.FOLDER_FOREIGN,
            f"{what} not made by AgentPane: {_some(names)}. {left}",
            str(ward.root),
            about=tuple(names),
            size=sum(sizes) or None,
            notice=True,
            project=ward.project.id,
        )

    async def _size(self, ward: Ward, folder: Path) -> int | None:
        """Only below the project's own folder: a root that is shared may hold the whole disk."""
        return await self.sizes.of(folder) if ward.root.is_relative_to(ward.repository.path) else None

    def _branches(self, ward: Ward) -> Ailment | None:
        ours = {f"refs/heads/{row.branch}" for row in (*ward.rows, *ward.beside)}
        names = sorted(
            ref.removeprefix("refs/heads/")
            for ref in ward.refs
            if ref.startswith(("refs/heads/agentpane/", "refs/heads/agentpane-")) and ref not in ours
        )
        if not names:
            return None
        what = "branch that no card here has had" if len(names) == 1 else "branches that no card here has had"
        text = f"{len(names)} {what}: {_some(names)}. Left alone; `git branch -d` deletes one that is merged."
        return ailment(
            HealthCode.BRANCH_FOREIGN, text, _home(ward), about=tuple(names), notice=True, project=ward.project.id
        )

    async def _refs(self, ward: Ward) -> Ailment | None:
        runs = {ref: ref.split("/")[3] for ref in ward.refs if ref.startswith(RUN_REFS)}
        unknown = await self.core.db.read(health.unknown_runs, set(runs.values()))
        strange = [ref for ref in ward.refs if ref.startswith(REFS) and not ref.startswith((*RUN_REFS, RECOVERY_REFS))]
        names = sorted([*(ref for ref, run in runs.items() if run in unknown), *strange])
        if not names:
            return None
        what = (
            "ref that is of no run in this database" if len(names) == 1 else "refs that are of no run in this database"
        )
        text = f"{len(names)} {what}: {_some(names)}. Another data folder may need them; they are left alone."
        return ailment(
            HealthCode.REFS_FOREIGN, text, _home(ward), about=tuple(names), notice=True, project=ward.project.id
        )


def _home(ward: Ward) -> str:
    """The repository by the name that all projects in it share, so that what is found in it is told once."""
    return str(ward.listed[0].path if ward.listed else ward.repository.path)


def _folders_of(root: Path, known: set[str]) -> list[str]:
    """The folders in `root` that nothing is known of; those on the way to a known one are not meant."""
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    ways = {str(parent) for path in known for parent in (Path(path), *Path(path).parents)}
    hidden = (".agentpane-trash-", ".git")
    return sorted(name for name in names if str(root / name) not in ways and not name.startswith(hidden))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
