"""Which commits of a card's runs stay, and what goes when it is cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentpane.domain.board import Column
from agentpane.domain.recoveries import KEPT, RecoverySnapshot
from agentpane.domain.tasks import Task

NAMED = 3  # how many of what goes are named

AT_WORK = frozenset({Column.IN_PROGRESS, Column.WAITING_APPROVAL})


@dataclass(frozen=True, slots=True)
class Going:
    """What becomes of a card's worktree when it is cancelled, besides what the recovery bin gets.

    branch: the one that stays, with the card's commits; None where it has none, or where that is not known.
    ignored: how many files, and folders as a whole, git ignores and nothing keeps, None where that is not known; some:
        the first NAMED of them.
    """

    branch: str | None = None
    ignored: int | None = 0
    some: tuple[str, ...] = ()
    branch_known: bool = True


NOT_KNOWN = Going(ignored=None, branch_known=False)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The card afterwards, the recovery snapshot that was made if there was anything to keep, and what else became.

    going: where its commits are by now, and what git ignored in its worktree when that went.
    """

    task: Task
    kept: RecoverySnapshot | None
    going: Going


@dataclass(frozen=True, slots=True)
class CardStand:
    """Where the card of a run stands. snapshot: the commit that waits for approval, or that was merged."""

    column: Column
    archived: bool
    changed_at: datetime
    snapshot: str | None


def is_needed(commit: str, card: CardStand | None, now: datetime) -> bool:
    """Whether a commit that a run has pinned stays.

    card: None when it is deleted. A merge may be undone however late, and then its change is reviewed once more: of a
    card that is verified that one commit stays until the card is archived.
    """
    if card is None:
        return False
    if card.column in AT_WORK or now - card.changed_at < KEPT:
        return True
    return card.column is Column.VERIFIED and not card.archived and commit == card.snapshot
