from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import KINDS, LEAST, run
from tests.crash.ground import HERE, NOWHERE
from tests.crash.sequences import ENTRIES

SEED = 7
POINTS = 40
FEW = (("there and back", HERE), ("given up", HERE), ("a conflict", NOWHERE))


@pytest.mark.timeout(400)
async def test_an_engine_that_is_killed_anywhere_loses_nothing_and_its_cards_go_on(tmp_path: Path) -> None:
    done = await run(tmp_path, SEED, POINTS, 0, FEW, ahead=False)
    print(done.histogram())
    assert not done.violations, "\n\n".join(done.violations)
    assert done.points >= POINTS
    assert {sequence for sequence, _ in done.hits} == set(ENTRIES.values())


@pytest.mark.long
@pytest.mark.timeout(3_600)
async def test_each_step_of_each_sequence_is_died_at_ten_times(tmp_path: Path) -> None:
    done = await run(tmp_path, SEED, 500, LEAST, KINDS)
    print(done.histogram())
    assert not done.violations, "\n\n".join(done.violations)
    assert done.points >= 500 and done.least >= LEAST
