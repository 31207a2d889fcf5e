"""What each turn of a run left in its worktree, as commits outside of any branch, and how many of them are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from agentpane.domain.ids import RunId

MOST_TURNS_KEPT = 200  # of one card
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TurnSnapshot:
    """The worktree as a turn left it. files, added, removed: what that turn changed.

    left_out: what is not in it, being too large or a repository of its own.
    """

    run_id: RunId
    turn: int
    sha: str
    at: datetime
    files: int
    added: int
    removed: int
    left_out: tuple[str, ...] = ()


def too_many(turns: Sequence[T], most: int = MOST_TURNS_KEPT) -> tuple[T, ...]:
    """Which of a card's snapshots, oldest first, make room: every second one of the older half, never the first.

    most: 3 or more.
    """
    if len(turns) <= most:
        return ()
    return tuple(turns[1 : len(turns) // 2 : 2])
