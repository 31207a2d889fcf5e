"""The whole look at everything: one thing after the other, and nothing is changed.

What only a person asks for, and what takes long (every page of the database), is left out when the doctor looks by
itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agentpane import __version__
from agentpane.db import health, merges, projects, recoveries, worktrees
from agentpane.domain.gitpaths import shown_paths
from agentpane.domain.health import DoctorReport, Finding
from agentpane.domain.ids import ProjectId
from agentpane.domain.merges import MergeKind, MergeRecord
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents.agent_sync import AgentFiles
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health import surroundings
from agentpane.orchestrator.health.ailments import Ailment, Ward, ailment
from agentpane.orchestrator.health.foreign import Foreign
from agentpane.orchestrator.health.kept import Kept, tally
from agentpane.orchestrator.health.leftovers import Leftovers
from agentpane.orchestrator.health.processes import Processes
from agentpane.orchestrator.health.rows import Rows
from agentpane.orchestrator.health.sizes import Sizes
from agentpane.orchestrator.health.stale import Shelf
from agentpane.orchestrator.merging.recovery import Recovery
from agentpane.orchestrator.workspaces.workspace import Workspaces, worktree_root
from agentpane.sandbox import Sandbox
from agentpane.worktrees import RecoveryOutcome

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Examination:
    """began: when this engine did."""

    core: Core
    sandbox: Sandbox
    backends: Backends
    workspaces: Workspaces
    agent_files: AgentFiles
    recovery: Recovery
    shelf: Shelf
    sizes: Sizes
    began: datetime

    async def look(self, *, deep: bool = True, only: Collection[ProjectId] | None = None) -> tuple[Ailment, ...]:
        """What is wrong. deep: read the whole database too. only: the projects to look at; None: all."""
        found: list[Ailment] = []
        if deep:
            found += [each async for each in surroundings.database(self.core)]
            found += [each async for each in Processes().on_database(self.core.folder.database)]
        found += [each async for each in surroundings.confinement(self.sandbox)]
        if await self._git(found):
            found += [each async for each in self._projects(only)]
            found += [each async for each in self.shelf.stale(only)]
        on_board = await self.core.db.read(projects.list_all)
        found += [each async for each in surroundings.programs(self.core, self.backends, on_board)]
        found += [each async for each in self._merges()]
        leftovers = Leftovers(self.core, self.sizes, self.began)
        found += [each async for each in Kept(self.core).expiring()]
        found += [each async for each in leftovers.temporary_folders()]
        if deep:
            found += [each async for each in leftovers.outputs()]
            found += [self._of_file(each) for each in await self.agent_files.findings()]
        return tuple({each.finding.id: each for each in found}.values())

    async def report(self, found: Sequence[Ailment]) -> DoctorReport:
        rows = await self.core.db.read(recoveries.everything)
        count, size = tally(rows)
        findings = tuple(each.finding for each in found)
        ok = all(finding.notice for finding in findings)
        versions = {
            "agentpane": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "git": await self._git([]),
        }
        tier = self.sandbox.tier.value
        at = self.core.clock.now()
        return DoctorReport(ok, findings, tier, versions, recoveries=count, recoveries_bytes=size, at=at)

    async def _git(self, found: list[Ailment]) -> str:
        """Git's version; empty when it is missing or too old, which is added to `found`."""
        try:
            return await self.core.git.check_git()
        except AgentPaneError as error:
            found.append(ailment(error.code, error.message, "git", error.hint))
            return ""

    async def _projects(self, only: Collection[ProjectId] | None) -> AsyncIterator[Ailment]:
        on_board = await self.core.db.read(projects.list_all)
        off_board = await self.core.db.read(health.off_board)
        every = [*on_board, *off_board]
        roots = frozenset(place for project in every for place in (str(_root(project)), project.path))
        for project in every if only is None else [each for each in every if each.id in only]:
            ward = await self._ward(project, project in on_board, roots)
            if isinstance(ward, Ailment):
                yield ward
                continue
            async for each in self._ward_findings(ward):
                yield each
            if ward.on_board and project.trust_pending:
                yield self._trust(project)

    async def _ward_findings(self, ward: Ward) -> AsyncIterator[Ailment]:
        lookers = (
            Rows(self.core, self.workspaces, self.began).look,
            Foreign(self.core, self.workspaces, self.sizes).look,
            Kept(self.core).look,
            Leftovers(self.core, self.sizes, self.began).look,
            Processes().look,
        )
        for look in lookers:
            try:
                async for each in look(ward):
                    yield each
            except (AgentPaneError, OSError) as error:
                log.info("%s is not looked at whole: %s", ward.project.path, error)
            await asyncio.sleep(0)

    async def _ward(self, project: Project, on_board: bool, roots: frozenset[str]) -> Ward | Ailment:
        try:
            repository = await self.core.git.open_repository(Path(project.path))
            # Rows first: what is made after this has no row here, and is taken for new below.
            rows = await self.core.db.read(worktrees.all_for_project, project.id)
            listed = await self.core.git.list_worktrees(repository)
            marked = await self.core.git.inspection.marked(repository)
            refs = await self.core.git.inspection.refs(repository)
        except AgentPaneError as error:
            away = not on_board  # what it has left is not to be had just now, and nobody works with it
            fix = error.hint
            if error.code is ErrorCode.PROJECT_PATH_INVALID:
                fix = "Move it back there. Or take it off the board: "
                fix += f"agentpane project remove {project.id} deletes nothing in it."
            return ailment(error.code, error.message, project.path, fix, project=project.id, notice=away)
        needs = await self.core.db.read(health.needs)
        everywhere = {row.path for row in await self.core.db.read(worktrees.live)}
        elsewhere = frozenset(everywhere | roots)
        rows = await self.core.db.read(worktrees.all_for_project, project.id)
        beside = await self.core.db.read(worktrees.beside, project.id, str(repository.common_dir))
        root = _root(project)
        return Ward(project, on_board, repository, root, listed, rows, refs, needs, elsewhere, beside, marked)

    def _trust(self, project: Project) -> Ailment:
        text = "The repository's configuration waits for trust: " + "; ".join(project.trust_pending)
        fix = (
            "Read it, then trust it: in the window, above the board; headless, "
            f"agentpane project trust {project.id} shows it and what to give to trust it."
        )
        return ailment(ErrorCode.PROJECT_NOT_TRUSTED, text, project.path, fix, project=project.id)

    async def _merges(self) -> AsyncIterator[Ailment]:
        for merge in await self.core.db.read(merges.unsettled):
            if not self.core.task_locks.of(merge.task_id or merge.id).locked():
                yield self._waiting(merge)
            elif merge.started_at < self.began:  # else it is no older engine's, and goes its way
                yield self._being_settled(merge)

    def _being_settled(self, merge: MergeRecord) -> Ailment:
        act = "The undoing of a merge" if merge.kind is MergeKind.UNDO else "A merge"
        return ailment(
            ErrorCode.RESOURCE_LOCKED,
            f"{act} into {merge.target_ref} was cut off, and is being settled: its card is not up to date yet.",
            merge.checkout_path or merge.target_ref,
            "Wait a moment. Nothing has to be done.",
            about=(merge.id,),
            project=merge.project_id,
        )

    def _waiting(self, merge: MergeRecord) -> Ailment:
        async def settle() -> str:
            found = await self.recovery.settle(merge)
            if found is None or found.outcome is not RecoveryOutcome.NEEDS_PERSON:
                return f"The merge is settled. {'' if found is None else found.message}".strip()
            names = shown_paths(found.paths)
            raise AgentPaneError(
                ErrorCode.MERGE_CHECKOUT_DIRTY,
                f"{found.message} {f'It is about {names}.' if names else ''}".strip(),
                "Commit, stash or take back what you changed in these files, then try again. Nothing has changed.",
            )

        return ailment(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"A merge into {merge.target_ref} was cut off, and is not settled: your checkout may be half changed.",
            merge.checkout_path or merge.target_ref,
            "Set the files right, then let it be settled.",
            about=(merge.id,),
            mend=settle,
            project=merge.project_id,
            task_id=merge.task_id,
        )

    def _of_file(self, finding: Finding) -> Ailment:
        return ailment(finding.code, finding.what, finding.where, finding.fix, about=(finding.what,))


def _root(project: Project) -> Path:
    return Path(os.path.realpath(worktree_root(project, project.config)))
