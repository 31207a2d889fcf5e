"""The agents of a project that come from files: stored, brought up to date, and put away when their file is gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import exists, select, update

from agentpane.db import agents
from agentpane.db.documents import AgentConfigDocument
from agentpane.db.schema import AgentTable, RunTable
from agentpane.domain.agent_files import AgentFile
from agentpane.domain.agents import Agent
from agentpane.domain.ids import AgentId, ProjectId
from agentpane.domain.runs import LIVE

_A = AgentTable


@dataclass(frozen=True, slots=True)
class Synced:
    """What `sync` did. changed: agents that are new or different. taken: names that agents made by hand have."""

    changed: tuple[AgentId, ...]
    archived: tuple[AgentId, ...]
    taken: frozenset[str]


def sync(
    connection: Connection, project_id: ProjectId, files: Sequence[AgentFile], kept: Collection[str], at: datetime
) -> Synced:
    """Make the agents that come from files those of `files`.

    kept: sources whose agents stay as they are, since their files cannot be read or are not trusted as they stand. An
    agent with a live run stays until that has ended, and so does its backend.
    """
    present = agents.list_for(connection, project_id)
    by_hand = frozenset(agent.name for agent in present if agent.source is None)
    known = {agent.name: agent for agent in present if agent.source is not None}
    wanted = {file.name: file for file in files if file.name not in by_hand}
    gone = [agent for agent in known.values() if agent.name not in wanted and agent.source not in kept]
    archived = [agent.id for agent in gone if not _is_at_work(connection, agent.id)]
    for agent_id in archived:
        agents.archive(connection, agent_id, at)
    changed = [_put(connection, project_id, file, known, at) for file in wanted.values()]
    return Synced(
        tuple(agent_id for agent_id in changed if agent_id is not None),
        tuple(archived),
        frozenset(file.name for file in files if file.name in by_hand),
    )


def _put(
    connection: Connection, project_id: ProjectId, file: AgentFile, known: Mapping[str, Agent], at: datetime
) -> AgentId | None:
    """Store what the file says; None if that is there already."""
    agent = known.get(file.name)
    if agent is None:
        new = agents.NewAgent(project_id, file.name, file.backend, file.type, file.config, source=file.path)
        return agents.create(connection, new, at).id
    same = (agent.backend, agent.type, agent.config, agent.source) == (file.backend, file.type, file.config, file.path)
    if same or (agent.backend != file.backend and _is_at_work(connection, agent.id)):
        return None
    values = {"backend": file.backend, "type": file.type, "source": file.path, "updated_at": at}
    config = AgentConfigDocument.of(file.config)
    connection.execute(update(_A).where(_A.id == agent.id).values(config=config, **values))
    return agent.id


def _is_at_work(connection: Connection, agent_id: AgentId) -> bool:
    at_work = exists().where(RunTable.agent_id == agent_id, RunTable.status.in_(list(LIVE)))
    return bool(connection.execute(select(at_work)).scalar_one())
