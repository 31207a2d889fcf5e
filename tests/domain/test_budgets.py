"""What is left of a budget, when it warns, when it stops, and how many requests may be under way beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpane.domain.budgets import (
    Budget,
    Most,
    Scope,
    Spent,
    Standing,
    check_budget,
    most_of_request,
    reached,
    unknown_cost,
    with_more,
)
from agentpane.errors import AgentPaneError, ErrorCode


def standing(budget: Budget, spent: Spent, scope: Scope = Scope.RUN) -> Standing:
    return Standing(scope, budget, spent)


def test_a_budget_warns_from_four_fifths_on_and_stops_at_the_whole() -> None:
    budget = Budget(usd=10.0)
    shares = {
        usd: (standing(budget, Spent(usd)).is_near, standing(budget, Spent(usd)).is_reached) for usd in (7, 8, 10)
    }
    assert shares == {7: (False, False), 8: (True, False), 10: (False, True)}


def test_of_dollars_and_tokens_the_one_that_is_further_along_decides() -> None:
    both = standing(Budget(usd=10.0, tokens=1_000), Spent(usd=1.0, tokens=1_000))
    assert both.is_reached
    assert both.words() == "1,000 of 1,000 tokens for this run"


def test_the_budget_that_is_used_up_furthest_is_named() -> None:
    run = standing(Budget(usd=1.0), Spent(usd=1.0))
    day = standing(Budget(usd=1.0), Spent(usd=3.0), Scope.DAY)
    problem = reached((run, day))
    assert problem is not None
    assert (problem.code, problem.details["scope"]) == (ErrorCode.BUDGET_REACHED, "day")
    assert "$3.00 of $1.00 for today" in problem.message


def test_dollars_cannot_be_held_where_a_cost_is_unknown() -> None:
    assert unknown_cost((standing(Budget(tokens=5), Spent(unpriced=1)),), "local") is None
    problem = unknown_cost((standing(Budget(usd=5.0), Spent(unpriced=1)),), "local")
    assert problem is not None
    assert "local" in problem.message


@pytest.mark.parametrize("budget", [Budget(usd=0), Budget(usd=-1), Budget(usd=float("nan")), Budget(tokens=0)])
def test_a_limit_that_is_no_amount_is_refused(budget: Budget) -> None:
    with pytest.raises(AgentPaneError) as refused:
        check_budget("run_budget", budget)
    assert (refused.value.code, refused.value.details["field"]) == (ErrorCode.VALIDATION_ERROR, "run_budget")


def test_more_counts_from_what_is_used_already() -> None:
    assert with_more(Spent(usd=3.0, tokens=70), Budget(usd=2.0)) == Budget(usd=5.0)
    assert with_more(Spent(usd=3.0, tokens=70), Budget(tokens=30)) == Budget(tokens=100)


@given(
    requests=st.lists(
        st.floats(0.01, 1.0).flatmap(lambda most: st.tuples(st.floats(0.0, most), st.just(most))),
        min_size=1,
        max_size=60,
    ),
    limit=st.floats(0.05, 10.0),
    side_by_side=st.integers(1, 8),
)
def test_runs_side_by_side_go_beyond_a_budget_by_one_request_at_most(
    requests: list[tuple[float, float]], limit: float, side_by_side: int
) -> None:
    """Each request costs what it costs and never more than its most, however cheap those before it were."""
    spent = Spent()
    under_way: list[tuple[float, float]] = []
    ended_beyond = 0

    def end_one() -> None:
        nonlocal spent, ended_beyond
        done, _ = under_way.pop(0)
        ended_beyond += spent.usd >= limit
        spent = Spent(spent.usd + done, 0, 0, max(spent.largest_usd, done))

    for request in requests:
        while under_way:
            now = standing(Budget(usd=limit), spent)
            room = now.has_room_beside([Most(usd=most) for _, most in under_way])
            if len(under_way) < side_by_side and room and not now.is_reached:
                break
            end_one()
        if standing(Budget(usd=limit), spent).is_reached:
            break
        under_way.append(request)
    while under_way:
        end_one()
    assert ended_beyond <= 1


def test_the_most_of_a_request_is_what_it_may_read_and_write() -> None:
    known = most_of_request(100_000, 32_000, (3.0, 15.0))
    assert known == Most(usd=pytest.approx(250_000 * 1.25 * 3e-6 + 32_000 * 15e-6), tokens=282_000)
    assert most_of_request(100_000, 32_000, (None, None)) == Most(0.0, 282_000)
