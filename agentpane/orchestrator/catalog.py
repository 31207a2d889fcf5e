"""Projects and agents: added, changed, trusted, taken away."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpane.api import commands as c
from agentpane.api.events import ProjectRemoved
from agentpane.db import agents, approvals, audit, card_rows, projects, worktrees
from agentpane.domain.agents import Agent, BackendName
from agentpane.domain.board import Column
from agentpane.domain.configs import check_agent_config, check_config
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import (
    AGENT_NAME,
    PROJECT_DESCRIPTION,
    PROJECT_NAME,
    check_concurrency,
    check_line,
    check_text,
    invalid,
)
from agentpane.domain.projects import Project, ProjectConfig
from agentpane.domain.runs import ACTIVE, RunStatus
from agentpane.domain.tasks import TaskCard
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents import agent_homes
from agentpane.orchestrator.agents.agent_sync import check_editable
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.run_refs import RunRefs
from agentpane.orchestrator.permissions import trust
from agentpane.orchestrator.runs.cancelling import Cancelling
from agentpane.orchestrator.runs.dispatch import Dispatcher
from agentpane.orchestrator.workspaces.pool import Pool

FIRST_AGENT = "Claude"


@dataclass(frozen=True, slots=True)
class Catalog:
    core: Core
    backends: Backends
    dispatcher: Dispatcher
    cancelling: Cancelling
    pool: Pool

    async def add(self, command: c.AddProject, *, recorded: bool = False) -> Project:
        """Open the repository, and store the project with its first agent.

        Raises a PROJECT_ code, GIT_FILTER_REQUIRED or VALIDATION_ERROR; then nothing has been stored.
        """
        path = _absolute(command.path)
        name = check_line("name", command.name if command.name is not None else path.name, PROJECT_NAME)
        description = check_text("description", command.description, PROJECT_DESCRIPTION, least=0)
        settings = check_config(ProjectConfig(filters=command.filters))
        repository = await self.core.git.open_repository(path, frozenset(settings.filters))
        tip = await self.core.git.base_branch(repository, command.base_branch)
        config = await trust.read_config(self.core, repository, tip.sha)
        needs = config.needs_trust() if config else ()
        digest = config.digest if config and command.trust else None

        def store(connection: projects.Connection) -> Project:
            now = self.core.clock.now()
            new = projects.NewProject(
                name=name, path=str(repository.path), description=description, base_branch=tip.branch, recorded=recorded
            )
            made = projects.create(connection, new, now)
            if settings.filters:
                projects.edit(connection, made.id, now, config=settings)
            waiting = config.digest if config else None
            projects.set_trust(connection, made.id, digest, () if digest else needs, now, waiting)
            if not agents.list_for(connection, made.id):
                backend = BackendName.RECORDED if recorded else BackendName.ANTHROPIC
                first = agents.NewAgent(made.id, "Recorded" if recorded else FIRST_AGENT, backend, is_default=True)
                agents.create(connection, first, now)
            return projects.get(connection, made.id)

        project = await self.core.db.write(store)
        self.core.git.allow_filters(Path(project.path), frozenset(settings.filters))
        told: JsonObject = {"path": project.path, "trusted": project.trusted}
        if settings.filters:
            told = {**told, "filters": [*settings.filters]}
        await self.core.audit(self.core.record("project.add", project.id, input=told))
        await self.core.announce_project(project.id)
        return project

    async def recall_filters(self) -> None:
        """Let git's filters run that the person has allowed, each for its project."""
        for project in await self.core.db.read(projects.list_all):
            self.core.git.allow_filters(Path(project.path), frozenset(project.config.filters))

    async def listed(self, command: c.ListProjects) -> tuple[Project, ...]:
        return await self.core.db.read(projects.list_all)

    async def get(self, command: c.GetProject) -> Project:
        """The project; what waits for trust is compared with the base branch, unless that cannot be read."""
        project = await self._project(command.project)
        with contextlib.suppress(AgentPaneError):
            repository = await self.core.git.open_repository(Path(project.path))
            await trust.look(self.core, project, repository)
        return await self._project(project.id)

    async def edit(self, command: c.EditProject) -> Project:
        project = await self._project(command.project)
        changes: dict[str, object] = {}
        if command.name is not None:
            changes["name"] = check_line("name", command.name, PROJECT_NAME)
        if command.description is not None:
            changes["description"] = check_text("description", command.description, PROJECT_DESCRIPTION, least=0)
        if command.max_concurrent_agents is not None:
            changes["max_concurrent_agents"] = check_concurrency(command.max_concurrent_agents)
        if command.config is not None:
            changes["config"] = check_config(command.config)
        await self.core.db.write(projects.edit, project.id, self.core.clock.now(), **changes)
        if command.config is not None:
            self.core.git.allow_filters(Path(project.path), frozenset(command.config.filters))
        if command.always is not None:
            kept = tuple(rule for rule in project.always if rule in command.always)
            await self.core.db.write(approvals.set_always, project.id, kept, self.core.clock.now())
            changes["always"] = kept
        told = {key: str(value) for key, value in changes.items()}
        await self.core.audit(self.core.record("setting", project.id, input=told))
        await self.core.announce_project(project.id)
        self.dispatcher.wake()
        self.pool.look_at(project.id)
        return await self._project(project.id)

    async def trust(self, command: c.TrustProject) -> Project:
        """Trust the exact bytes of the repository's configuration on the base branch, if they are those of `digest`."""
        project = await self._project(command.project)
        repository = await self.core.git.open_repository(Path(project.path))
        config = (await trust.look(self.core, project, repository)).config
        if config is None or config.digest != command.digest:
            raise AgentPaneError(
                ErrorCode.PROJECT_NOT_TRUSTED,
                f"{project.base_branch} has another configuration than the one that was read.",
                hint="Read what waits for trust and trust that. Nothing has changed.",
                details={"project_id": project.id, "digest": config.digest if config else None},
            )
        told: JsonObject = {"digest": config.digest, "trusted": list(config.needs_trust())}
        entry = self.core.record("project.trust", project.id, input=told)

        def store(connection: projects.Connection) -> None:
            projects.set_trust(connection, project.id, config.digest, (), self.core.clock.now())
            audit.append(connection, (entry,))

        await self.core.db.write(store)
        await self.core.announce_project(project.id)
        return await self._project(project.id)

    async def remove(self, command: c.RemoveProject) -> Project:
        """Take the project off the board. Worktrees go after a recovery snapshot; the repository is left as it is.

        Raises PROJECT_HAS_RUNNING_AGENTS while a run is alive; then nothing has changed. And what `_take_off` raises.
        """
        project = await self._project(command.project)
        cards = await self.core.db.read(card_rows.of_project, project.id, None)
        _check_nothing_alive(cards)
        for card in cards:
            if card.column in {Column.IN_PROGRESS, Column.WAITING_APPROVAL}:
                await self.cancelling.cancel(c.CancelTask(card.id, confirmed=True))
            await agent_homes.remove(self.core, card.id)
        runs = RunRefs(self.core)
        async with self.pool.emptied(project):
            await self.cancelling.put_away(project)
            pinned = await runs.of_project(project) if command.purge else None
            await self._take_off(project, command.purge)
        self.core.bus.publish(ProjectRemoved(project.id))
        if pinned is not None:  # nothing knows from here on whose they were
            await runs.drop(pinned)
        return project

    async def _take_off(self, project: Project, purge: bool) -> None:
        """Archive or delete a project that nothing is left of on the disk.

        Raises RESOURCE_LOCKED where a worktree was made in it meanwhile, which nobody would know of any more.
        """
        entry = self.core.record("project.remove", project.id, input={"path": project.path, "purge": purge})

        def store(connection: projects.Connection) -> None:
            # A run may have been queued since the look above, and work restored.
            _check_nothing_alive(card_rows.of_project(connection, project.id, None))
            _check_nothing_left(worktrees.all_for_project(connection, project.id))
            (projects.purge if purge else projects.archive)(connection, project.id, self.core.clock.now())
            audit.append(connection, (entry,))

        await self.core.db.write(store)

    async def agents(self, command: c.ListAgents) -> tuple[Agent, ...]:
        project = await self._project(command.project)
        listed = await self.core.db.read(agents.list_for, project.id)
        return tuple([await self.core.agent(agent.id) for agent in listed])

    async def add_agent(self, command: c.AddAgent) -> Agent:
        project = await self._project(command.project)
        if command.backend is BackendName.RECORDED and not project.recorded:
            raise invalid("backend", "Recorded replies exist for the sample project only.")
        config = check_agent_config(command.config)
        await self.backends.check(command.backend, config)
        new = agents.NewAgent(
            project_id=project.id,
            name=check_line("name", command.name, AGENT_NAME),
            backend=command.backend,
            type=command.type,
            config=config,
            is_default=command.default,
        )
        made = await self.core.db.write(agents.create, new, self.core.clock.now())
        await self.core.audit(
            self.core.record(
                "agent.add", project.id, agent_id=made.id, input={"name": made.name, "backend": made.backend.value}
            )
        )
        await self.core.announce_agent(made.id)
        return await self.core.agent(made.id)

    async def edit_agent(self, command: c.EditAgent) -> Agent:
        agent = await self.core.db.read(lambda db: agents.get(db, agents.resolve(db, command.agent, None)))
        if command.name is not None or command.config is not None:
            check_editable(agent.source)
        changes: dict[str, object] = {}
        if command.name is not None:
            changes["name"] = check_line("name", command.name, AGENT_NAME)
        if command.config is not None:
            changes["config"] = check_agent_config(command.config)
            await self.backends.check(agent.backend, command.config)
        if command.default is not None:
            changes["is_default"] = command.default
        await self.core.db.write(agents.edit, agent.id, self.core.clock.now(), **changes)
        told = {key: str(value) for key, value in changes.items()}
        await self.core.audit(self.core.record("setting", agent.project_id, agent_id=agent.id, input=told))
        await self.core.announce_agent(agent.id)
        return await self.core.agent(agent.id)

    async def _project(self, ref: str) -> Project:
        return await self.core.db.read(lambda db: projects.get(db, projects.resolve(db, ref)))


