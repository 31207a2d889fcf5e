"""What the window does about the wheel, the focus, what was typed, and what it says unasked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from PySide6.QtCore import QDir, QPoint, QPointF, Qt
from PySide6.QtGui import QFont, QTextTable, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QScrollArea,
    QSpinBox,
    QWidget,
)

from agentpane.api import commands, events
from agentpane.domain.board import Column
from agentpane.domain.review import ApproveOutcome, ApproveResult, FileDiff, MergeStrategy
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.ui.cards.card_text import run_facts
from agentpane.ui.desk.link import LinkState
from agentpane.ui.look.theme import SUBSTITUTIONS, Look
from agentpane.ui.parts.code_box import CodeBox
from agentpane.ui.parts.controls import Label
from agentpane.ui.parts.markdown import MarkdownView
from agentpane.ui.rail import ProjectRow
from tests.ui.conftest import Stage
from tests.ui.patches import FILES, PATCH

# What the offscreen platform cannot do, a real one can.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


def turn_wheel(widget: QWidget) -> bool:
    """Turn the wheel over a widget. False: it left the turn to what it lies in."""
    at = QPointF(widget.rect().center())
    event = QWheelEvent(
        at, widget.mapToGlobal(at), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def waiting(stage: Stage, title: str) -> Task:
    project = next(iter(stage.engine.projects.values()), None) or stage.engine.add_project()
    task = stage.engine.add_task(project.id, title)
    stage.engine.start(task.card.id)
    return stage.engine.finish(task.card.id, PATCH, FILES)


def test_the_wheel_scrolls_the_settings_past_their_fields_and_changes_none(stage: Stage) -> None:
    stage.engine.add_project()
    stage.open(1000, 650)
    stage.trigger("place.settings")
    stage.settle()
    policy, number = stage.find("settings.project.policy"), stage.find("settings.project.concurrency")
    assert isinstance(policy, QComboBox) and isinstance(number, QSpinBox)
    before = policy.currentIndex(), number.value()
    for field in (policy, number):
        assert not turn_wheel(field)  # what lies around it gets the turn
    assert (policy.currentIndex(), number.value()) == before
    number.setFocus()
    turn_wheel(number)
    assert number.value() == before[1] - 1


def test_code_is_drawn_with_its_own_characters_wherever_it_is_shown(stage: Stage) -> None:
    stage.engine.add_project()
    stage.open()
    box, words, text = CodeBox("a -> b != c", "Input"), Label("a -> b", "fixed"), MarkdownView("`a -> b`")
    for widget in (box, words, text):
        widget.show()
    literal = text.document().begin().begin().fragment().charFormat().font()
    for font in (Look.current().fixed_font(), box.font(), words.font(), literal):
        for feature in SUBSTITUTIONS:
            assert font.isFeatureSet(QFont.Tag(feature)) and font.featureValue(QFont.Tag(feature)) == 0
    for widget in (box, words, text):
        widget.deleteLater()


def test_an_engine_that_was_stopped_is_started_again_only_when_asked(stage: Stage) -> None:
    stage.engine.add_project()
    window = stage.open()
    stage.engine.publish(events.EngineStopping("stopped by command"))
    stage.engine.die()
    stage.until(lambda: window.desk.link.state is LinkState.STOPPED)
    stage.engine.come_back()  # one that is asked would come
    stage.settle()
    assert window.desk.link.state is LinkState.STOPPED
    assert stage.text("banner.engine.text") == "The engine was stopped."
    assert stage.text("banner.engine.again") == "Start"
    stage.click("banner.engine.again")
    stage.until(lambda: window.desk.link.state is LinkState.READY)
    stage.until(lambda: not stage.shown("banner.engine"))


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_after_a_verdict_the_keys_are_at_the_card_on_the_board(stage: Stage, verdict: str) -> None:
    task = waiting(stage, "Judge me")
    window = stage.open()
    window.places.show_review(task.card.id)
    stage.until(lambda: stage.find("review.approve").isEnabled())
    stage.click(f"review.{verdict}")
    if verdict == "reject":
        stage.sheet("reject_sheet")
        stage.write("reject_sheet.reason", "Not yet")
        stage.click("reject_sheet.act")
    column = Column.VERIFIED if verdict == "approve" else Column.IN_PROGRESS
    stage.until(lambda: stage.titles(column) == ["Judge me"])
    stage.settle()
    assert stage.view(column).hasFocus()
    card = stage.view(column).current_card()
    assert card is not None and card.id == task.card.id


def test_a_rejected_card_shows_the_agent_at_work(stage: Stage) -> None:
    task = waiting(stage, "Once more")
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    panel = window.places.panel
    assert panel is not None and panel.tabs.current == "changes"
    window.desk.acts.reject(task.card.id, "Not yet", ())
    stage.until(lambda: panel.tabs.current == "session")


def test_whoever_comes_to_a_column_by_tab_stands_on_its_first_card(stage: Stage) -> None:
    project = stage.engine.add_project()
    for title in ("one", "two"):
        stage.engine.add_task(project.id, title)
    stage.open()
    view = stage.view(Column.BACKLOG)
    view.clearSelection()
    stage.window.board.search.setFocus()
    view.setFocus(Qt.FocusReason.TabFocusReason)
    first = view.current_card()
    assert first is not None and first.title == "one"
    stage.press(Qt.Key.Key_Down)
    second = view.current_card()
    assert second is not None and second.title == "two"


def test_a_card_opened_by_key_hands_the_keys_to_its_panel_and_escape_hands_them_back(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "one")
    window = stage.open()
    window.board.focus_board()
    stage.press(Qt.Key.Key_Return)
    focused = QApplication.focusWidget()
    assert window.places.panel is not None and focused is not None and window.places.panel.isAncestorOf(focused)
    across = window.board._scroll.horizontalScrollBar().value()
    stage.press(Qt.Key.Key_Tab)
    focused = QApplication.focusWidget()
    assert focused is not None and window.places.panel.isAncestorOf(focused)
    assert window.board._scroll.horizontalScrollBar().value() == across


def test_the_panels_buttons_act_on_the_task_that_the_panel_shows(stage: Stage) -> None:
    project = stage.engine.add_project()
    one, two = (stage.engine.add_task(project.id, title) for title in ("one", "two"))
    window = stage.open()
    window.desk.acts.open_requested.emit(one.card.id)
    window.board.select(two.card.id)
    assert window.desk.acts.task_id == two.card.id
    assert window.places.panel is not None
    window.places.panel.focus_tab()
    assert window.desk.acts.task_id == one.card.id
    assert stage.view(Column.BACKLOG).is_current(one.card.id)


def test_the_folded_rail_shows_each_project_whole(stage: Stage) -> None:
    stage.engine.add_project("ledger")
    window = stage.open(1000, 650)
    stage.settle()
    line = window.rail.findChildren(ProjectRow)[0]
    parent = line.parentWidget()
    assert parent is not None and line.geometry().right() <= parent.width()
    assert line.width() == line.sizeHint().width()
    assert "ledger" in line.toolTip()


def test_what_was_typed_for_a_new_task_is_there_again_after_escape(stage: Stage) -> None:
    stage.engine.add_project()
    stage.open()
    stage.trigger("task.new")
    stage.sheet("task_sheet")
    stage.write("task_sheet.title", "Half a thought")
    stage.press(Qt.Key.Key_Escape)
    stage.settle()
    stage.trigger("task.new")
    stage.sheet("task_sheet")
    field = stage.find("task_sheet.title")
    assert isinstance(field, QLineEdit) and field.text() == "Half a thought"
    stage.click("task_sheet.create")
    stage.until(lambda: stage.done(commands.AddTask))
    stage.settle()
    stage.trigger("task.new")
    stage.sheet("task_sheet")
    field = stage.find("task_sheet.title")
    assert isinstance(field, QLineEdit) and field.text() == ""


def test_the_boards_head_fits_beside_the_panel_in_a_small_window(stage: Stage) -> None:
    project = stage.engine.add_project("a-project-with-quite-a-long-name", recorded=True)
    task = stage.engine.add_task(project.id, "one")
    window = stage.open(1000, 650)
    window.desk.acts.open_requested.emit(task.card.id)
    stage.settle()
    new, search, board = stage.find("button.task.new"), window.board.search, window.board
    assert search.geometry().right() < new.geometry().left()
    assert new.geometry().right() < board.width()
    assert window.board.title.geometry().right() < search.geometry().left()


def test_good_news_of_a_card_is_said_once_and_goes_when_the_card_is_opened_or_moves_on(stage: Stage) -> None:
    project = stage.engine.add_project()
    one, two = (stage.engine.add_task(project.id, title) for title in ("one", "two"))
    window = stage.open()
    for task in (one, two):
        stage.engine.start(task.card.id)
        stage.engine.finish(task.card.id, PATCH, FILES)
    stage.until(lambda: len(window.desk.toasts._shown) == 2)
    assert len({toast.width() for toast in window.desk.toasts._shown}) == 1
    window.desk.acts.open_requested.emit(one.card.id)
    assert [toast.task for toast in window.desk.toasts._shown] == [two.card.id]
    stage.engine.put(two.card.id, Column.BACKLOG, 0)
    stage.engine.change(two.card.id)
    stage.until(lambda: not window.desk.toasts._shown)


def test_what_is_said_leaves_the_column_where_work_waits_uncovered(stage: Stage) -> None:
    stage.engine.add_project()
    window = stage.open(1440, 900)
    window.desk.toasts.say("Something with rather many words, so that it needs a second line or even a third one")
    stage.settle()
    frame = window.board.columns[Column.WAITING_APPROVAL]
    edge = frame.mapTo(window, frame.rect().topRight()).x()
    assert stage.find("toast").geometry().left() >= edge


def test_markdown_has_its_code_on_a_ground_and_its_tables_aligned(stage: Stage) -> None:
    view = MarkdownView("Words.\n\n```\na -> b\nc\n```\n\n| n | much |\n|---|---:|\n| x | 12 |\n")
    frames = view.document().rootFrame().childFrames()
    tables = [frame for frame in frames if isinstance(frame, QTextTable)]
    code = [frame for frame in frames if not isinstance(frame, QTextTable)]
    assert len(tables) == len(code) == 1
    assert code[0].frameFormat().padding() > 0
    assert code[0].frameFormat().background().color() == Look.current().colour("surface")
    assert tables[0].format().topMargin() > 0
    right = tables[0].cellAt(1, 1).firstCursorPosition().blockFormat().alignment()
    assert right & Qt.AlignmentFlag.AlignRight
    assert "a -> b" in view.toPlainText() and "12" in view.toPlainText()
    Look.current().choose("light")
    frames = view.document().rootFrame().childFrames()
    ground = next(frame for frame in frames if not isinstance(frame, QTextTable)).frameFormat().background()
    assert ground.color() == Look.current().colour("surface")
    view.deleteLater()


def test_the_clock_of_a_paused_run_stands(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "one")
    run = stage.engine.start(task.card.id, RunStatus.PAUSED, pause_reason=PauseReason.PERSON).card.run
    assert run is not None and run.started_at is not None
    paused = replace(run, started_at=run.started_at - timedelta(hours=5))
    paused = replace(paused, paused_at=paused.started_at + timedelta(seconds=42))  # type: ignore[operator]
    assert run_facts(paused)[1] == "42 s"


def test_the_key_is_not_promised_to_a_keyring_that_may_not_be_there(stage: Stage) -> None:
    stage.engine.add_project()
    stage.open()
    stage.trigger("key")
    sheet = stage.sheet("key_sheet")
    words = " ".join(label.text() for label in sheet.findChildren(Label))
    assert "a file that only you can read" in words


def test_the_review_belongs_to_the_board_in_the_rail_and_marks_the_file_on_top(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Long")
    stage.engine.start(task.card.id)
    patch, files = b"", []
    for name, length in (("a", 40), ("b", 40), ("c", 40), ("d", 5)):
        lines = b"".join(b"+line %d\n" % number for number in range(length))
        head = "diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1,{1} @@\n"
        patch += head.format(name, length).encode() + lines
        files.append(replace(FILES[0], path=name, status="A", added=length, removed=0))
    stage.engine.finish(task.card.id, patch, tuple[FileDiff, ...](files))
    window = stage.open(1200, 800)
    window.places.show_review(task.card.id)
    stage.until(lambda: stage.find("review.approve").isEnabled())
    review = window.places.review
    assert review is not None and window.rail._places["board"].isChecked()

    def marked() -> str:
        return str(review.files.file(review.list.currentIndex().row()).path)

    def on_top() -> str:
        diff = review.diff
        assert diff._rows is not None
        return str(diff._rows.files[diff._rows.file_of(diff.verticalScrollBar().value() // diff._height)].path)

    stage.press(Qt.Key.Key_End)
    assert marked() == on_top() != "a"
    review.list.chosen.emit(3)  # the last one cannot come to the top, and is marked because it was chosen
    assert marked() == "d"
    bar = review.diff.verticalScrollBar()
    bar.setValue(bar.value() - 1)
    assert marked() == on_top()


def test_choosing_a_folder_begins_at_home_with_our_buttons(stage: Stage) -> None:
    stage.engine.add_project()
    window = stage.open()
    stage.trigger("project.add")
    dialog = window.findChild(QFileDialog)
    assert dialog is not None
    assert dialog.directory().path() == QDir.homePath()
    buttons = [
        button for button in dialog.findChildren(QAbstractButton) if isinstance(button.parent(), QDialogButtonBox)
    ]
    assert buttons and all(button.icon().isNull() for button in buttons)
    dialog.close()


def test_the_transcript_still_follows_its_end_after_a_sheet_has_gone(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "one")
    stage.engine.start(task.card.id)
    window = stage.open(1000, 650)
    window.desk.acts.open_requested.emit(task.card.id)
    stage.trigger("palette")
    stage.sheet("palette")
    stage.press(Qt.Key.Key_Escape)
    stage.settle()
    for number in range(40):
        stage.engine.say(task.card.id, EventKind.TEXT, {"text": f"A paragraph, number {number}."})
    area = stage.find("session.scroll", QScrollArea)
    assert isinstance(area, QScrollArea)
    bar = area.verticalScrollBar()
    stage.until(lambda: bar.maximum() > 400 and bar.value() == bar.maximum())


def test_a_task_of_another_project_does_not_stay_open_beside_the_board(stage: Stage) -> None:
    one, other = stage.engine.add_project("ledger"), stage.engine.add_project("other")
    task = stage.engine.add_task(one.id, "Waits")
    stage.engine.start(task.card.id)
    stage.engine.finish(task.card.id, PATCH, FILES)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.settle()
    window.places.show_review(task.card.id)
    stage.trigger("projects")
    stage.sheet("palette")
    stage.write("palette.field", "other")
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: window.desk.known.current is not None and window.desk.known.current.id == other.id)
    stage.settle()
    assert window.places.on_board and not window.places.task_shown and not stage.shown("task.title")


def test_a_card_is_acted_on_only_where_it_is_seen(stage: Stage) -> None:
    task = waiting(stage, "Waits").card.id
    planned = stage.engine.add_task(stage.engine.tasks[task].card.project_id, "Planned").card.id
    window = stage.open()
    acts, actions, board = window.desk.acts, window.desk.actions, window.board

    def may() -> set[str]:
        return {name for name in ("task.run", "task.approve", "task.edit") if actions[name].isEnabled()}

    acts.take(planned)
    assert may() == {"task.run", "task.edit"}
    for place in ("worktrees", "costs", "settings"):
        stage.trigger(f"place.{place}")
        assert not may()
        stage.press(Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
        stage.trigger("place.board")
        assert may() == {"task.run", "task.edit"}
    assert not stage.done(commands.StartRun)

    board.view(Column.BACKLOG).clearSelection()  # as a press beside the cards does
    assert not may()
    board.select(planned)
    assert may()
    board.search.setText("Waits")
    stage.until(lambda: not may())  # the filter hides the card
    acts.open_requested.emit(planned)
    assert may() == {"task.run", "task.edit"}  # its panel is open
    window.places.close_task()
    assert not may()

    acts.review_requested.emit(task)
    assert may() == {"task.approve"}
    stage.trigger("place.costs")
    assert not may()


def test_the_keys_stay_with_the_card_when_the_button_that_had_them_goes(stage: Stage) -> None:
    task = waiting(stage, "Merged").card.id
    stage.engine.put(task, Column.VERIFIED, 0)
    window = stage.open()
    window.desk.acts.open_requested.emit(task)
    stage.settle()
    stage.find("button.task.undo").setFocus(Qt.FocusReason.TabFocusReason)
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: stage.titles(Column.WAITING_APPROVAL) == ["Merged"])
    stage.settle()
    focused = QApplication.focusWidget()
    assert focused is not None and focused.objectName() == f"tabs.{window.places.panel.tabs.current}"
    stage.press(Qt.Key.Key_Escape)
    assert QApplication.focusWidget() is stage.view(Column.WAITING_APPROVAL)


def test_what_is_said_unasked_stands_low_and_above_the_feet(stage: Stage) -> None:
    task = waiting(stage, "Waits").card.id
    window = stage.open()
    window.desk.toasts.say("Done.")
    low = stage.find("toast").geometry().bottom()
    assert window.height() - low < 40
    window.desk.acts.open_requested.emit(task)
    assert stage.find("toast").geometry().bottom() < low - 80  # the foot of the panel
    stage.window.places.close_task()
    assert stage.find("toast").geometry().bottom() == low
    window.desk.acts.review_requested.emit(task)
    window.desk.toasts.say("Done.")
    assert stage.find("toast").geometry().bottom() < low - 80


def test_what_became_of_a_merge_keeps_the_same_gap_as_what_stands_below_it(stage: Stage) -> None:
    task = waiting(stage, "Waits").card.id
    refused = ApproveOutcome(task, ApproveResult.REFUSED, None, ("b.txt",), "MERGE_CHECKOUT_DIRTY", "Edits.", "")
    stage.engine.outcomes[task] = refused
    window = stage.open()
    window.desk.acts.review_requested.emit(task)
    stage.settle()
    review = window.places.review_shown
    assert review is not None and review.standing.height() == 0
    window.desk.acts.approve(task, None, MergeStrategy.MERGE)
    stage.until(lambda: stage.shown("review.outcome"))
    stage.settle()
    assert review.outcome.y() == 8 and review.standing.height() == review.outcome.height() + 16
    stage.click("review.outcome.close")
    stage.settle()
    assert review.standing.height() == 0
