"""The recovery bin: what worktrees held before something of it was discarded, and how long that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NewType

from agentpane.domain.ids import ProjectId, TaskId

RecoveryId = NewType("RecoveryId", str)

KEPT = timedelta(days=30)
NOTICE = timedelta(days=3)  # how long before its end a snapshot is spoken of


@dataclass(frozen=True, slots=True)
class RecoverySnapshot:
    """A commit that keeps what a worktree held beyond `parent`, under a ref of its own.

    It names what it came from in words too, since card and project may be gone before it.
    size_bytes: of the files that differ from `parent`, each content counted once, before git compresses it.
    copied: files of it that were copied into the worktree; they are never committed on a branch.
    """

    id: RecoveryId
    project_id: ProjectId
    task_id: TaskId | None
    ref: str
    sha: str
    reason: str
    size_bytes: int
    created_at: datetime
    expires_at: datetime
    files: int = 0
    title: str = ""  # of the card
    project: str = ""
    repository: str = ""  # absolute path
    branch: str = ""
    base_branch: str = ""
    base_sha: str | None = None
    parent: str = ""
    copied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoredWork:
    """Where a recovery snapshot was laid out. `task_id`: the card whose worktree that is; None for one of its own."""

    recovery: RecoveryId
    path: str
    branch: str
    task_id: TaskId | None
