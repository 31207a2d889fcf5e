"""What a client can ask about what is kept: the snapshots of turns, and the recovery bin.

References are those of `commands`, in which these commands are found too; a recovery is named by its id or a unique
beginning of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api.command import Command
from agentpane.domain.keeping import Cancelled, Going
from agentpane.domain.recoveries import RecoverySnapshot, RestoredWork
from agentpane.domain.tasks import Task
from agentpane.domain.turns import TurnSnapshot


@dataclass(frozen=True, slots=True)
class ListTurns(Command[tuple[TurnSnapshot, ...]]):
    """What the turns of a card's runs left, oldest first; a turn that changed nothing has no snapshot."""

    task: str


@dataclass(frozen=True, slots=True)
class ResetWorktree(Command[Task]):
    """Set a card's worktree back to what one of its turns left, after a recovery snapshot.

    sha: of one of ListTurns, or a unique beginning of it. The branch stays where it is: what differs is uncommitted.
    Raises TASK_NOT_IN_COLUMN outside of In Progress, AGENT_ALREADY_RUNNING while a run is queued or works,
    WORKTREE_NOT_FOUND, VALIDATION_ERROR for another sha; nothing has changed then.
    """

    task: str
    sha: str


@dataclass(frozen=True, slots=True)
class ForeseeCancel(Command[Going]):
    """What would become of a card's branch, and of what git ignores in its worktree, if it were cancelled as it is.

    Answered within a few seconds; what git or the disk does not tell by then is said to be not known.
    Raises TASK_NOT_FOUND.
    """

    task: str


@dataclass(frozen=True, slots=True)
class PutBack(Command[Cancelled]):
    """Put a card in the backlog as CancelTask does, and say what was kept of it, what went, and what has its commits.

    position: in the backlog; None: the top. confirmed: as for CancelTask.
    """

    task: str
    confirmed: bool = False
    position: int | None = None


@dataclass(frozen=True, slots=True)
class ListRecoveries(Command[tuple[RecoverySnapshot, ...]]):
    """What the recovery bin holds, newest first: of one project, or of all and of those that are gone.

    shown: a person sees all of it, with its ages. That counts as the notice without which nothing goes.
    """

    project: str | None = None
    shown: bool = False


@dataclass(frozen=True, slots=True)
class RestoreRecovery(Command[RestoredWork]):
    """Lay a recovery snapshot out as uncommitted files: in its card's worktree if that is gone, else in one of its own.

    It stays in the bin. Raises VALIDATION_ERROR if there is none, PROJECT_NOT_FOUND, PROJECT_PATH_INVALID or
    PROJECT_NOT_A_GIT_REPO when its repository is not there, WORKTREE_CREATION_FAILED; nothing has changed then.
    """

    recovery: str


@dataclass(frozen=True, slots=True)
class DeleteRecovery(Command[RecoverySnapshot]):
    """Take a snapshot out of the bin before its time; its content is git's to collect then."""

    recovery: str
