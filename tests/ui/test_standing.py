"""What stands around a card's work: conflicts, checks and cards at the same places, on the board and in the review."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication

from agentpane.api import commands
from agentpane.domain.board import Column
from agentpane.domain.checks import CheckResult, CheckState
from agentpane.domain.conflicts import Conflict, LineRange, Overlap, OverlapKind
from agentpane.domain.ids import TaskId
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.cards import standing_words
from agentpane.ui.cards.card_text import rows, spoken
from agentpane.ui.parts.controls import Button
from tests.ui.conftest import Stage
from tests.ui.patches import FILES, PATCH

CONFLICTS = (
    Conflict("ledger/tax.py", "contents", (LineRange(2, 1),), (LineRange(21, 1),)),
    Conflict("logo.png", "binary"),
)
LINT = CheckResult("lint", False, CheckState.FAILED, 1, 3.0, "t" * 40, None, "E501 line too long\n")
TESTS = CheckResult("tests", True, CheckState.PASSED, 0, 62.0, "t" * 40, None, "")


@pytest.fixture
def task(stage: Stage) -> str:
    """A task that waits for approval, opened in the review."""
    project = stage.engine.add_project()
    made = stage.engine.add_task(project.id, "Round the tax")
    stage.engine.start(made.card.id)
    stage.engine.finish(made.card.id, PATCH, FILES)
    window = stage.open()
    window.places.show_review(made.card.id)
    stage.until(lambda: stage.find("review.approve").isEnabled())
    return made.card.id


def overlap(stage: Stage, kind: OverlapKind = OverlapKind.LINES, *, clashes: bool = True) -> Overlap:
    project = next(iter(stage.engine.projects))
    other = stage.engine.add_task(project, "Fix the rates")
    stage.engine.start(other.card.id)
    return Overlap(other.card.id, "Fix the rates", "ledger/tax.py", (LineRange(2, 3),), kind, clashes)


def test_a_card_says_what_stands_around_it_and_grows_by_each_line(stage: Stage, task: str) -> None:
    plain = stage.engine.tasks[task].card
    other = overlap(stage)
    full = replace(plain, conflicts=CONFLICTS, checks=(TESTS, LINT), overlaps=(other,))
    assert rows(full)[2] == rows(plain)[2] + 3
    said = spoken(full)
    assert (
        "Conflicts in 2 files" in said and "Checks passed, 1 warned" in said and "Same lines as “Fix the rates”" in said
    )
    view = stage.view(Column.WAITING_APPROVAL)
    stage.window.places.show_board()
    before = view.visualRect(view.model().index(0, 0)).height()
    stage.engine.change(task, conflicts=CONFLICTS, checks=(TESTS, LINT), overlaps=(other,))
    stage.until(lambda: view.visualRect(view.model().index(0, 0)).height() > before)
    stage.window.desk.acts.open_requested.emit(task)
    stage.until(lambda: stage.text("task.standing").startswith("Conflicts in 2 files; Checks passed, 1 warned"))


def test_what_little_room_leaves_of_an_overlap_keeps_its_weight_and_restored_work_is_marked(
    stage: Stage, task: str
) -> None:
    other = overlap(stage)
    lines, file = (
        standing_words.overlap_line((one,)) for one in (other, replace(other, kind=OverlapKind.FILE, lines=()))
    )
    assert lines is not None and lines.short == "Same lines as 1 card"
    assert file is not None and file.short == "Same file as 1 card"
    card = replace(stage.engine.tasks[task].card, column=Column.BACKLOG, restored=True)
    assert "Restored work lies in its worktree" in spoken(card)
    assert rows(card)[2] == rows(replace(card, restored=False))[2] + 1


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((CheckState.RUNNING, CheckState.PENDING, CheckState.PASSED), "Checks: 1 of 3 done"),
        ((CheckState.FAILED, CheckState.PENDING, CheckState.PASSED), "Checks: 1 of 3 did not pass"),
        ((CheckState.PENDING, CheckState.PASSED), "Checks have not been run"),
        ((CheckState.PASSED, CheckState.PASSED), "Checks passed"),
        ((CheckState.NOT_RUN,), "Checks: 1 of 1 did not pass"),
    ],
)
def test_checks_are_one_line_of_words(states: tuple[CheckState, ...], words: str) -> None:
    line = standing_words.check_line(tuple(replace(TESTS, state=state) for state in states))
    assert line is not None and line.text == words


def test_a_conflict_is_listed_by_file_kind_and_lines_and_leads_there(stage: Stage, task: str) -> None:
    stage.engine.change(task, conflicts=CONFLICTS)
    stage.until(lambda: stage.shown("review.conflicts"))
    assert stage.text("review.conflicts.words") == "Conflicts with main in 2 files"
    places = list(stage.window.findChildren(Button, "review.place"))
    texts = [place.accessibleName() for place in places if place.isVisible()]
    assert texts == [
        "ledger/tax.py  ·  both changed it  ·  here: line 21  ·  main: line 2",
        "logo.png  ·  both changed it, and it is binary",
    ]
    review = stage.window.places.review
    assert review is not None
    next(place for place in places if place.accessibleName() == texts[0]).click()
    row = review.diff._rows.row(review.diff.current_row) if review.diff._rows else None
    assert row is not None and row.line is not None and row.line.new_number == 21


def test_a_conflict_is_handed_to_the_agent_or_resolved_in_an_editor(
    stage: Stage, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or True)
    stage.engine.change(task, conflicts=CONFLICTS, whole={"worktree": "/w/round-the-tax"})
    stage.until(lambda: stage.shown("button.task.resolve"))
    stage.click("button.task.resolve")
    stage.until(lambda: stage.text("review.conflicts.words") == "You resolve the conflict with main")
    assert stage.text("review.conflicts.where") == "Edit the files in /w/round-the-tax"
    stage.until(lambda: not stage.find("review.approve").isEnabled())
    stage.click("button.task.folder")
    stage.until(lambda: opened == ["/w/round-the-tax"])
    stage.engine.faults[commands.TakeResolution] = AgentPaneError(ErrorCode.MERGE_CONFLICT, "2 files are undecided.")
    stage.click("button.task.take")
    stage.sheet("error_sheet")
    stage.click("error_sheet.ok")
    stage.engine.faults.clear()
    stage.click("button.task.take")
    stage.until(lambda: not stage.shown("review.conflicts"))
    stage.engine.change(task, conflicts=CONFLICTS)
    stage.until(lambda: stage.shown("button.task.hand_over"))
    stage.click("button.task.hand_over")
    stage.until(lambda: stage.window.places.on_board)
    assert [command.task for command in stage.done(commands.HandOverConflict)] == [task]  # type: ignore[attr-defined]


def test_a_card_that_conflicts_offers_the_ways_on_and_approve_is_off(stage: Stage, task: str) -> None:
    stage.engine.change(task, conflicts=CONFLICTS)
    stage.until(lambda: not stage.find("review.approve").isEnabled() and stage.find("review.reject").isEnabled())
    stage.window.places.show_board()
    stage.window.desk.acts.open_requested.emit(task)
    stage.until(lambda: stage.shown("button.task.hand_over"))
    assert stage.shown("button.task.resolve") and not stage.find("button.task.approve").isEnabled()
    stage.window.flows.approve(task)  # asked for before the conflict was known
    sheet = stage.sheet("approve_sheet")
    assert stage.text("approve_sheet.keeps") == "It conflicts with main in 2 files."
    assert not stage.shown("strategy") and not stage.find("approve_sheet.act").isEnabled()
    stage.press(Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert sheet.isVisible()
    sheet.dismiss()
    stage.engine.change(task, conflicts=())
    stage.until(lambda: not stage.shown("button.task.resolve") and stage.find("button.task.approve").isEnabled())


def test_checks_show_their_outcome_and_output_and_run_again(stage: Stage, task: str) -> None:
    stage.engine.change(task, checks=(TESTS, LINT))
    stage.until(lambda: stage.shown("review.checks"))
    stage.click("review.checks.fold")
    stage.click("review.check.lint")
    stage.sheet("output_sheet")
    stage.click("output_sheet.ok")
    stage.click("button.task.checks")
    stage.until(lambda: stage.done(commands.RunChecks) == [commands.RunChecks(task)])
    stage.engine.change(task, checks=(replace(TESTS, state=CheckState.RUNNING), LINT))
    stage.until(lambda: stage.shown("button.task.stop_checks"))
    stage.click("button.task.stop_checks")
    stage.until(lambda: stage.done(commands.StopChecks) == [commands.StopChecks(task)])


def test_a_card_at_the_same_lines_is_named_and_opened(stage: Stage, task: str) -> None:
    other = overlap(stage)
    stage.engine.change(task, overlaps=(other,))
    stage.until(lambda: stage.shown("review.overlaps"))
    stage.find("review.overlaps.fold").setFocus()
    stage.press(Qt.Key.Key_Space)
    assert "both edit lines 2–4" in stage.text("review.place")
    stage.click(f"review.overlap.{other.task_id}")
    stage.until(lambda: stage.window.places.task_shown == other.task_id)


def test_line_ranges_read_as_in_an_editor() -> None:
    ranges = (LineRange(3, 1), LineRange(7, 3), LineRange(0, 0), *(LineRange(20 + at, 1) for at in range(6)))
    assert standing_words.range_words(ranges) == "3, 7–9, after 0, 20, 21, 22, 3 more"
    two = (Overlap(TaskId("a"), "One", "f", (), OverlapKind.DELETED), Overlap(TaskId("b"), "Two", "g", ()))
    line = standing_words.overlap_line(two)
    assert line is not None and line.text == "Same lines as “One” and 1 more" and line.short == "Same lines as 2 cards"


def test_an_approval_that_waits_for_checks_says_so_and_keeps_the_keys_on_the_page(stage: Stage, task: str) -> None:
    stage.engine.change(task, checks=(replace(TESTS, state=CheckState.RUNNING),))
    stage.until(lambda: stage.find("review.approve").isEnabled() and stage.shown("review.checks"))
    stage.engine.holds[commands.Approve] = held = asyncio.Event()
    stage.find("review.approve").setFocus()
    stage.press(Qt.Key.Key_Space)
    stage.until(lambda: stage.text("review.approve") == "Merges when its checks pass")
    focused = QApplication.focusWidget()
    review = stage.window.places.review_shown
    assert focused is not None and review is not None and review.isAncestorOf(focused)
    stage.engine.change(task, checks=(TESTS,))
    stage.settle()
    assert not stage.find("review.approve").isEnabled()
    held.set()
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["Round the tax"])


def test_a_card_that_was_decided_elsewhere_is_no_more_under_review(stage: Stage, task: str) -> None:
    stage.engine.put(task, Column.IN_PROGRESS, 0)
    stage.until(lambda: stage.window.places.on_board)
    assert stage.text("toast") == "Round the tax is in In Progress now."
