"""What lies where ours lies and is not ours: told, counted, and never touched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import health
from agentpane.domain.health import HealthCode
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment, Ward, ailment
from agentpane.orchestrator.health.sizes import Sizes

NAMED = 5  # how many of many are named
REFS = "refs/agentpane/"
RUN_REFS = ("refs/agentpane/run/", "refs/agentpane/turn/")
RECOVERY_REFS = "refs/agentpane/recovery/"  # see `kept`


@dataclass(frozen=True, slots=True)
class Foreign:
    core: Core
    sizes: Sizes

    async def look(self, ward: Ward) -> AsyncIterator[Ailment]:
        ours = {row.path for row in ward.rows if row.status is not WorktreeStatus.REMOVED}
        theirs = {str(listed.path) for listed in ward.listed} - ours
        for path in sorted(path for path in theirs if Path(path).is_relative_to(ward.root)):
            text = "A worktree that was not made for a card, or whose row is gone. It is left alone."
            size = await self._size(ward, Path(path))
            yield ailment(HealthCode.WORKTREE_FOREIGN, text, path, size=size, notice=True, project=ward.project.id)
        for found in (await self._folders(ward, ours | theirs), self._branches(ward), await self._refs(ward)):
            if found is not None:
                yield found

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
        ours = {f"refs/heads/{row.branch}" for row in ward.rows}
        names = sorted(
            ref.removeprefix("refs/heads/")
            for ref in ward.refs
            if ref.startswith(("refs/heads/agentpane/", "refs/heads/agentpane-")) and ref not in ours
        )
        if not names:
            return None
        what = "branch that no card has had" if len(names) == 1 else "branches that no card has had"
        text = f"{len(names)} {what}: {_some(names)}. Left alone; `git branch -d` deletes one that is merged."
        where = str(ward.repository.path)
        return ailment(HealthCode.BRANCH_FOREIGN, text, where, about=tuple(names), notice=True, project=ward.project.id)

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
        where = str(ward.repository.path)
        return ailment(HealthCode.REFS_FOREIGN, text, where, about=tuple(names), notice=True, project=ward.project.id)


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
