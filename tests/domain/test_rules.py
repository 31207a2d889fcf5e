"""The board's, runs' and policies' rules, as tables say them."""

from __future__ import annotations

import itertools

import pytest

from agentpane.domain.board import (
    COLUMN_TITLES,
    MAY_DRAG_TO,
    TRANSITIONS,
    WAYS_ON,
    BoardEvent,
    Column,
    after,
    check_drag,
    drag_refusal,
)
from agentpane.domain.limits import check_concurrency, check_labels, check_line, check_text
from agentpane.domain.policy import Grants, Judgement, Policy, Use, effect_of, judge
from agentpane.domain.projects import DEFAULT_TOOLS
from agentpane.domain.rules import Rule, parse_all
from agentpane.domain.runs import MAY_BECOME, AgentStatus, RunStatus, agent_status, check_step
from agentpane.domain.sandbox import Tier
from agentpane.domain.shell import Part, Script
from agentpane.errors import AgentPaneError, ErrorCode


def test_a_card_is_dragged_only_where_the_rules_allow_and_every_refusal_says_why() -> None:
    for source, target in itertools.product(Column, Column):
        refusal = drag_refusal(source, target)
        allowed = source == target or target in MAY_DRAG_TO[source]
        assert (refusal is None) == allowed
        if refusal is not None:
            with pytest.raises(AgentPaneError) as caught:
                check_drag(source, target)
            assert caught.value.code is ErrorCode.TASK_INVALID_TRANSITION
            assert caught.value.details["allowed"] == sorted(MAY_DRAG_TO[source])


def test_nobody_drags_a_card_into_waiting_approval_or_verified() -> None:
    for source in Column:
        assert MAY_DRAG_TO[source] <= {Column.BACKLOG, Column.IN_PROGRESS}


def test_an_event_moves_a_card_only_from_the_column_that_it_belongs_to() -> None:
    for column, event in itertools.product(Column, BoardEvent):
        if (column, event) in TRANSITIONS:
            assert after(column, event) is TRANSITIONS[column, event]
        else:
            with pytest.raises(AgentPaneError) as caught:
                after(column, event)
            assert caught.value.code is ErrorCode.TASK_INVALID_TRANSITION
            assert caught.value.hint.startswith(f"{WAYS_ON[column]} From {COLUMN_TITLES[column]} a card may be moved")
            assert column is not Column.WAITING_APPROVAL or "reject it with a reason" in caught.value.hint
            assert column is not Column.IN_PROGRESS or "where its run has stopped, resume it" in caught.value.hint


def test_a_run_that_has_ended_for_good_becomes_nothing_else() -> None:
    for status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
        assert not MAY_BECOME[status]
        with pytest.raises(AgentPaneError) as caught:
            check_step(status, RunStatus.RUNNING)
        assert caught.value.code is ErrorCode.AGENT_NOT_RUNNING


def test_every_run_can_reach_an_end() -> None:
    ends = {RunStatus.COMPLETED, RunStatus.CANCELLED}
    for start in RunStatus:
        reached, frontier = {start}, {start}
        while frontier:
            frontier = {to for status in frontier for to in MAY_BECOME[status]} - reached
            reached |= frontier
        assert reached & ends


def test_an_agents_status_is_that_of_its_newest_run() -> None:
    assert agent_status(None) is AgentStatus.IDLE
    assert agent_status(RunStatus.QUEUED) is AgentStatus.IDLE
    assert agent_status(RunStatus.PAUSED) is AgentStatus.PAUSED
    assert agent_status(RunStatus.ERROR) is AgentStatus.ERROR


@pytest.mark.parametrize(
    ("tool", "policy", "tier", "expected"),
    [
        ("Read", Policy.CAREFUL, Tier.NONE, Judgement.ALLOW),
        ("Write", Policy.CAREFUL, Tier.BUBBLEWRAP, Judgement.ASK),
        ("Bash", Policy.CAREFUL, Tier.BUBBLEWRAP, Judgement.ASK),
        ("Edit", Policy.BALANCED, Tier.NONE, Judgement.ALLOW),
        ("Bash", Policy.BALANCED, Tier.BUBBLEWRAP, Judgement.ALLOW),
        ("Bash", Policy.BALANCED, Tier.NONE, Judgement.ASK),
        ("Bash", Policy.FREE, Tier.BUBBLEWRAP, Judgement.ALLOW),
        ("Bash", Policy.FREE, Tier.NONE, Judgement.ASK),
        ("Bash", Policy.READ_ONLY, Tier.BUBBLEWRAP, Judgement.DENY),
        ("Grep", Policy.READ_ONLY, Tier.BUBBLEWRAP, Judgement.ALLOW),
        ("Teleport", Policy.FREE, Tier.BUBBLEWRAP, Judgement.DENY),
    ],
)
def test_a_policy_judges_each_tool(tool: str, policy: Policy, tier: Tier, expected: Judgement) -> None:
    assert judge(*_call(tool, policy, tier)).judgement is expected


def test_a_tool_that_is_always_allowed_is_not_asked_about_but_a_denial_wins() -> None:
    always = parse_all(["allow Bash"])
    assert judge(*_call("Bash", Policy.CAREFUL, Tier.LANDLOCK, always)).judgement is Judgement.ALLOW
    assert judge(*_call("Bash", Policy.READ_ONLY, Tier.NONE, always)).judgement is Judgement.DENY
    assert judge(*_call("Bash", Policy.FREE, Tier.BUBBLEWRAP, always, ("Read",))).judgement is Judgement.DENY


def _call(
    tool: str, policy: Policy, tier: Tier, always: tuple[Rule, ...] = (), tools: tuple[str, ...] = DEFAULT_TOOLS
) -> tuple[Use, Grants, Script]:
    script = Script("make", (Part(("make",), "make"),))
    return Use(tool, effect_of(tool), command="make"), Grants(tools, policy, tier, always=always), script


@pytest.mark.parametrize("text", ["", "   ", "x" * 201, "bell\x07", "\ud800"])
def test_text_that_does_not_fit_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(AgentPaneError) as caught:
        check_text("title", text, 200)
    assert (caught.value.code, caught.value.details["field"]) == (ErrorCode.VALIDATION_ERROR, "title")


def test_a_title_is_one_line_of_up_to_200_characters() -> None:
    assert check_line("title", "  é" + "x" * 199 + " ", 200) == "é" + "x" * 199
    with pytest.raises(AgentPaneError):
        check_line("title", "two\nlines", 200)


def test_labels_lose_repeats_and_are_at_most_ten() -> None:
    assert check_labels(["a", "b", "a"]) == ("a", "b")
    with pytest.raises(AgentPaneError):
        check_labels([str(number) for number in range(11)])


@pytest.mark.parametrize("count", [0, 11, -1])
def test_concurrency_is_from_1_to_10(count: int) -> None:
    with pytest.raises(AgentPaneError):
        check_concurrency(count)
    assert check_concurrency(10) == 10
