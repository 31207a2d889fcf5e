"""A worktree that AgentPane made, as the database remembers it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentpane.domain.ids import ProjectId, TaskId, WorktreeId
from agentpane.domain.resolving import Merging


class WorktreeStatus(StrEnum):
    CREATING = "creating"
    POOLED = "pooled"  # at its base, on no branch, for the next card
    ACTIVE = "active"
    AWAY = "away"  # taken away by a person for its room; made again from its branch when its card goes on
    MERGING = "merging"
    REMOVING = "removing"
    REMOVED = "removed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class WorktreeRow:
    """`path` and `git_dir` are absolute. The three flags say how far the setup came.

    copied: paths, relative to the worktree, that were asked to be copied into it and never get into a snapshot.
    """

    id: WorktreeId
    project_id: ProjectId
    task_id: TaskId | None
    branch: str
    base_branch: str
    base_sha: str | None
    path: str
    git_dir: str | None
    status: WorktreeStatus
    env_copied: bool
    deps_installed: bool
    init_script_run: bool
    copied: tuple[str, ...]
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    merged_at: datetime | None
    removed_at: datetime | None
    merging: Merging | None = None  # while a conflict of the card is being resolved in it
    restored_from: str = ""  # of one that is no card's: the title of the card that the restored work was of

    @property
    def works_on(self) -> str | None:
        """The newest commit of the base branch that what lies in the worktree is built on."""
        return self.base_sha if self.merging is None else self.merging.sha
