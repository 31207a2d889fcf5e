"""The worktrees that projects keep ready: made when nothing starts, moved on with their base, and taken away again.

A project that nobody works in keeps none. Nothing is looked at unless something has happened: a card was given a
worktree, a base branch moved, a setting changed, the engine started.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import pool, projects, runs, worktrees
from agentpane.db.references import new_id
from agentpane.domain.ids import ProjectId
from agentpane.domain.pool import PoolStatus, is_in_use
from agentpane.domain.projects import Project
from agentpane.domain.runs import RunStatus
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.sizes import Sizes
from agentpane.orchestrator.keeping.holding import ChangedError, lock_of
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.orchestrator.workspaces.handover import Handover
from agentpane.orchestrator.workspaces.workspace import Workspaces, worktree_root
from agentpane.worktrees import BranchTip, Repository

log = logging.getLogger(__name__)

QUIET_S = 10.0  # how long nothing may have started before a worktree is made for later
IDLE = "Nothing was worked on in it for 14 days, so none is kept ready until a card of it starts."
UNUSED = "None is kept ready before the first card of the project has started."


class Pool:
    """Tends the ready worktrees of every project, one at a time."""

    def __init__(self, core: Core, workspaces: Workspaces, handover: Handover) -> None:
        self._core = core
        self._workspaces = workspaces
        self._due: dict[ProjectId, None] = {}  # in the order in which they came
        self._leaving: list[ProjectId] = []  # once for each who takes it off the board
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()
        self._sizes = Sizes()
        handover.on_use = self.look_at

    def look_at(self, project_id: ProjectId) -> None:
        """Something has happened that may concern the project's ready worktrees."""
        self._due[project_id] = None
        self._news.set()

    async def run(self) -> None:
        """Serve until cancelled. A project that cannot be looked at is passed over until something happens in it."""
        with self._passing_over("all projects"):
            for project in await self._core.db.read(projects.list_all):
                self.look_at(project.id)
        while True:
            await self._news.wait()
            with self._passing_over("the runs"):
                await self._quiet()
            due, self._due = tuple(self._due), {}
            for project_id in due:
                with self._passing_over(project_id):
                    await self._tend(project_id)

    @asynccontextmanager
    async def emptied(self, project: Project) -> AsyncIterator[None]:
        """Take a project's ready worktrees away, and make none until the block ends: it leaves the board in there.

        What somebody put into one is in the recovery bin then.
        """
        self._leaving.append(project.id)
        try:
            async with self._turn:  # one that is being made is waited for
                for row in await self._core.db.read(worktrees.pooled, project.id):
                    await self._retire(row, await self._repository(project))
                yield
        finally:
            self._leaving.remove(project.id)
            self.look_at(project.id)  # it may have stayed

    async def status(self, command: c.GetPool) -> PoolStatus:
        """How the pool of a project stands. Raises PROJECT_NOT_FOUND."""
        project = await self._core.db.read(lambda db: projects.get(db, projects.resolve(db, command.project)))
        ready = await self._core.db.read(worktrees.pooled, project.id)
        size = sum([await self._sizes.of(Path(row.path)) or 0 for row in ready])
        wanted = project.config.pool_size
        last = await self._core.db.read(pool.last_given, project.id)
        none = bool(wanted) and not is_in_use(last, self._core.clock.now())
        off = "" if not none else UNUSED if last is None else IDLE
        return PoolStatus(wanted, len(ready), size, off)

    @contextmanager
    def _passing_over(self, what: str) -> Iterator[None]:
        """Nothing that goes wrong here is to end what the engine does beside it."""
        try:
            yield
        except AgentPaneError as error:
            log.info("ready worktrees: %s not looked at: %s", what, error.message)
        except Exception:
            log.exception("ready worktrees: %s not looked at", what)

    async def _quiet(self) -> None:
        """Wait until nothing has happened for a while and no run is being started."""
        while True:
            self._news.clear()
            await self._core.clock.sleep(QUIET_S)
            starting = [run for run in await self._core.db.read(runs.active) if run.status is RunStatus.STARTING]
            if not self._news.is_set() and not starting:
                return

    async def _wanted(self, project: Project) -> int:
        last = await self._core.db.read(pool.last_given, project.id)
        return project.config.pool_size if is_in_use(last, self._core.clock.now()) else 0

    async def _tend(self, project_id: ProjectId) -> None:
        async with self._turn:
            project = next((one for one in await self._core.db.read(projects.list_all) if one.id == project_id), None)
            if project is None:
                return
            rows = await self._core.db.read(worktrees.pooled, project_id)
            wanted = await self._wanted(project)
            if not rows and not wanted:
                return
            repository = await self._core.git.open_repository(Path(project.path))
            tip = await self._core.git.base_branch(repository, project.base_branch)
            root = Path(os.path.realpath(worktree_root(project, project.config)))
            kept = 0
            for row in rows:
                async with lock_of(self._core, row.id):
                    fits = kept < wanted and Path(row.path).parent == root and await self._fits(row, repository, tip)
                if fits:
                    kept += 1
                else:
                    with self._passing_over(row.path):
                        await self._retire(row, repository)
            for _ in range(kept, wanted):
                if self._leaving:  # whoever takes a project off the board waits for this
                    return self.look_at(project_id)
                await self._make(project, repository, tip, root)

    async def _fits(self, row: WorktreeRow, repository: Repository, tip: BranchTip) -> bool:
        """Whether a ready worktree can serve the next card, moved on to where its base is."""
        ready = as_worktree(row)
        if not await self._core.git.ready.is_sealed(ready, row.base_sha or ""):
            return False
        if row.base_sha == tip.sha:
            return True
        if await self._core.db.write(pool.hold, row.id, WorktreeStatus.CREATING, self._now()) is None:
            return False
        fields: dict[str, object] = {"status": WorktreeStatus.POOLED}
        try:
            moved = await self._core.git.ready.advance(repository, ready, tip.sha)
            if moved:
                fields |= {"base_sha": tip.sha, "base_branch": tip.branch}
            return moved
        finally:
            await self._core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=self._now(), **fields))

    async def _make(self, project: Project, repository: Repository, tip: BranchTip, root: Path) -> None:
        """Make one. What fails half-way is taken back, and its row says why there is none."""
        path = root / f"ready-{new_id()[:8]}"
        new = worktrees.NewWorktree(project.id, None, "", tip.branch, tip.sha, str(path))
        row = await self._core.db.write(worktrees.create, new, self._now())
        try:
            async with lock_of(self._core, row.id):
                await self._fill(row, repository, tip)
        except BaseException as error:
            words = error.message if isinstance(error, AgentPaneError) else "It was stopped while it was being made."
            left = await self._workspaces.unmade.settle(row, repository, None)
            fields: dict[str, object] = {"last_error": left.noted(words)}
            if left.gone:
                fields |= {"status": WorktreeStatus.REMOVED, "removed_at": self._now()}
            await self._core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=self._now(), **fields))
            raise
        told = {"state": "ready", "path": row.path, "base": tip.sha}
        await self._core.audit(self._core.record("worktree.create", project.id, actor="engine", input=dict(told)))

    async def _fill(self, row: WorktreeRow, repository: Repository, tip: BranchTip) -> None:
        made = await self._core.git.ready.make(repository, Path(row.path), tip.sha, row.id)
        fields = {"status": WorktreeStatus.POOLED, "path": str(made.path), "git_dir": str(made.git_dir)}
        await self._core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=self._now(), **fields))

    async def _retire(self, row: WorktreeRow, repository: Repository | None) -> None:
        """Take one away, if it is ready still: a card may have got it since the row was read."""
        with suppress(ChangedError):
            await self._workspaces.take_away(row, repository, "no longer kept ready")

    async def _repository(self, project: Project) -> Repository | None:
        try:
            return await self._core.git.open_repository(Path(project.path))
        except AgentPaneError:
            return None  # it is not where it was; then its worktrees are left where they are

    def _now(self) -> datetime:
        return self._core.clock.now()
