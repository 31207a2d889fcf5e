"""What a client can ask about checks: of a project, and of one card.

References are those of `commands`, in which these commands are found too.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api.command import Command
from agentpane.domain.checks import CheckResult, RepositoryChecks
from agentpane.domain.tasks import Task


@dataclass(frozen=True, slots=True)
class ListRepositoryChecks(Command[RepositoryChecks]):
    """The checks that the project's repository asks for. They hold once trusted, beside the project's own."""

    project: str


@dataclass(frozen=True, slots=True)
class RunChecks(Command[tuple[CheckResult, ...]]):
    """Run all checks of a card on what its merge would make of the base branch now, whatever they said before.

    Answers when they have ended; the card shows how far they are. They go on when the client leaves. Empty when none
    is set. Raises TASK_NOT_WAITING_APPROVAL, MERGE_CONFLICT, MERGE_BASE_MOVED or MERGE_REVIEW_STALE; then none was run.
    """

    task: str


@dataclass(frozen=True, slots=True)
class StopChecks(Command[Task]):
    """End the checks of a card that are under way or wait for their turn; those that have ended keep their results."""

    task: str
