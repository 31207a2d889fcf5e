"""How many worktrees a project keeps ready, and which of them serve the next card.

A ready worktree holds the files of its base branch on no branch of its own; it is nobody's work, and costs disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agentpane.domain.limits import invalid

POOL_SIZES = range(9)
IN_USE = timedelta(days=14)  # a project in which no card was given a worktree since keeps none ready


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """wanted: as it is set. ready: at this moment. size_bytes: what the ready ones take on the disk.

    off: why none is kept ready although some are wanted; empty otherwise.
    """

    wanted: int
    ready: int
    size_bytes: int
    off: str = ""


def check_pool_size(size: int) -> int:
    if size not in POOL_SIZES:
        raise invalid("pool_size", f"The number of ready worktrees must be from 0 (none) to {POOL_SIZES[-1]}.")
    return size


def is_in_use(last: datetime | None, now: datetime) -> bool:
    """Whether a project is worked in, by when a card of it was given a worktree last."""
    return last is not None and now - last < IN_USE
