"""The tables of what agents do: runs, model calls, approvals, sessions and their events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Float, Index, Integer, PrimaryKeyConstraint, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from agentpane.db import documents
from agentpane.db.columns import Json, Words, json_default, one_of
from agentpane.db.schema.base import Base, Times, identifier, moment, moment_now, refers
from agentpane.domain.approvals import ApprovalState
from agentpane.domain.policy import Policy
from agentpane.domain.runs import LIVE, PauseReason, RunStatus
from agentpane.domain.sessions import EventKind

LIVE_SQL = f"status IN ({', '.join(repr(status.value) for status in RunStatus if status in LIVE)})"


class RunTable(Base):
    """One attempt. `number` grows with each run of the database; a task has at most one live run of depth 0.

    A sub-agent's run names whose it is (parent, root, and all between, outermost first) and the call that made it.
    `backend_session` is the conversation's name in an agent that keeps it itself. `budget_` columns are limits that a
    person gave this run in the place of the configured ones.
    """

    __tablename__ = "agent_runs"

    id: Mapped[str] = identifier()
    agent_id: Mapped[str] = mapped_column(Text, refers("agents.id", "CASCADE"), nullable=False)
    task_id: Mapped[str | None] = mapped_column(Text, refers("tasks.id", "SET NULL"))
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    session_id: Mapped[str | None] = mapped_column(Text)
    status: Mapped[RunStatus] = mapped_column(
        one_of(RunStatus, "status"), nullable=False, server_default=text("'queued'")
    )
    prompt: Mapped[str] = mapped_column(Words, nullable=False)
    result: Mapped[str | None] = mapped_column(Words)
    turn_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    token_input_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    token_output_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    cache_read_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    cache_write_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    tool_calls: Mapped[tuple[documents.ToolTally, ...]] = mapped_column(
        Json("tool summary", documents.TOOL_TALLIES), nullable=False, server_default=json_default([])
    )
    error: Mapped[str | None] = mapped_column(Words)
    error_type: Mapped[str | None] = mapped_column(Text)
    error_hint: Mapped[str | None] = mapped_column(Words)
    started_at: Mapped[datetime | None] = moment()
    completed_at: Mapped[datetime | None] = moment()
    duration: Mapped[int | None] = mapped_column(Integer)
    rested_ms: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    number: Mapped[int] = mapped_column(Integer, nullable=False)
    backend: Mapped[str] = mapped_column(Text, nullable=False)
    model: Mapped[str] = mapped_column(Text, nullable=False)
    turn_limit: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("50"))
    cost_usd: Mapped[float | None] = mapped_column(Float)
    pause_reason: Mapped[PauseReason | None] = mapped_column(one_of(PauseReason, "pause_reason"))
    policy: Mapped[Policy | None] = mapped_column(one_of(Policy, "policy"))
    sandbox_tier: Mapped[str | None] = mapped_column(Text)
    queued_at: Mapped[datetime] = moment_now()
    paused_at: Mapped[datetime | None] = moment()
    parent_run_id: Mapped[str | None] = mapped_column(Text, refers("agent_runs.id", "CASCADE"))
    root_run_id: Mapped[str | None] = mapped_column(Text)
    ancestors: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of runs", documents.STRINGS), nullable=False, server_default=json_default([])
    )
    depth: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    call_id: Mapped[str | None] = mapped_column(Text)
    backend_session: Mapped[str | None] = mapped_column(Text)
    plan: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="plan"), nullable=False, server_default=text("0")
    )
    budget_usd: Mapped[float | None] = mapped_column(Float)
    budget_tokens: Mapped[int | None] = mapped_column(Integer)
    context_used: Mapped[int | None] = mapped_column(Integer)
    context_window: Mapped[int | None] = mapped_column(Integer)
    unpriced_accepted: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="unpriced_accepted"), nullable=False, server_default=text("0")
    )

    __table_args__ = (
        CheckConstraint("turn_limit > 0", name="turn_limit"),
        Index("agent_runs_agent_idx", "agent_id"),
        Index("agent_runs_task_idx", "task_id"),
        Index("agent_runs_project_idx", "project_id"),
        Index("agent_runs_status_idx", "status"),
        Index("agent_runs_started_at_idx", "started_at"),
        Index("agent_runs_number_idx", "number", unique=True),
        Index("agent_runs_newest_idx", "task_id", "number"),
        Index("agent_runs_tally_idx", "agent_id", "status", "task_id", "number"),
        Index("agent_runs_live_idx", "task_id", unique=True, sqlite_where=text(f"depth = 0 AND {LIVE_SQL}")),
        Index("agent_runs_parent_idx", "parent_run_id", "call_id"),
    )


class ModelCallTable(Base):
    """One request to a model, with what it used."""

    __tablename__ = "model_calls"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    task_id: Mapped[str | None] = mapped_column(Text, refers("tasks.id", "SET NULL"))
    agent_id: Mapped[str] = mapped_column(Text, nullable=False)
    run_id: Mapped[str] = mapped_column(Text, refers("agent_runs.id", "CASCADE"), nullable=False)
    turn: Mapped[int] = mapped_column(Integer, nullable=False)
    model: Mapped[str] = mapped_column(Text, nullable=False)
    input_tokens: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    output_tokens: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    cache_read_tokens: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    cache_write_tokens: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    cost_usd: Mapped[float | None] = mapped_column(Float)
    latency_ms: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    stop_reason: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = moment_now()

    __table_args__ = (
        Index("model_calls_run_idx", "run_id"),
        Index("model_calls_project_idx", "project_id", "at"),
        Index("model_calls_task_idx", "task_id"),
        Index("model_calls_at_idx", "at"),
    )


class ApprovalTable(Base):
    """A tool call that a person decides about."""

    __tablename__ = "approvals"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    task_id: Mapped[str] = mapped_column(Text, refers("tasks.id", "CASCADE"), nullable=False)
    run_id: Mapped[str] = mapped_column(Text, refers("agent_runs.id", "CASCADE"), nullable=False)
    call_id: Mapped[str] = mapped_column(Text, nullable=False)
    tool: Mapped[str] = mapped_column(Text, nullable=False)
    input: Mapped[dict[str, Any]] = mapped_column(Json("tool input", documents.OBJECT), nullable=False)
    summary: Mapped[str] = mapped_column(Words, nullable=False)
    state: Mapped[ApprovalState] = mapped_column(
        one_of(ApprovalState, "state"), nullable=False, server_default=text("'pending'")
    )
    message: Mapped[str | None] = mapped_column(Words)
    requested_at: Mapped[datetime] = moment_now()
    decided_at: Mapped[datetime | None] = moment()
    decided_by: Mapped[str | None] = mapped_column(Words)
    rules: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of rules", documents.STRINGS), nullable=False, server_default=json_default([])
    )
    detail: Mapped[str] = mapped_column(Words, nullable=False, server_default=text("''"))
    edited: Mapped[dict[str, Any] | None] = mapped_column(Json("tool input", documents.OBJECT))

    __table_args__ = (
        Index("approvals_project_idx", "project_id"),
        Index("approvals_task_idx", "task_id", "state"),
        Index("approvals_state_idx", "state", "requested_at"),
        Index("approvals_call_idx", "run_id", "call_id"),
    )


class SessionTable(Times, Base):
    """The record of one task. `last_seq` is the number of its newest event."""

    __tablename__ = "sessions"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    task_id: Mapped[str | None] = mapped_column(Text, refers("tasks.id", "SET NULL"))
    agent_id: Mapped[str | None] = mapped_column(Text, refers("agents.id", "SET NULL"))
    title: Mapped[str | None] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text, nullable=False, unique=True)
    is_active: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="is_active"), nullable=False, server_default=text("1")
    )
    active_users: Mapped[tuple[documents.ActiveUser, ...]] = mapped_column(
        Json("list of active users", documents.ACTIVE_USERS), nullable=False, server_default=json_default([])
    )
    message_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    tool_call_count: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    last_seq: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    closed_at: Mapped[datetime | None] = moment()

    __table_args__ = (
        Index("sessions_project_idx", "project_id"),
        Index("sessions_task_idx", "task_id", unique=True),
        Index("sessions_agent_idx", "agent_id"),
        Index("sessions_url_idx", "url"),
        Index("sessions_active_idx", "is_active"),
    )


class EventTable(Base):
    """One entry of a session, numbered from 1 without gaps. `data` is JSON of at most 64 KiB."""

    __tablename__ = "session_events"

    session_id: Mapped[str] = mapped_column(Text, refers("sessions.id", "CASCADE"), nullable=False)
    seq: Mapped[int] = mapped_column(Integer, nullable=False)
    at: Mapped[datetime] = moment_now()
    kind: Mapped[EventKind] = mapped_column(one_of(EventKind, "kind"), nullable=False)
    turn: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    run_id: Mapped[str | None] = mapped_column(Text)
    data: Mapped[str] = mapped_column(Text, nullable=False)

    __table_args__ = (
        PrimaryKeyConstraint("session_id", "seq", name="pk_session_events"),
        CheckConstraint("seq > 0", name="seq"),
    )
