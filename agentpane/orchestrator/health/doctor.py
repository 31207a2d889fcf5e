"""The doctor behind the door: reports, mends what it is told to, and looks by itself when the engine starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from agentpane.api import commands as c
from agentpane.api.events import HealthChanged
from agentpane.db import projects, recoveries
from agentpane.domain.health import DoctorReport, HealthCode, RepairOutcome, WorktreeEntry
from agentpane.domain.recoveries import NOTICE
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.agents.agent_sync import AgentFiles
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment
from agentpane.orchestrator.health.examination import Examination
from agentpane.orchestrator.health.sizes import Sizes
from agentpane.orchestrator.health.stale import Shelf
from agentpane.orchestrator.merging.recovery import Recovery
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.sandbox import Sandbox

log = logging.getLogger(__name__)

OWN_CHAIN = "agentpane"  # the audit chain of what belongs to no project
SETTLED_S = 1.0  # what starts with the engine, a window above all, comes first


class HouseDoctor:
    """One look at a time."""

    @classmethod
    def of(
        cls,
        core: Core,
        sandbox: Sandbox,
        backends: Backends,
        workspaces: Workspaces,
        agent_files: AgentFiles,
        recovery: Recovery,
    ) -> HouseDoctor:
        """A doctor of everything; what runs now is this engine's."""
        sizes = Sizes()
        shelf = Shelf(core, workspaces, sizes)
        began = core.clock.now()
        looking = Examination(core, sandbox, backends, workspaces, agent_files, recovery, shelf, sizes, began)
        return cls(core, looking, shelf)

    def __init__(self, core: Core, examination: Examination, shelf: Shelf) -> None:
        self._core = core
        self._examination = examination
        self._shelf = shelf
        self._one = asyncio.Lock()
        self._last: DoctorReport | None = None

    async def run(self) -> None:
        """Look once at what the last engine has left, and report only. Projects that are added meanwhile wait."""
        left = await self._core.db.read(projects.list_all)
        await self._core.clock.sleep(SETTLED_S)
        try:
            async with self._one:
                found = await self._examination.look(deep=False, only=[project.id for project in left])
                self._tell(await self._examination.report(found))
        except AgentPaneError as error:
            log.info("the doctor could not look: %s", error.message)
        except Exception:  # a look that nobody asked for ends no engine
            log.exception("the doctor's own look failed")

    async def report(self, command: c.Doctor) -> DoctorReport:
        async with self._one:
            report = await self._examination.report(await self._examination.look())
        if any(finding.code is HealthCode.RECOVERY_EXPIRES for finding in report.findings):
            await self._core.db.write(recoveries.notice, self._core.clock.now(), NOTICE)
        self._tell(report)
        return report

    async def health(self, command: c.GetHealth) -> DoctorReport | None:
        return self._last

    async def repair(self, command: c.Repair) -> DoctorReport:
        """Look again, mend what is still the same, and look once more."""
        async with self._one:
            found = {each.finding.id: each for each in await self._examination.look()}
            outcomes = [await self._mend(name, found.get(name)) for name in dict.fromkeys(command.findings)]
            report = await self._examination.report(await self._examination.look())
        self._tell(report)
        return replace(report, repairs=tuple(outcomes))

    async def listed(self, command: c.ListWorktrees) -> tuple[WorktreeEntry, ...]:
        if command.project is None:
            return await self._shelf.listed()
        return await self._shelf.listed((await self._core.db.read(projects.resolve, command.project),))

    async def remove(self, command: c.RemoveWorktree) -> WorktreeEntry:
        return await self._shelf.remove(command.worktree)

    async def _mend(self, name: str, found: Ailment | None) -> RepairOutcome:
        if found is None:
            return RepairOutcome(name, False, "It is not found any more, or has changed. Nothing was done.")
        if found.mend is None:
            return RepairOutcome(name, False, "Only a person can mend this. Nothing was done.")
        lock = self._core.task_locks.of(found.task_id) if found.task_id else contextlib.nullcontext()
        try:
            async with lock:
                words = await found.mend()
        except AgentPaneError as error:
            await self._write_down(found, error=error.message)
            return RepairOutcome(name, False, f"{error.message} {error.hint}".strip())
        await self._write_down(found, words=words)
        if found.task_id:
            with contextlib.suppress(AgentPaneError):
                await self._core.announce_task(found.task_id)
        return RepairOutcome(name, True, words)

    async def _write_down(self, found: Ailment, *, words: str | None = None, error: str | None = None) -> None:
        finding = found.finding
        entry = self._core.record(
            "doctor.repair",
            finding.project_id or OWN_CHAIN,
            task_id=found.task_id,
            input={"finding": finding.id, "code": finding.code, "where": finding.where, "what": finding.what},
            output={"done": words} if words else None,
            error=error,
        )
        await self._core.audit(entry)

    def _tell(self, report: DoctorReport) -> None:
        before, self._last = self._last, report
        known = frozenset() if before is None else frozenset(before.findings)
        if known != frozenset(report.findings):
            self._core.bus.publish(HealthChanged(report))
