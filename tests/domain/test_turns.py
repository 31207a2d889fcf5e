"""How many snapshots of turns are kept of one card."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentpane.domain.turns import MOST_TURNS_KEPT, too_many


def test_up_to_the_bound_nothing_goes() -> None:
    assert too_many(range(MOST_TURNS_KEPT)) == ()


@given(st.integers(3, 40), st.integers(0, 400))
def test_the_bound_holds_and_the_first_and_the_newer_half_stay(most: int, turns: int) -> None:
    kept: list[int] = []
    for turn in range(turns):
        kept.append(turn)
        gone = too_many(kept, most)
        assert not set(gone) & {kept[0], *kept[(len(kept) + 1) // 2 :]}
        kept = [each for each in kept if each not in gone]
        assert len(kept) <= most
