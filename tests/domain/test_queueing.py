from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agentpane.domain.queueing import Places, places
from agentpane.domain.runs import PAUSED_PLACE_SECONDS, RunStatus
from agentpane.domain.tasks import RunBrief

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def run(status: RunStatus, paused_ago: float | None = None) -> RunBrief:
    paused_at = None if paused_ago is None else NOW - timedelta(seconds=paused_ago)
    return RunBrief(status, 0, 50, None, None, None, None, None, None, None, None, paused_at)


def test_runs_that_work_and_those_paused_a_short_while_ago_have_places() -> None:
    runs = [run(status) for status in RunStatus if status is not RunStatus.PAUSED]
    runs += [run(RunStatus.PAUSED, 0), run(RunStatus.PAUSED, PAUSED_PLACE_SECONDS - 1)]
    runs += [run(RunStatus.PAUSED, PAUSED_PLACE_SECONDS), run(RunStatus.PAUSED)]
    found = places(runs, 5, NOW)
    assert (found, found.taken) == (Places(5, 2, 2), 4)


def test_paused_runs_hold_up_the_queue_only_where_no_place_is_free() -> None:
    assert Places(3, 0, 3).held_by_paused and Places(3, 2, 1).held_by_paused and Places(1, 1, 1).held_by_paused
    assert not Places(3, 3, 0).held_by_paused and not Places(3, 1, 1).held_by_paused
