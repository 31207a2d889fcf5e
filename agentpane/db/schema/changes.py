"""The tables of what comes back: worktrees, reviews, merges and recovery snapshots."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, Float, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from agentpane.db import documents
from agentpane.db.columns import ExactPath, Json, Words, json_default, one_of
from agentpane.db.schema.base import Base, Times, identifier, moment, moment_now, refers
from agentpane.domain.checks import CheckState
from agentpane.domain.merges import MergeKind, MergeState
from agentpane.domain.recoveries import Beside
from agentpane.domain.resolving import Merging
from agentpane.domain.review import MergeStrategy, ReviewVerdict
from agentpane.domain.worktrees import WorktreeStatus


class WorktreeTable(Times, Base):
    """A worktree that AgentPane made; only what has a row here is ever removed."""

    __tablename__ = "worktrees"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    task_id: Mapped[str | None] = mapped_column(Text, refers("tasks.id", "SET NULL"))
    branch: Mapped[str] = mapped_column(Text, nullable=False)
    base_branch: Mapped[str] = mapped_column(Text, nullable=False, server_default=text("'main'"))
    base_sha: Mapped[str | None] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text, nullable=False)
    git_dir: Mapped[str | None] = mapped_column(Text)
    status: Mapped[WorktreeStatus] = mapped_column(
        one_of(WorktreeStatus, "status"), nullable=False, server_default=text("'creating'")
    )
    env_copied: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="env_copied"), nullable=False, server_default=text("0")
    )
    deps_installed: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="deps_installed"), nullable=False, server_default=text("0")
    )
    init_script_run: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="init_script_run"), nullable=False, server_default=text("0")
    )
    copied: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of copied files", documents.STRINGS), nullable=False, server_default=json_default([])
    )
    last_error: Mapped[str | None] = mapped_column(Words)
    merged_at: Mapped[datetime | None] = moment()
    removed_at: Mapped[datetime | None] = moment()
    merging: Mapped[Merging | None] = mapped_column(Json("resolution of a conflict", documents.MERGING))
    restored_from: Mapped[str] = mapped_column(Words, nullable=False, server_default=text("''"))

    __table_args__ = (
        Index("worktrees_project_idx", "project_id"),
        Index("worktrees_task_idx", "task_id"),
        Index("worktrees_branch_idx", "branch"),
        Index("worktrees_status_idx", "status"),
        Index("worktrees_path_idx", "path"),
    )


class ReviewTable(Base):
    """What a person said about one snapshot."""

    __tablename__ = "reviews"

    id: Mapped[str] = identifier()
    task_id: Mapped[str] = mapped_column(Text, refers("tasks.id", "CASCADE"), nullable=False)
    snapshot: Mapped[str] = mapped_column(Text, nullable=False)
    verdict: Mapped[ReviewVerdict] = mapped_column(one_of(ReviewVerdict, "verdict"), nullable=False)
    reason: Mapped[str | None] = mapped_column(Words)
    reviewer: Mapped[str | None] = mapped_column(Words)
    created_at: Mapped[datetime] = moment_now()

    __table_args__ = (Index("reviews_task_idx", "task_id", "created_at"),)


class ReviewCommentTable(Base):
    """A remark on a line of the snapshot, or on a whole file."""

    __tablename__ = "review_comments"

    id: Mapped[str] = identifier()
    review_id: Mapped[str] = mapped_column(Text, refers("reviews.id", "CASCADE"), nullable=False)
    task_id: Mapped[str] = mapped_column(Text, refers("tasks.id", "CASCADE"), nullable=False)
    ordinal: Mapped[int] = mapped_column(Integer, nullable=False)
    path: Mapped[str] = mapped_column(ExactPath, nullable=False)
    line: Mapped[int | None] = mapped_column(Integer)
    old_side: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="old_side"), nullable=False, server_default=text("0")
    )
    body: Mapped[str] = mapped_column(Words, nullable=False)
    created_at: Mapped[datetime] = moment_now()

    __table_args__ = (
        Index("review_comments_review_idx", "review_id", "ordinal"),
        Index("review_comments_task_idx", "task_id"),
    )


class MergeTable(Base):
    """The journal of merges: the intent is written before a ref or a checkout moves."""

    __tablename__ = "merges"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, refers("projects.id", "CASCADE"), nullable=False)
    task_id: Mapped[str | None] = mapped_column(Text, refers("tasks.id", "SET NULL"))
    strategy: Mapped[MergeStrategy] = mapped_column(one_of(MergeStrategy, "strategy"), nullable=False)
    target_ref: Mapped[str] = mapped_column(Text, nullable=False)
    old_sha: Mapped[str] = mapped_column(Text, nullable=False)
    new_sha: Mapped[str] = mapped_column(Text, nullable=False)
    reviewed_sha: Mapped[str] = mapped_column(Text, nullable=False)
    checkout_path: Mapped[str | None] = mapped_column(Text)
    approved_by: Mapped[str | None] = mapped_column(Words)
    kind: Mapped[MergeKind] = mapped_column(one_of(MergeKind, "kind"), nullable=False, server_default=text("'merge'"))
    state: Mapped[MergeState] = mapped_column(
        one_of(MergeState, "state"), nullable=False, server_default=text("'intent'")
    )
    started_at: Mapped[datetime] = moment_now()
    finished_at: Mapped[datetime | None] = moment()

    __table_args__ = (
        Index("merges_project_idx", "project_id"),
        Index("merges_task_idx", "task_id"),
        Index("merges_state_idx", "state"),
    )


class CheckTable(Base):
    """The newest result of each of a task's checks, for one snapshot and one merged tree.

    `digest`: the command and all that it meets beside the tree.
    """

    __tablename__ = "checks"

    task_id: Mapped[str] = mapped_column(Text, refers("tasks.id", "CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Words, nullable=False)
    required: Mapped[bool] = mapped_column(Boolean(create_constraint=True, name="required"), nullable=False)
    snapshot: Mapped[str] = mapped_column(Text, nullable=False)
    tree: Mapped[str] = mapped_column(Text, nullable=False)
    digest: Mapped[str] = mapped_column(Text, nullable=False)
    state: Mapped[CheckState] = mapped_column(
        one_of(CheckState, "state"), nullable=False, server_default=text("'pending'")
    )
    exit_code: Mapped[int | None] = mapped_column(Integer)
    seconds: Mapped[float | None] = mapped_column(Float)
    output: Mapped[str] = mapped_column(Words, nullable=False, server_default=text("''"))
    finished_at: Mapped[datetime | None] = moment()

    __table_args__ = (Index("checks_state_idx", "state"),)


class RecoveryTable(Base):
    """A recovery snapshot, kept under its ref until it expires; it outlives its card and its project."""

    __tablename__ = "recoveries"

    id: Mapped[str] = identifier()
    project_id: Mapped[str] = mapped_column(Text, nullable=False)
    task_id: Mapped[str | None] = mapped_column(Text)
    ref: Mapped[str] = mapped_column(Text, nullable=False)
    sha: Mapped[str] = mapped_column(Text, nullable=False)
    reason: Mapped[str] = mapped_column(Words, nullable=False)
    size_bytes: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    files: Mapped[int] = mapped_column(Integer, nullable=False, server_default=text("0"))
    title: Mapped[str] = mapped_column(Words, nullable=False, server_default=text("''"))
    project: Mapped[str] = mapped_column(Words, nullable=False, server_default=text("''"))
    repository: Mapped[str] = mapped_column(Text, nullable=False)
    branch: Mapped[str] = mapped_column(Text, nullable=False)
    base_branch: Mapped[str] = mapped_column(Text, nullable=False)
    base_sha: Mapped[str | None] = mapped_column(Text)
    parent: Mapped[str] = mapped_column(Text, nullable=False)
    copied: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of copied files", documents.STRINGS), nullable=False, server_default=json_default([])
    )
    beside: Mapped[Beside] = mapped_column(
        Json("list of what is kept beside", documents.BESIDE), nullable=False, server_default=json_default({})
    )
    created_at: Mapped[datetime] = moment_now()
    expires_at: Mapped[datetime] = moment_now()
    noticed_at: Mapped[datetime | None] = moment()

    __table_args__ = (
        Index("recoveries_project_idx", "project_id", "created_at"),
        Index("recoveries_task_idx", "task_id"),
        Index("recoveries_expires_idx", "expires_at"),
    )


class TurnTable(Base):
    """What a turn left in its worktree, kept under a ref; the row goes only after the ref."""

    __tablename__ = "turn_snapshots"

    run_id: Mapped[str] = mapped_column(Text, primary_key=True)
    turn: Mapped[int] = mapped_column(Integer, primary_key=True)
    task_id: Mapped[str] = mapped_column(Text, nullable=False)
    repository: Mapped[str] = mapped_column(Text, nullable=False)
    sha: Mapped[str] = mapped_column(Text, nullable=False)
    tree: Mapped[str] = mapped_column(Text, nullable=False)
    files: Mapped[int] = mapped_column(Integer, nullable=False)
    added: Mapped[int] = mapped_column(Integer, nullable=False)
    removed: Mapped[int] = mapped_column(Integer, nullable=False)
    left_out: Mapped[tuple[str, ...]] = mapped_column(
        Json("list of files left out", documents.STRINGS), nullable=False, server_default=json_default([])
    )
    created_at: Mapped[datetime] = moment_now()

    __table_args__ = (Index("turn_snapshots_task_idx", "task_id", "created_at"),)
