"""The tables of the board: projects, their tasks, and their agents."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from agentpane.db import documents
from agentpane.db.columns import Json, Words, json_default, one_of
from agentpane.db.schema.base import Base, Times, identifier, moment, refers
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.board import Column
from agentpane.domain.conflicts import Conflict, Overlap
from agentpane.domain.projects import ProjectConfig
from agentpane.domain.runs import AgentStatus, AgentType
from agentpane.domain.tasks import Todo

# The index of cards that show an overlap serves only a search that says so in the same words.
SHOWS_OVERLAPS = "overlaps != '[]'"
PROJECT_CONFIG_DEFAULT = asdict(ProjectConfig())
AGENT_CONFIG_DEFAULT = asdict(AgentConfig())


class ProjectTable(Times, Base):
    """`trusted_hash`: the repository's configuration that the person trusted; `trust_pending`: what waits for that.

    `trust_digest`: the hash of the configuration that waits.
    """

    __tablename__ = "projects"

    id: Mapped[str] = identifier()
    name: Mapped[str] = mapped_column(Text, nullable=False)
    path: Mapped[str] = mapped_column(Text, nullable=False, unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    config: Mapped[documents.ProjectConfigDocument] = mapped_column(
        Json("project configuration", documents.PROJECT_CONFIG),
        nullable=False,
        server_default=json_default(PROJECT_CONFIG_DEFAULT),
    )
    max_concurrent_agents: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("3"))
    github_owner: Mapped[str | None] = mapped_column(Text)
    github_repo: Mapped[str | None] = mapped_column(Text)
    github_installation_id: Mapped[str | None] = mapped_column(Text)
    config_path: Mapped[str | None] = mapped_column(Text, server_default=text("'.claude'"))
    base_branch: Mapped[str] = mapped_column(Text, nullable=False, server_default=text("'main'"))
    trusted_hash: Mapped[str | None] = mapped_column(Text)
    trust_pending: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of what waits for trust", documents.STRINGS), nullable=False, server_default=json_default([])
    )
    trust_digest: Mapped[str | None] = mapped_column(Text)
    always_allowed: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of allowed tools", documents.STRINGS), nullable=False, server_default=json_default([])
    )
    recorded: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="recorded"), nullable=False, server_default=text("0")
    )
    archived_at: Mapped[datetime | None] = moment()

    __table_args__ = (
        CheckConstraint("max_concurrent_agents BETWEEN 1 AND 10", name="max_concurrent_agents"),
        Index("projects_path_idx", "path"),
        Index("projects_github_idx", "github_owner", "github_repo"),
        Index("projects_updated_at_idx", "updated_at"),
    )


class TaskTable(Times, Base):
    """A card. Positions of a column's cards that are not archived are 0, 1, 2 … without gaps."""

    __tablename__ = "tasks"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    agent_id: Mapped[str | None] = mapped_column(Text)
    session_id: Mapped[str | None] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text, nullable=False)
    description: Mapped[str | None] = mapped_column(Text)
    column: Mapped[Column] = mapped_column(one_of(Column, "column"), nullable=False, server_default=text("'backlog'"))
    position: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    branch: Mapped[str | None] = mapped_column(Text)
    worktree_id: Mapped[str | None] = mapped_column(Text)
    diff_summary: Mapped[str | None] = mapped_column(Words)
    files_changed: Mapped[int | None] = mapped_column(Integer)
    lines_added: Mapped[int | None] = mapped_column(Integer)
    lines_removed: Mapped[int | None] = mapped_column(Integer)
    approved_at: Mapped[datetime | None] = moment()
    approved_by: Mapped[str | None] = mapped_column(Words)
    rejection_reason: Mapped[str | None] = mapped_column(Words)
    rejection_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    started_at: Mapped[datetime | None] = moment()
    completed_at: Mapped[datetime | None] = moment()
    turn_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    labels: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of labels", documents.LABELS), nullable=False, server_default=json_default([])
    )
    metadata_: Mapped[dict[str, Any]] = mapped_column(
        "metadata", Json("task metadata", documents.OBJECT), nullable=False, server_default=json_default({})
    )
    base_branch: Mapped[str | None] = mapped_column(Text)
    base_sha: Mapped[str | None] = mapped_column(Text)
    snapshot: Mapped[str | None] = mapped_column(Text)
    merge_commit: Mapped[str | None] = mapped_column(Text)
    code: Mapped[str | None] = mapped_column(Text)
    conflicts: Mapped[tuple[Conflict, ...]] = mapped_column(
        Json("list of conflicts", documents.CONFLICTS), nullable=False, server_default=json_default([])
    )
    overlaps: Mapped[tuple[Overlap, ...]] = mapped_column(
        Json("list of overlaps", documents.OVERLAPS), nullable=False, server_default=json_default([])
    )
    todos: Mapped[tuple[Todo, ...]] = mapped_column(
        Json("list of todos", documents.TODOS), nullable=False, server_default=json_default([])
    )
    archived_at: Mapped[datetime | None] = moment()

    __table_args__ = (
        CheckConstraint("position >= 0", name="position"),
        Index("tasks_project_idx", "project_id"),
        Index("tasks_column_idx", "project_id", "column"),
        Index("tasks_agent_idx", "agent_id"),
        Index("tasks_position_idx", "project_id", "column", "position"),
        Index("tasks_branch_idx", "branch"),
        Index("tasks_overlaps_idx", "id", sqlite_where=text(SHOWS_OVERLAPS)),
    )


class AgentTable(Times, Base):
    """A named configuration. Its status and `current_` columns follow its newest live run."""

    __tablename__ = "agents"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    name: Mapped[str] = mapped_column(Text, nullable=False)
    type: Mapped[AgentType] = mapped_column(one_of(AgentType, "type"), nullable=False, server_default=text("'task'"))
    status: Mapped[AgentStatus] = mapped_column(
        one_of(AgentStatus, "status"), nullable=False, server_default=text("'idle'")
    )
    config: Mapped[documents.AgentConfigDocument] = mapped_column(
        Json("agent configuration", documents.AGENT_CONFIG),
        nullable=False,
        server_default=json_default(AGENT_CONFIG_DEFAULT),
    )
    current_task_id: Mapped[str | None] = mapped_column(Text)
    current_session_id: Mapped[str | None] = mapped_column(Text)
    current_worktree_id: Mapped[str | None] = mapped_column(Text)
    total_tasks: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    completed_tasks: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    failed_tasks: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    last_error: Mapped[str | None] = mapped_column(Words)
    last_error_at: Mapped[datetime | None] = moment()
    backend: Mapped[BackendName] = mapped_column(
        one_of(BackendName, "backend"), nullable=False, server_default=text("'anthropic'")
    )
    is_default: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="is_default"), nullable=False, server_default=text("0")
    )
    source: Mapped[str | None] = mapped_column(Text)
    archived_at: Mapped[datetime | None] = moment()

    __table_args__ = (
        Index("agents_project_idx", "project_id"),
        Index("agents_status_idx", "project_id", "status"),
        Index("agents_current_task_idx", "current_task_id"),
        Index("agents_name_idx", "project_id", "name", unique=True, sqlite_where=text("archived_at IS NULL")),
        Index("agents_default_idx", "project_id", unique=True, sqlite_where=text("is_default = 1")),
    )
