"""Keeps the agents of a project in step with the files that describe some of them.

The person's files lie in the data folder and count for every project; a repository's count for it, as they stand on
the base branch, once trusted. An agent made by hand keeps its name, and a file of the person's comes before one of the
repository's. Nothing watches the files: they are looked at when agents are listed and when a run begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentpane.api import commands as c
from agentpane.api.events import AgentRemoved
from agentpane.db import agent_files as rows
from agentpane.db import agents, projects, tasks
from agentpane.domain.agent_files import FOLDER, AgentFile
from agentpane.domain.checks import RepositoryChecks
from agentpane.domain.health import Finding
from agentpane.domain.ids import ProjectId
from agentpane.domain.limits import invalid
from agentpane.domain.mcp import CONFIG_PATH, RepositoryServers
from agentpane.domain.projects import Project
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents import agent_files
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.permissions import trust

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[Any]]
Signature = tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class AgentFiles:
    """Reads files only when they have changed since they were read last."""

    core: Core
    _read: tuple[Signature, agent_files.Read] | None = field(default=None)
    _told: frozenset[str] = field(default=frozenset())  # problems that the log has

    @property
    def folder(self) -> Path:
        """Where the person's files lie."""
        return self.core.folder.root / "agents"

    async def refresh(self, project: Project) -> tuple[Finding, ...]:
        """Bring the project's agents up to date. Returns what is wrong with files, .mcp.json too."""
        own = await self._own()
        findings = [_finding(problem.path, problem.error.message) for problem in own.problems]
        repository: tuple[AgentFile, ...] = ()
        kept = {problem.path for problem in own.problems}
        stand: trust.Standing | AgentPaneError | None = await self._standing(project)
        if isinstance(stand, AgentPaneError):
            if stand.code is ErrorCode.PROJECT_CONFIG_INVALID:
                findings.append(
                    Finding(stand.code.value, stand.message, project.path, stand.hint, project_id=project.id)
                )
            stand = None
        if stand is None or not stand.trusted:
            kept |= await self._of_repository(project.id)
        elif stand.config is not None:
            repository = stand.config.agents
            kept |= {path for path, _ in stand.config.problems}
        if stand is not None and stand.config is not None:
            findings += [_finding(path, message) for path, message in stand.config.problems]
        taken = {file.name: file.path for file in own.agents}
        free = tuple(file for file in repository if file.name not in taken)
        findings += [_clash(file, taken[file.name]) for file in repository if file.name in taken]
        findings += await self._store(project, (*own.agents, *free), kept)
        self._log(findings)
        return tuple(findings)

    async def _store(self, project: Project, files: tuple[AgentFile, ...], kept: set[str]) -> list[Finding]:
        listed = await self.core.db.read(agents.list_for, project.id)
        if not files and all(agent.source is None for agent in listed):
            return []
        synced = await self.core.db.write(rows.sync, project.id, files, kept, self.core.clock.now())
        for agent_id in synced.changed:
            await self.core.announce_agent(agent_id)
        for agent_id in synced.archived:
            self.core.bus.publish(AgentRemoved(agent_id, project.id))
        if synced.changed or synced.archived:
            entry = self.core.record(
                "agent.files",
                project.id,
                actor="engine",
                input={"changed": list(synced.changed), "archived": list(synced.archived)},
            )
            await self.core.audit(entry)
        return [_clash(file, "An agent made by hand") for file in files if file.name in synced.taken]

    async def refresh_for(self, *, project: str | None = None, task: str | None = None) -> tuple[Finding, ...]:
        """The same for what a reference names."""

        def find(connection: projects.Connection) -> Project:
            if task is not None:
                found = tasks.get(connection, tasks.resolve(connection, task))
                return projects.get(connection, ProjectId(found.card.project_id))
            return projects.get(connection, projects.resolve(connection, project or ""))

        return await self.refresh(await self.core.db.read(find))

    async def servers(self, command: c.ListRepositoryServers) -> RepositoryServers:
        """The tool servers of the repository, without the values that they are given."""
        project = await self.core.db.read(lambda db: projects.get(db, projects.resolve(db, command.project)))
        stand = await self._standing(project)
        if isinstance(stand, AgentPaneError) or stand.config is None:
            return RepositoryServers()
        problem = next((message for path, message in stand.config.problems if path == CONFIG_PATH), "")
        named = tuple(replace(server, environment=()) for server in stand.config.servers)
        return RepositoryServers(named, stand.trusted, problem)

    async def checks(self, command: c.ListRepositoryChecks) -> RepositoryChecks:
        """The checks of the repository, whether they hold or not."""
        project = await self.core.db.read(lambda db: projects.get(db, projects.resolve(db, command.project)))
        stand = await self._standing(project)
        if isinstance(stand, AgentPaneError):
            return RepositoryChecks(problem=f"{stand.message} {stand.hint}")
        return RepositoryChecks(stand.config.checks, stand.trusted) if stand.config else RepositoryChecks()

    def before(self, handler: Handler, field: str, when: Callable[[Any], bool] = lambda command: True) -> Handler:
        """A command's handler that brings the agents up to date first. field: the command's reference.

        when: for which of these commands, where not for all.
        """

        async def handle(command: Any) -> Any:
            if when(command):
                await self.refresh_for(**{field: getattr(command, field)})
            return await handler(command)

        return handle

    def after(self, handler: Handler) -> Handler:
        """The handler of a command that answers with a project, whose agents are brought up to date then."""

        async def handle(command: Any) -> Any:
            project = await handler(command)
            await self.refresh(project)
            return project

        return handle

    async def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the files of every project, each told once."""
        found: dict[Finding, None] = {}
        for project in await self.core.db.read(projects.list_all):
            found.update(dict.fromkeys(await self.refresh(project)))
        return tuple(found)

    async def _own(self) -> agent_files.Read:
        now = await asyncio.to_thread(agent_files.signature, self.folder)
        if self._read is None or self._read[0] != now:
            self._read = (now, await asyncio.to_thread(agent_files.read_folder, self.folder))
        return self._read[1]

    async def _standing(self, project: Project) -> trust.Standing | AgentPaneError:
        """How the repository's files stand on the base branch; why not, when they cannot be read."""
        try:
            repository = await self.core.git.open_repository(Path(project.path))
            return await trust.look(self.core, project, repository)
        except AgentPaneError as error:
            return error

    async def _of_repository(self, project_id: ProjectId) -> set[str]:
        listed = await self.core.db.read(agents.list_for, project_id)
        return {agent.source for agent in listed if agent.source is not None and agent.source.startswith(FOLDER)}

    def _log(self, findings: list[Finding]) -> None:
        words = frozenset(finding.what for finding in findings)
        for new in sorted(words - self._told):
            log.warning("%s", new)
        self._told = words


def check_editable(source: str | None) -> None:
    """Raises AgentPaneError with VALIDATION_ERROR if an agent comes from a file."""
    if source is not None:
        raise invalid(
            "agent",
            f"This agent comes from {source}.",
            "Change that file; the agent follows it. Nothing has been stored.",
        )


def _finding(path: str, message: str) -> Finding:
    return Finding(ErrorCode.PROJECT_CONFIG_INVALID.value, message, path, "Correct the file.")


def _clash(file: AgentFile, holder: str) -> Finding:
    message = f"{file.path} is left out. “name”: {holder} is called “{file.name}” already, and stays."
    return Finding(ErrorCode.PROJECT_CONFIG_INVALID.value, message, file.path, "Give the file another name.")
