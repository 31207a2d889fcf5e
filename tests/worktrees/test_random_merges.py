from __future__ import annotations

from pathlib import Path

import pytest

from agentpane.worktrees import Worktrees
from tests.worktrees.histories import case
from tests.worktrees.random_merges import Trial

SEEDED = 100
LONG = 1_000


@pytest.mark.parametrize("first", range(0, SEEDED, 50))
async def test_random_merges_onto_random_work_keep_every_byte_and_agree_with_git(
    worktrees: Worktrees, tmp_path: Path, first: int
) -> None:
    trial = await Trial.make(worktrees, tmp_path)
    for seed in range(first, first + 50):
        await trial.try_out(case(seed))
    assert min(trial.counts[how] for how in ("merged", "refused", "conflicted")) > 3, trial.counts


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(SEEDED, LONG, 300))
async def test_a_thousand_random_merges(worktrees: Worktrees, tmp_path: Path, first: int) -> None:
    trial = await Trial.make(worktrees, tmp_path)
    for seed in range(first, first + 300):
        await trial.try_out(case(seed))
