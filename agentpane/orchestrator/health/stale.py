"""The worktrees as they are on disk: what they take, why they may go, and taking one away when a person says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from agentpane.db import health, projects, tasks, worktrees
from agentpane.db.health import Need
from agentpane.domain.board import Column
from agentpane.domain.health import HealthCode, StaleReason, Use, WorktreeEntry, stale_reasons
from agentpane.domain.ids import ProjectId, TaskId, WorktreeId
from agentpane.domain.projects import Project
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment, ailment
from agentpane.orchestrator.health.sizes import Sizes
from agentpane.orchestrator.keeping.holding import ChangedError
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import Repository

PASSING = frozenset({WorktreeStatus.CREATING, WorktreeStatus.MERGING, WorktreeStatus.REMOVING})
AT_WORK = frozenset({Column.IN_PROGRESS, Column.WAITING_APPROVAL})
REASON = "a person removed the worktree"
WORDS: Mapping[StaleReason, str] = {
    StaleReason.IDLE: "nobody has used it for seven days",
    StaleReason.BRANCH_GONE: "its branch is gone",
    StaleReason.VERIFIED: "its card is verified",
    StaleReason.ORPHANED: "no card has it",
    StaleReason.OFF_BOARD: "its card or project has left the board",
}


@dataclass(frozen=True, slots=True)
class Shelf:
    """Lists worktrees, and takes them away."""

    core: Core
    workspaces: Workspaces
    sizes: Sizes

    async def listed(self, only: Collection[ProjectId] | None = None) -> tuple[WorktreeEntry, ...]:
        """Those that are not removed, the oldest first; of some projects or of all."""

        def read(
            connection: worktrees.Connection,
        ) -> tuple[tuple[WorktreeRow, ...], dict[WorktreeId, Need], tuple[Project, ...], tuple[Project, ...]]:
            return (
                worktrees.live(connection),
                health.needs(connection),
                projects.list_all(connection),
                health.off_board(connection),
            )

        rows, needs, on_board, off_board = await self.core.db.read(read)
        known = {each.id: each for each in (*on_board, *off_board)}
        live = {each.id for each in on_board}
        wanted = [row for row in rows if row.project_id in known and (only is None or row.project_id in only)]
        branches = {name: await self._branches(known[name]) for name in {row.project_id for row in wanted}}
        return tuple(
            [
                await self._entry(row, needs[row.id], known[row.project_id], row.project_id in live, branches)
                for row in wanted
            ]
        )

    async def _branches(self, project: Project) -> frozenset[str] | None:
        """The branches of a project's repository; None when it is not there."""
        try:
            repository = await self.core.git.open_repository(Path(project.path))
            refs = await self.core.git.inspection.refs(repository)
        except AgentPaneError:
            return None
        return frozenset(ref.removeprefix("refs/heads/") for ref in refs)

    async def _entry(
        self,
        row: WorktreeRow,
        need: Need,
        project: Project,
        on_board: bool,
        branches: Mapping[ProjectId, frozenset[str] | None],
    ) -> WorktreeEntry:
        there = branches[row.project_id]
        touched = await asyncio.to_thread(_touched, row)
        used = max(at for at in (row.updated_at, need.run_at, touched) if at is not None)
        use = Use(
            column=need.column,
            off_board=not on_board or need.task_archived,
            branch_there=there is None or row.branch in there,
            in_use=need.live or row.status in PASSING or row.merging is not None,
            used_at=used,
        )
        return WorktreeEntry(
            id=row.id,
            project_id=row.project_id,
            project=project.name,
            task_id=row.task_id,
            title=need.title,
            path=row.path,
            branch=row.branch,
            status=row.status,
            size_bytes=await self.sizes.of(Path(row.path)),
            last_used=used,
            in_use=use.in_use,
            stale=stale_reasons(row.status, use, self.core.clock.now()),
            restored_from=row.restored_from,
        )

    async def stale(self, only: Collection[ProjectId] | None = None) -> AsyncIterator[Ailment]:
        for entry in await self.listed(only):
            # One whose branch is gone gets it again first: see `rows`.
            if entry.stale and StaleReason.BRANCH_GONE not in entry.stale and entry.size_bytes is not None:
                why = ", ".join(WORDS[reason] for reason in entry.stale)
                whose = f"of “{entry.title}” " if entry.title else ""
                yield ailment(
                    HealthCode.WORKTREE_STALE, f"A worktree {whose}may go: {why}.", entry.path,
                    "Keep what it holds in the recovery bin and take it away; its branch stays.",
                    about=(entry.id, *entry.stale), mend=partial(self._take_stale, entry), size=entry.size_bytes,
                    notice=True, project=entry.project_id, task_id=entry.task_id,
                )  # fmt: skip

    async def _take_stale(self, entry: WorktreeEntry) -> str:
        await self._take(entry.id, entry.task_id)
        return "It was taken away; what it held is in the recovery bin, and its branch stays."

    async def remove(self, ref: str) -> WorktreeEntry:
        """Take one away. Raises WORKTREE_NOT_FOUND, RESOURCE_LOCKED, WORKTREE_REMOVAL_FAILED."""
        worktree_id = await self.core.db.read(worktrees.resolve, ref)
        row = await self.core.db.read(worktrees.get, worktree_id)
        async with self.core.task_locks.of(row.task_id or row.id):
            return await self._take(worktree_id, row.task_id)

    async def _take(self, worktree_id: WorktreeId, task_id: TaskId | None) -> WorktreeEntry:
        """The caller holds the lock of this card, if the worktree has one."""
        row = await self.core.db.read(worktrees.get, worktree_id)
        if row.task_id != task_id:
            raise ChangedError(row)
        entry = next((each for each in await self.listed((row.project_id,)) if each.id == row.id), None)
        if entry is None or row.status is WorktreeStatus.AWAY:
            raise AgentPaneError(
                ErrorCode.WORKTREE_NOT_FOUND, "The worktree is gone already.", "`agentpane worktree list` shows them."
            )
        if entry.in_use:
            raise AgentPaneError(
                ErrorCode.RESOURCE_LOCKED,
                f"The worktree {row.path} is in use: a run of its card has not ended, or a merge needs it.",
                "Wait for it, or cancel the card. Nothing has changed.",
                {"worktree": row.id, "task": row.task_id},
            )
        project = await self.core.db.read(projects.get, row.project_id)
        repository = await self.core.git.open_repository(Path(project.path))
        await self._check_ours(repository, row)
        task = await self.core.db.read(tasks.get, row.task_id) if row.task_id else None
        stays = task is not None and task.card.column in AT_WORK
        leaves = WorktreeStatus.AWAY if stays else WorktreeStatus.REMOVED
        await self.workspaces.take_away(row, repository, REASON, task=task, actor="person", leaves=leaves)
        if row.task_id:
            await self.core.announce_task(row.task_id)
        return entry

    async def _check_ours(self, repository: Repository, row: WorktreeRow) -> None:
        why = await self.workspaces.why_not_ours(row, repository)
        if why is not None:
            raise AgentPaneError(
                ErrorCode.WORKTREE_REMOVAL_FAILED,
                f"{row.path} was not removed: {why}.",
                "Nothing was deleted. `agentpane doctor` says what can be done about it.",
                {"path": row.path},
            )


def _touched(row: WorktreeRow) -> datetime | None:
    """When somebody last worked in it with git, or changed what lies at its top."""
    times = []
    for path in (Path(row.path), Path(row.git_dir or row.path) / "index"):
        try:
            times.append(path.lstat().st_mtime)
        except OSError:
            continue
    return datetime.fromtimestamp(max(times), UTC) if times else None
