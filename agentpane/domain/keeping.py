"""Which commits of a card's runs stay: what is reviewed, and what was found beside it, while it may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentpane.domain.board import Column
from agentpane.domain.recoveries import KEPT

AT_WORK = frozenset({Column.IN_PROGRESS, Column.WAITING_APPROVAL})


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