def _absolute(path: str) -> Path:
    if not path.strip() or "\0" in path:
        raise AgentPaneError(
            ErrorCode.PROJECT_PATH_INVALID,
            "The path is empty or not a path.",
            hint="Name the folder of a git repository.",
        )
    absolute = Path(path).expanduser()
    if not absolute.is_absolute():
        raise AgentPaneError(
            ErrorCode.PROJECT_PATH_INVALID,
            f"“{path}” is not an absolute path.",
            hint="Name the folder by its whole path.",
        )
    return absolute


def _check_nothing_alive(cards: Sequence[TaskCard]) -> None:
    alive = [card for card in cards if _is_alive(card)]
    if alive:
        raise AgentPaneError(
            ErrorCode.PROJECT_HAS_RUNNING_AGENTS,
            f"{len(alive)} card(s) of this project have an agent at work or in the queue.",
            hint="Wait for them or cancel them first. Nothing has changed.",
            details={"tasks": [card.id for card in alive]},
        )


def _check_nothing_left(rows: Sequence[WorktreeRow]) -> None:
    left = [row.path for row in rows if row.status is not WorktreeStatus.REMOVED]
    if left:
        raise AgentPaneError(
            ErrorCode.RESOURCE_LOCKED,
            f"A worktree was made in this project meanwhile: {left[0]}.",
            hint="The project is still on the board. Remove it once more.",
            details={"paths": left},
        )


def _is_alive(card: TaskCard) -> bool:
    return card.run is not None and card.run.status in ACTIVE | {RunStatus.QUEUED}
