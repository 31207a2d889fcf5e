"""What the doctor says: what is not as it should be, what would mend it, and which worktrees nobody seems to need."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agentpane.domain.board import Column
from agentpane.domain.ids import ProjectId, TaskId, WorktreeId
from agentpane.domain.worktrees import WorktreeStatus

IDLE = timedelta(days=7)  # a worktree that nobody used for so long is stale


class HealthCode(StrEnum):
    """Findings that are no error of any command; the others bear the code of the error that they would become."""

    WORKTREE_MOVED = "WORKTREE_MOVED"
    WORKTREE_CUT_OFF = "WORKTREE_CUT_OFF"
    WORKTREE_STALE = "WORKTREE_STALE"
    WORKTREE_FOREIGN = "WORKTREE_FOREIGN"
    FOLDER_FOREIGN = "FOLDER_FOREIGN"
    BRANCH_GONE = "BRANCH_GONE"
    BRANCH_FOREIGN = "BRANCH_FOREIGN"
    REFS_FOREIGN = "REFS_FOREIGN"
    RECOVERY_UNLISTED = "RECOVERY_UNLISTED"
    RECOVERY_GONE = "RECOVERY_GONE"
    RECOVERY_EXPIRES = "RECOVERY_EXPIRES"
    TRASH_LEFT = "TRASH_LEFT"
    TEMPORARY_LEFT = "TEMPORARY_LEFT"
    BLOBS_UNUSED = "BLOBS_UNUSED"
    LOCK_LEFT = "LOCK_LEFT"
    PROCESS_LEFT = "PROCESS_LEFT"
    PROCESS_FOREIGN = "PROCESS_FOREIGN"
    DATABASE_SHARED = "DATABASE_SHARED"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. `fix` says what would mend it; it is empty when only a person can.

    id: the same for as long as the same thing is found at the same place. size_bytes: what it takes on disk, if that
    is known. repairable: `Repair` can mend it, which it does only when it is told to. notice: worth knowing, though
    nothing is wrong.
    """

    code: str
    what: str
    where: str
    fix: str
    id: str = ""
    size_bytes: int | None = None
    repairable: bool = False
    notice: bool = False
    project_id: ProjectId | None = None


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """What became of one finding: mended, or why it was left as it is."""

    id: str
    done: bool
    words: str


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """ok: nothing is wrong; there may still be notices. repairs: what was done about findings of an earlier report.

    recoveries, recoveries_bytes: what the recovery bin holds. at: when the look was over.
    """

    ok: bool
    findings: tuple[Finding, ...]
    sandbox_tier: str
    versions: dict[str, str]
    repairs: tuple[RepairOutcome, ...] = ()
    recoveries: int = 0
    recoveries_bytes: int = 0
    at: datetime | None = None


class StaleReason(StrEnum):
    """Why a worktree may go."""

    IDLE = "idle"
    BRANCH_GONE = "branch_gone"
    VERIFIED = "verified"
    ORPHANED = "orphaned"  # no card has it
    OFF_BOARD = "off_board"  # its project or its card has left the board


@dataclass(frozen=True, slots=True)
class WorktreeEntry:
    """A worktree of ours as it is on disk. title: of its card. size_bytes: None when its folder is not there.

    in_use: a run, a conflict that is being resolved or a merge needs it now.
    restored_from: of one without a card, the title of the card that the work restored there was of.
    """

    id: WorktreeId
    project_id: ProjectId
    project: str
    task_id: TaskId | None
    title: str | None
    path: str
    branch: str
    status: WorktreeStatus
    size_bytes: int | None
    last_used: datetime
    in_use: bool
    stale: tuple[StaleReason, ...]
    restored_from: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """What is known of who needs a worktree. used_at: the newest sign of work in it."""

    column: Column | None  # of its card; None: it has none
    off_board: bool
    branch_there: bool
    in_use: bool
    used_at: datetime


def stale_reasons(status: WorktreeStatus, use: Use, now: datetime) -> tuple[StaleReason, ...]:
    """Why a worktree may go; nothing while it is in use, or is there no more.

    One that is kept ready serves the next card of its project for as long as that is on the board.
    """
    if use.in_use or status in {WorktreeStatus.AWAY, WorktreeStatus.REMOVED}:
        return ()
    if status is WorktreeStatus.POOLED:
        return (StaleReason.OFF_BOARD,) if use.off_board else ()
    idle = now - use.used_at >= IDLE
    told = {
        StaleReason.IDLE: idle,
        StaleReason.BRANCH_GONE: not use.branch_there,
        StaleReason.VERIFIED: use.column is Column.VERIFIED,
        StaleReason.ORPHANED: use.column is None and idle,  # one without a card may just have been restored
        StaleReason.OFF_BOARD: use.off_board,
    }
    return tuple(reason for reason, holds in told.items() if holds)


def finding_id(code: str, *about: str) -> str:
    """A name for a finding, of what it is and what it is about."""
    digest = hashlib.sha256("\0".join(about).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{code.lower().replace('_', '-')}-{digest[:10]}"
