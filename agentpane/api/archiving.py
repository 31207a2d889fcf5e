"""What a client can ask about cards that are done with: off the board, and back on it.

References are those of `commands`, in which these commands are found too.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api.command import Command
from agentpane.domain.tasks import Task


@dataclass(frozen=True, slots=True)
class ArchiveTask(Command[Task]):
    """Take a card of the backlog or of Verified off the board; its session, costs and audit stay.

    The commit that was reviewed is kept for 30 days more, and then as long as a branch holds it.
    Raises TASK_INVALID_TRANSITION for a card at work, in review, archived, or with restored work in its worktree;
    nothing has changed then.
    """

    task: str


@dataclass(frozen=True, slots=True)
class UnarchiveTask(Command[Task]):
    """Put an archived card back into its column, where it stood or at the end. One on the board stays as it is."""

    task: str
