"""A merge as the journal has it: written down before anything moves, so that a crash can be mended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.review import MergeStrategy

MergeId = NewType("MergeId", str)


class MergeKind(StrEnum):
    MERGE = "merge"
    UNDO = "undo"  # a merge is taken back


class MergeState(StrEnum):
    INTENT = "intent"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    NEEDS_PERSON = "needs_person"


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """`old_sha` and `new_sha`: where `target_ref` stood before and stands after.

    checkout_path: where it is checked out, if anywhere.
    """

    id: MergeId
    project_id: ProjectId
    task_id: TaskId | None
    strategy: MergeStrategy
    target_ref: str
    old_sha: str
    new_sha: str
    reviewed_sha: str
    checkout_path: str | None
    approved_by: str | None
    state: MergeState
    started_at: datetime
    finished_at: datetime | None
    kind: MergeKind
