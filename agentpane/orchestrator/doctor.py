"""What is wrong: database, worktrees, branches and programs, compared with what the rows say. It only reports."""

from __future__ import annotations

import asyncio
import platform
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from agentpane import __version__
from agentpane.db import merges, projects, worktrees
from agentpane.domain.health import DoctorReport, Finding
from agentpane.domain.projects import Project
from agentpane.domain.sandbox import Tier
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.workspace import worktree_root
from agentpane.sandbox import Sandbox, why_not_confined
from agentpane.worktrees import ListedWorktree

PRESENT = frozenset({WorktreeStatus.ACTIVE, WorktreeStatus.MERGING})


@dataclass(frozen=True, slots=True)
class Examination:
    """Looks at everything and changes nothing."""

    core: Core
    sandbox: Sandbox

    async def report(self) -> DoctorReport:
        findings: list[Finding] = []
        database = self.core.folder.database
        for what in await self.core.db.check():
            findings.append(
                Finding("STORE_CORRUPT", what, str(database), "Restore a backup with: agentpane db restore FILE")
            )
        if self.sandbox.tier is Tier.NONE:
            why: str | None = await asyncio.to_thread(why_not_confined)
            findings.append(
                Finding(
                    "SECURITY_SANDBOX_UNAVAILABLE",
                    "Commands of agents are not confined, and each is asked for: "
                    + (why or "AGENTPANE_SANDBOX has chosen so."),
                    "sandbox",
                    "Install bubblewrap (bwrap), and leave AGENTPANE_SANDBOX unset.",
                )
            )
        git = ""
        try:
            git = await self.core.git.check_git()
        except AgentPaneError as error:
            findings.append(Finding(error.code.value, error.message, "git", error.hint))
        for project in await self.core.db.read(projects.list_all) if git else ():
            findings += await self._project(project)
        for merge in await self.core.db.read(merges.needing_person):
            text = f"A merge into {merge.target_ref} was cut off, and your checkout differs from both sides of it."
            findings.append(Finding("MERGE_CHECKOUT_DIRTY", text, merge.checkout_path or merge.target_ref, ""))
        versions = {
            "agentpane": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "git": git,
        }
        return DoctorReport(not findings, tuple(findings), self.sandbox.tier.value, versions)

    async def _project(self, project: Project) -> list[Finding]:
        try:
            repository = await self.core.git.open_repository(Path(project.path))
            listed = await self.core.git.list_worktrees(repository)
        except AgentPaneError as error:
            return [Finding(error.code.value, error.message, project.path, error.hint)]
        rows = await self.core.db.read(worktrees.all_for_project, project.id)
        found = [finding for row in rows if (finding := await self._row(row, listed)) is not None]
        ours = {row.path for row in rows if row.status is not WorktreeStatus.REMOVED}
        root = worktree_root(project, project.config)
        for worktree in listed:
            path = worktree.path
            if path.is_relative_to(root) and str(path) not in ours:
                text = "A worktree without a row; it was not made for a card, or its row is gone. It is left alone."
                found.append(Finding("WORKTREE_NOT_FOUND", text, str(path), ""))
        if project.trust_pending:
            text = "The repository's configuration waits for trust: " + "; ".join(project.trust_pending)
            fix = (
                "Read it, then trust it: in the window, above the board; headless, "
                f"agentpane project trust {project.id} shows it and what to give to trust it."
            )
            found.append(Finding("PROJECT_NOT_TRUSTED", text, project.path, fix))
        return found

    async def _row(self, row: WorktreeRow, listed: tuple[ListedWorktree, ...]) -> Finding | None:
        if row.status is WorktreeStatus.ERROR:
            return Finding(
                "WORKTREE_CREATION_FAILED", row.last_error or "The worktree is in error.", row.path, "Cancel the card."
            )
        if row.status not in PRESENT:
            return None
        if not Path(row.path).is_dir():
            text = "A card's worktree is gone from the disk; its branch is kept."
            return Finding("WORKTREE_NOT_FOUND", text, row.path, "Resume the card: it is made again from the branch.")
        if not any(str(worktree.path) == row.path for worktree in listed):
            text = "git does not know a card's worktree any more; its files are kept."
            return Finding("WORKTREE_NOT_FOUND", text, row.path, "")
        return None
