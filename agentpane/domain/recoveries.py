"""A recovery snapshot: what was not committed when a worktree was removed, kept under a ref of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from agentpane.domain.ids import ProjectId, TaskId

RecoveryId = NewType("RecoveryId", str)


@dataclass(frozen=True, slots=True)
class RecoverySnapshot:
    id: RecoveryId
    project_id: ProjectId
    task_id: TaskId | None
    ref: str
    sha: str
    reason: str
    size_bytes: int
    created_at: datetime
    expires_at: datetime
