"""The arithmetic of a comparison: what is printed as a ratio is a ratio of medians, taken in turn."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import line, main, rows
from benchmarks.harness import Figure, at_least, at_most, compare, figure, milliseconds, scratch_folder


def test_a_figure_is_the_ratio_of_medians_so_one_hiccup_changes_nothing() -> None:
    found = figure("x", [3.0, 3.0, 900.0], [2.0, 2.0, 0.1], at_most(1.5), "ms")
    assert found == Figure("x", 3.0, 2.0, 1.5, at_most(1.5), "ms")
    assert found.met


def test_ours_and_the_floor_are_measured_in_turn_and_neither_always_goes_first() -> None:
    order: list[str] = []

    def measure(who: str) -> float:
        order.append(who)
        return 1.0

    compare("x", lambda: measure("ours"), lambda: measure("floor"), at_most(1), rounds=7)
    pairs = [tuple(order[at : at + 2]) for at in range(0, len(order), 2)]
    assert len(pairs) == 8  # one to warm up
    assert {frozenset(pair) for pair in pairs} == {frozenset({"ours", "floor"})}
    assert len(set(pairs)) == 2


def test_fewer_than_seven_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 7"):
        compare("x", lambda: 1.0, lambda: 1.0, at_most(1), rounds=6)


def test_a_floor_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing can be compared"):
        figure("x", [1.0], [0.0], at_most(1), "ms")


@pytest.mark.parametrize(
    ("target", "ratio", "met"),
    [(at_most(1.3), 1.3, True), (at_most(1.3), 1.31, False), (at_least(0.8), 0.8, True), (at_least(0.8), 0.79, False)],
)
def test_a_target_is_a_bound_from_above_or_from_below(target, ratio, met) -> None:
    assert target.met(ratio) is met
    assert ("MISSED" in line(Figure("x", ratio, 1.0, ratio, target, "ms"))) is not met


def test_a_measure_in_milliseconds_grows_with_the_work() -> None:
    few, many = milliseconds(lambda: sum(range(1_000))), milliseconds(lambda: sum(range(1_000_000)))
    assert min(many() for _ in range(3)) > min(few() for _ in range(3))


def test_the_scratch_folder_is_gone_afterwards() -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_a_row_that_does_not_exist_is_named(capsys) -> None:
    assert main(["4711"]) == 2
    assert "no such row: 4711" in capsys.readouterr().err


def test_every_row_says_what_it_measures() -> None:
    for number, module in rows().items():
        assert number > 0 and module.startswith("benchmarks.row_")
