"""What a client can ask of the engine about a card that conflicts with its base branch.

References are those of `commands`, in which these commands are found too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agentpane.api.command import Command, Environment
from agentpane.domain.tasks import Task


@dataclass(frozen=True, slots=True)
class HandOverConflict(Command[Task]):
    """Let the card's agent resolve the conflict: the merge is written into its worktree, and the run goes on there.

    A resolution that a person has begun goes on as it lies. Raises TASK_INVALID_TRANSITION where nothing conflicts or
    the card does not wait for approval, MERGE_BASE_MOVED, QUEUE_FULL, BACKEND_AUTH; nothing has changed then.
    """

    task: str
    environment: Environment = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteConflict(Command[Task]):
    """Write the conflicted merge into the card's worktree, for a person to resolve there.

    What the worktree held beyond its branch goes into the recovery bin first. Where it is written already, it stays as
    it lies; a run that was handed it, and is paused or has ended over it, leaves it to the person. Raises
    TASK_NOT_WAITING_APPROVAL, TASK_INVALID_TRANSITION where nothing conflicts, MERGE_BASE_MOVED.
    """

    task: str


@dataclass(frozen=True, slots=True)
class TakeResolution(Command[Task]):
    """Take what a person has made of the conflict: a commit with both parents, which waits for approval.

    A run that is paused, or has ended over the conflict, leaves it to the person, also where this is refused.
    Raises MERGE_CONFLICT with `paths` and `undecided` in its details while something is undecided, TASK_NO_DIFF when
    nothing of the card is left, TASK_NOT_WAITING_APPROVAL, TASK_INVALID_TRANSITION when nothing is being resolved.
    """

    task: str


@dataclass(frozen=True, slots=True)
class AbandonResolution(Command[Task]):
    """Set the worktree back to the card's snapshot; the card waits for approval with its conflict, as before.

    An agent that works on it is stopped. What the worktree held goes into the recovery bin first.
    """

    task: str
