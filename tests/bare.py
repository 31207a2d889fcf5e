"""Domain values with nothing in them, for tests that say only what matters to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agentpane.domain.board import Column
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.tasks import Task, TaskCard

AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

_CARD = TaskCard(
    id=TaskId("task1"),
    project_id=ProjectId("project1"),
    title="Fix it",
    labels=(),
    column=Column.BACKLOG,
    position=0,
    agent_id=None,
    agent=None,
    run=None,
    files_changed=None,
    lines_added=None,
    lines_removed=None,
    rejection_count=0,
    conflicts=(),
    code=None,
    approvals_pending=0,
    updated_at=AT,
)
_TASK = Task(
    card=_CARD,
    description="",
    branch=None,
    base_branch="main",
    base_sha=None,
    worktree=None,
    snapshot=None,
    merge_commit=None,
    rejection_reason=None,
    session_id=None,
    created_at=AT,
    approved_at=None,
    approved_by=None,
    runs=(),
)


def bare_card(**fields: Any) -> TaskCard:
    return replace(_CARD, **fields)


def bare_task(card: TaskCard, **fields: Any) -> Task:
    return replace(_TASK, card=card, **fields)
