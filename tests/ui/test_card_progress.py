"""What a card says of its agent's own list and of how full its context is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agentpane.domain.board import Column
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.tasks import RunBrief, TaskCard, Todo, TodoState
from agentpane.ui.cards import card_text
from tests.ui.memory_engine import MemoryEngine

TODOS = (
    Todo("Read the parser", TodoState.COMPLETED),
    Todo("Write the test", TodoState.IN_PROGRESS),
    Todo("Mend it", TodoState.PENDING),
)


def working(engine: MemoryEngine, **run: object) -> TaskCard:
    project = engine.add_project()
    brief = RunBrief(RunStatus.RUNNING, 3, 50, None, None, None, None, None, "A", None, None, **run)  # type: ignore[arg-type]
    return engine.add_task(project.id, "Fix the parser", Column.IN_PROGRESS, run=brief).card


def test_a_card_says_how_far_its_agent_is_and_with_what(engine: MemoryEngine) -> None:
    card = replace(working(engine), todos=TODOS)
    assert card_text.progress_words(card) == ("1 of 3  ·  Write the test", None)
    assert card_text.progress_words(replace(card, column=Column.BACKLOG)) is None
    assert "1 of 3" in card_text.spoken(card)


def test_a_card_says_how_full_the_context_is(engine: MemoryEngine) -> None:
    card = working(engine, context_used=84_000, context_window=200_000)
    assert card_text.progress_words(card) == ("", 0.42)
    assert "context 42 %" in card_text.spoken(card)
    unknown = working(engine, context_used=84_000)
    assert card_text.progress_words(unknown) is None


def test_a_pause_for_a_plan_a_question_or_a_budget_says_so(engine: MemoryEngine) -> None:
    words = set()
    for reason in PauseReason:
        card = working(engine)
        assert card.run is not None
        paused = replace(card, run=replace(card.run, status=RunStatus.PAUSED, pause_reason=reason))
        line = card_text.state_line(paused)
        assert line is not None
        words.add(line.text)
    assert len(words) == len(PauseReason)


def test_of_a_runs_figures_the_time_goes_first_and_the_cost_last(engine: MemoryEngine) -> None:
    run = working(engine).run
    assert run is not None
    began = datetime(2026, 11, 21, tzinfo=UTC)
    run = replace(run, started_at=began, ended_at=began + timedelta(seconds=42), cost_usd=0.42)
    assert card_text.shorter_facts(run) == (
        ["3/50 turns", "42 s", "$0.42"], ["3/50 turns", "$0.42"], ["$0.42"], [],
    )  # fmt: skip


def test_a_question_is_on_the_card_in_one_line(engine: MemoryEngine) -> None:
    card = working(engine)
    assert card.run is not None
    run = replace(
        card.run, status=RunStatus.PAUSED, pause_reason=PauseReason.QUESTION, question="Which colour?\nRed or blue?"
    )
    line = card_text.state_line(replace(card, run=run))
    assert line is not None
    assert line.text == "Which colour? Red or blue?"


def test_progress_takes_a_row_of_its_own(engine: MemoryEngine) -> None:
    card = working(engine)
    assert card_text.rows(card) != card_text.rows(replace(card, todos=TODOS))
