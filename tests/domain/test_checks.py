"""What checks a project may have, what of them keeps a merge away, and when they run by themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentpane.domain.checks import Check, CheckResult, CheckState, check_checks, digest_of, may_run_unasked, progress
from agentpane.domain.policy import Policy
from agentpane.domain.sandbox import Network, Tier
from agentpane.errors import AgentPaneError, ErrorCode

AT = datetime(2026, 11, 21, tzinfo=UTC)


def result(state: CheckState, required: bool = True) -> CheckResult:
    return CheckResult("tests", required, state, 1, 2.0, "a" * 40, AT, "")


def test_names_and_commands_are_kept_trimmed() -> None:
    assert check_checks([Check(" tests ", "\n make test ")]) == (Check("tests", "make test"),)
    assert len(check_checks([Check(str(number), "true") for number in range(20)])) == 20


@pytest.mark.parametrize(
    "checks",
    [
        [Check("", "true")],
        [Check("two\nlines", "true")],
        [Check("x" * 101, "true")],
        [Check("tests", "  ")],
        [Check("tests", "x\0y")],
        [Check("tests", "true"), Check("tests ", "false")],
        [Check("tests", "true", timeout_s=0)],
        [Check("tests", "true", timeout_s=21_601)],
        [Check(str(number), "true") for number in range(21)],
    ],
)
def test_what_cannot_be_a_check_is_refused_for_its_field(checks: list[Check]) -> None:
    with pytest.raises(AgentPaneError) as refused:
        check_checks(checks)
    assert (refused.value.code, refused.value.details) == (ErrorCode.VALIDATION_ERROR, {"field": "checks"})


def test_whatever_a_required_check_has_not_passed_keeps_the_merge_away() -> None:
    assert {state for state in CheckState if not result(state).blocks} == {CheckState.PASSED}
    assert not any(result(state, required=False).blocks for state in CheckState)


def test_another_command_or_another_surrounding_is_another_check() -> None:
    check, network = Check("tests", "make test"), Network()
    same = digest_of(check, ["install", None, network])
    assert digest_of(Check("renamed", "make test", required=False), ["install", None, network]) == same
    others = [digest_of(Check("tests", "make all"), ["install", None, network]), digest_of(check, [None, network])]
    others += [digest_of(Check("tests", "make test", timeout_s=5), ["install", None, network])]
    assert same not in others


def test_checks_run_by_themselves_only_where_the_agents_commands_would() -> None:
    allowed = {
        (tier, policy, unconfined)
        for tier in Tier
        for policy in Policy
        for unconfined in (False, True)
        if may_run_unasked(tier, policy, unconfined)
    }
    free = {(tier, Policy.FREE, True) for tier in Tier}
    assert allowed == {(Tier.BUBBLEWRAP, policy, yes) for policy in Policy for yes in (False, True)} | free


def test_progress_is_said_in_a_few_words() -> None:
    passed, running = result(CheckState.PASSED), result(CheckState.RUNNING)
    pending, failed = result(CheckState.PENDING), result(CheckState.FAILED)
    warns = result(CheckState.TIMED_OUT, required=False)
    assert progress(()) == ""
    assert progress((passed, running, pending)) == "checks running 2/3"
    assert progress((passed, pending)) == "checks wait"
    assert progress((passed, failed, warns)) == "1 of 3 checks did not pass"
    assert progress((passed, warns)) == "checks passed, 1 warned"
    assert progress((passed, passed)) == "checks passed"
