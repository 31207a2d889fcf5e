"""What a client can ask of the doctor: what is wrong, what may be mended, and which worktrees there are.

References are those of `commands`, in which these commands are found too.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api.command import Command
from agentpane.domain.health import DoctorReport, WorktreeEntry


@dataclass(frozen=True, slots=True)
class Doctor(Command[DoctorReport]):
    """Look at everything and change nothing."""


@dataclass(frozen=True, slots=True)
class Repair(Command[DoctorReport]):
    """Mend these findings, by their ids, and look again; `repairs` of the report says what became of each.

    Each is looked at anew first: one that is no longer the same is left alone.
    """

    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GetHealth(Command[DoctorReport | None]):
    """What the doctor found when it last looked by itself; None when it has not yet looked."""


@dataclass(frozen=True, slots=True)
class ListWorktrees(Command[tuple[WorktreeEntry, ...]]):
    """The worktrees of one project or of all, with what they take on disk and why they may go."""

    project: str | None = None


@dataclass(frozen=True, slots=True)
class RemoveWorktree(Command[WorktreeEntry]):
    """Keep what a worktree holds in the recovery bin, then take it away; its branch stays.

    Raises WORKTREE_NOT_FOUND, RESOURCE_LOCKED while a run uses it, WORKTREE_REMOVAL_FAILED for what is not ours.
    """

    worktree: str
