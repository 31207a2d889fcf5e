"""Every code of the catalogue is provoked from outside: its exit status, its shape, its words, and nothing lost."""

from __future__ import annotations

import pytest

from agentpane.cli.exits import EXIT_STATUS
from agentpane.errors import ErrorCode
from tests.outside import scenarios_board, scenarios_surroundings, scenarios_work
from tests.outside.provoking import SCENARIOS, approving, refused
from tests.outside.stage import Stage

MODULES = (scenarios_board, scenarios_surroundings, scenarios_work)  # importing them fills the table


def test_no_code_is_left_out() -> None:
    assert set(SCENARIOS) == set(ErrorCode), MODULES


@pytest.mark.parametrize("code", sorted(SCENARIOS))
def test_a_code_is_met_and_nothing_is_lost(code: ErrorCode, request: pytest.FixtureRequest) -> None:
    scenario = SCENARIOS[code]
    stage: Stage = request.getfixturevalue("alone" if scenario.alone else "stage")
    act = scenario.prepare(stage)
    before = act.state()
    outcome = act.do()
    after = act.state()

    found = act.read(outcome)
    assert (found.code, outcome.status) == (code, scenario.status), outcome
    if act.read in (refused, approving):
        assert outcome.status == EXIT_STATUS[code]
    assert len(found.message) > 20 and "Error" not in found.message, found
    assert len(found.hint) > 10, found
    assert "Traceback" not in outcome.stderr, outcome
    assert before == after
