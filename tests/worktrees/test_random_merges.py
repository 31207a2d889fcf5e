from __future__ import annotations

from pathlib import Path

import pytest

from agentpane.worktrees import Worktrees
from tests.worktrees.histories import case
from tests.worktrees.random_merges import Trial

SEEDED = 100
LONG = 1_000


@pytest.mark.parametrize("converting", [False, True])
async def test_random_merges_onto_random_work_keep_every_byte_and_agree_with_git(
    worktrees: Worktrees, tmp_path: Path, converting: bool
) -> None:
    cases = [of for of in map(case, range(SEEDED)) if (of.autocrlf != "false") is converting]
    trial = await Trial.make(worktrees, tmp_path)
    for of in sorted(cases, key=lambda of: of.autocrlf):
        await trial.try_out(of)
    assert min(trial.counts[how] for how in ("merged", "refused", "conflicted", "rewound")) > 1, trial.counts


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(SEEDED, LONG, 300))
async def test_a_thousand_random_merges(worktrees: Worktrees, tmp_path: Path, first: int) -> None:
    trial = await Trial.make(worktrees, tmp_path)
    for of in sorted(map(case, range(first, first + 300)), key=lambda of: of.autocrlf):
        await trial.try_out(of)
