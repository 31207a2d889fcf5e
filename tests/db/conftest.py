"""A real database file at the newest revision, with a project, its agent and one task in it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from agentpane.db import agents, migrate, projects, runs, sessions, tasks
from agentpane.db.connection import Database
from agentpane.db.engine import connect
from agentpane.domain.agents import Agent, BackendName
from agentpane.domain.ids import SessionId, TaskId
from agentpane.domain.projects import Project
from agentpane.domain.runs import Run
from agentpane.domain.tasks import Task
from agentpane.paths import DataFolder

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy, so that only one test run pays for the migrations."""
    made = DataFolder(tmp_path_factory.mktemp("template"))
    migrate.prepare(made)
    return made.database


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> DataFolder:
    data = DataFolder(tmp_path / "data")
    data.make()
    shutil.copy(empty_database, data.database)
    return data


@pytest.fixture
async def database(folder: DataFolder) -> AsyncIterator[Database]:
    opened = await Database.open(folder)
    yield opened
    await opened.close()


@pytest.fixture
def connection(folder: DataFolder) -> Iterator[Connection]:
    """A connection in a transaction, set up as the writer's is."""
    with connect(folder.database) as opened, opened.begin():
        yield opened


@dataclass(frozen=True, slots=True)
class World:
    project: Project
    agent: Agent
    task: Task
    session_id: SessionId

    def new_run(self, task_id: TaskId | None = None) -> runs.NewRun:
        return runs.NewRun(
            task_id=task_id or self.task.card.id,
            project_id=self.project.id,
            agent_id=self.agent.id,
            session_id=self.session_id,
            prompt="Do it",
            model="claude-test",
            turn_limit=50,
        )


def make_world(connection: Connection, path: str = "/srv/demo") -> World:
    project = projects.create(connection, projects.NewProject("Demo", path, "main"), NOW)
    agent = agents.create(connection, agents.NewAgent(project.id, "Claude", BackendName.ANTHROPIC), NOW)
    task = tasks.create(connection, tasks.NewTask(project.id, "Fix the flaky test"), NOW)
    session_id = sessions.open_for_task(connection, task.card.id, agent.id, NOW)
    return World(project, agent, task, session_id)


@pytest.fixture
def world(connection: Connection) -> World:
    return make_world(connection)


@pytest.fixture
def run(connection: Connection, world: World) -> Run:
    return runs.create(connection, world.new_run(), NOW)
