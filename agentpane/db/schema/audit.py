"""The audit log, the heads of its chains, and the person's settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from agentpane.db import documents
from agentpane.db.columns import Json, Words, one_of
from agentpane.db.schema.base import Base, identifier, moment_now
from agentpane.domain.audit import GENESIS, ToolStatus


class AuditTable(Base):
    """One immutable entry. References are plain ids: an entry outlives what it tells of."""

    __tablename__ = "audit_logs"

    id: Mapped[str] = identifier()
    agent_id: Mapped[str | None] = mapped_column(Text)
    agent_run_id: Mapped[str | None] = mapped_column(Text)
    task_id: Mapped[str | None] = mapped_column(Text)
    project_id: Mapped[str] = mapped_column(Text, nullable=False)
    tool: Mapped[str] = mapped_column(Words, nullable=False)
    status: Mapped[ToolStatus] = mapped_column(
        one_of(ToolStatus, "status"), nullable=False, server_default=text("'pending'")
    )
    input: Mapped[dict[str, Any]] = mapped_column(Json("audit input", documents.OBJECT), nullable=False)
    output: Mapped[dict[str, Any] | None] = mapped_column(Json("audit output", documents.OBJECT))
    error: Mapped[str | None] = mapped_column(Words)
    duration: Mapped[int | None] = mapped_column(Integer)
    turn_number: Mapped[int] = mapped_column(Integer, nullable=False)
    timestamp: Mapped[datetime] = moment_now()
    number: Mapped[int] = mapped_column(Integer, nullable=False)
    previous_hash: Mapped[str] = mapped_column(Text, nullable=False)
    hash: Mapped[str] = mapped_column(Text, nullable=False)
    actor: Mapped[str] = mapped_column(Words, nullable=False)

    __table_args__ = (
        CheckConstraint("number > 0", name="number"),
        Index("audit_logs_agent_idx", "agent_id"),
        Index("audit_logs_agent_run_idx", "agent_run_id"),
        Index("audit_logs_task_idx", "task_id"),
        Index("audit_logs_project_idx", "project_id"),
        Index("audit_logs_tool_idx", "tool"),
        Index("audit_logs_timestamp_idx", "timestamp"),
        Index("audit_logs_number_idx", "project_id", "number", unique=True),
    )


class AuditHeadTable(Base):
    """Where each project's chain ends, and up to where its oldest entries have been pruned."""

    __tablename__ = "audit_heads"

    project_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, nullable=False)
    hash: Mapped[str] = mapped_column(Text, nullable=False)
    sealed_number: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    sealed_hash: Mapped[str] = mapped_column(Text, nullable=False, server_default=text(f"'{GENESIS}'"))
    updated_at: Mapped[datetime] = moment_now()


class SettingTable(Base):
    """One setting, by its key."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[Any] = mapped_column(Json("setting", documents.ANYTHING), nullable=False)
    updated_at: Mapped[datetime] = moment_now()
