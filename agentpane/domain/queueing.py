"""Which of a project's places for runs are taken, and by what. A run that finds none waits in the queue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentpane.domain.runs import ACTIVE, PAUSED_PLACE_SECONDS, RunStatus
from agentpane.domain.tasks import RunBrief


@dataclass(frozen=True, slots=True)
class Places:
    """How many places there are, how many hold runs that work, and how many runs that wait for a person."""

    most: int
    active: int
    paused: int

    @property
    def taken(self) -> int:
        return self.active + self.paused

    @property
    def held_by_paused(self) -> bool:
        """Whether a run waits in the queue because paused ones keep their places."""
        return self.paused > 0 and self.taken >= self.most


def keeps_place(run: RunBrief, now: datetime) -> bool:
    """Whether a paused run still has its place."""
    if run.status is not RunStatus.PAUSED or run.paused_at is None:
        return False
    return run.paused_at > now - timedelta(seconds=PAUSED_PLACE_SECONDS)


def places(runs: Iterable[RunBrief], most: int, now: datetime) -> Places:
    """What the newest runs of a project's cards say of its `most` places."""
    active = paused = 0
    for run in runs:
        active += run.status in ACTIVE
        paused += keeps_place(run, now)
    return Places(most, active, paused)
