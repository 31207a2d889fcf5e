"""The board: its model, what may be dragged where, carrying by keyboard, and many cards."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QAbstractItemModelTester, QTest
from PySide6.QtWidgets import QApplication, QLabel

from agentpane.api import commands
from agentpane.domain.board import MAY_DRAG_TO, Column
from agentpane.domain.keeping import Going
from agentpane.domain.runs import PAUSED_PLACE_SECONDS, RunStatus
from agentpane.ui.board.carry import Landing
from agentpane.ui.cards.board_model import BoardModel, ColumnModel, Role
from tests.ui.conftest import Drag, Stage
from tests.ui.memory_engine import MemoryEngine

MIDDLE = QPointF(100, 400)
FATAL = QAbstractItemModelTester.FailureReportingMode.Fatal


def test_the_models_keep_qts_rules_through_every_change(qapp: QApplication, engine: MemoryEngine) -> None:
    project = engine.add_project()
    tasks = [engine.add_task(project.id, f"Task {number}") for number in range(600)]
    model = BoardModel()
    columns = [ColumnModel(model, column) for column in Column]
    testers = [QAbstractItemModelTester(tested, FATAL) for tested in (model, *columns)]
    model.fill(task.card for task in tasks)
    while model.filling:
        qapp.processEvents()
    model.put(engine.start(tasks[3].card.id).card)
    model.put(engine.add_task(project.id, "A late one").card)
    model.renumber([(tasks[5].card.id, 0), (tasks[0].card.id, 5)])
    model.drop(tasks[7].card.id)
    columns[0].search("task 59")
    assert columns[0].rowCount() == 16  # 59, 159, … 559, and 590 to 599
    columns[0].search("")
    assert model.rowCount() == 600
    assert columns[1].rowCount() == 1
    model.fill(())
    assert model.rowCount() == 0
    assert testers


def test_a_column_shows_its_cards_by_position(stage: Stage) -> None:
    project = stage.engine.add_project()
    for title in ("one", "two", "three"):
        stage.engine.add_task(project.id, title)
    stage.open()
    assert stage.titles(Column.BACKLOG) == ["one", "two", "three"]
    stage.engine.put(stage.engine.column(project.id, Column.BACKLOG)[2].card.id, Column.BACKLOG, 0)
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["three", "one", "two"])


@pytest.mark.parametrize("source", list(Column))
@pytest.mark.parametrize("goal", list(Column))
def test_a_drag_lands_exactly_where_the_rules_allow(stage: Stage, source: Column, goal: Column) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Carried", source)
    stage.engine.add_task(project.id, "Another", source)
    stage.open()
    allowed = goal is source or goal in MAY_DRAG_TO[source]
    opens_review = (source, goal) == (Column.WAITING_APPROVAL, Column.VERIFIED)
    asks = source is not goal and goal is Column.BACKLOG
    stage.engine.finish(task.card.id, b"", ()) if opens_review else None

    accepted = Drag(task.card.id).onto(stage.view(goal), MIDDLE)

    assert accepted is (allowed or opens_review)
    if opens_review:
        assert stage.window.places.task_shown == task.card.id
    elif allowed and asks:
        stage.sheet("confirm_sheet")
        assert not stage.done(commands.PutBack)
        stage.click("confirm_sheet.act")
        stage.until(lambda: "Carried" in stage.titles(goal))
    elif allowed:
        stage.until(lambda: stage.done(commands.MoveTask))
        stage.until(lambda: "Carried" in stage.titles(goal))
    else:
        stage.settle()
        assert not stage.done(commands.MoveTask)
    assert not stage.done(commands.MoveTask) or not asks
    assert stage.window.board.carry.card is None or not accepted


def test_while_a_card_is_dragged_the_other_columns_say_whether_and_why_not(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Carried")
    stage.open()
    drag = Drag(task.card.id)
    drag.enter(stage.view(Column.IN_PROGRESS), MIDDLE)
    carry = stage.window.board.carry
    assert carry.landing(Column.IN_PROGRESS) is Landing.ALLOWED
    assert carry.landing(Column.VERIFIED) is Landing.REFUSED
    assert carry.reason(Column.VERIFIED) == "Only a merged card is Verified."
    assert stage.window.board.columns[Column.IN_PROGRESS].property("state") in {"allowed", "target"}
    assert stage.window.board.columns[Column.VERIFIED].property("state") == ""
    stage.window.grab()  # the veil and the reason can be painted
    stage.press(Qt.Key.Key_Escape)
    assert carry.card is None


def test_dropping_below_a_card_asks_for_that_position(stage: Stage) -> None:
    project = stage.engine.add_project()
    tasks = [stage.engine.add_task(project.id, title) for title in ("one", "two", "three", "four")]
    stage.open()
    stage.settle()
    view = stage.view(Column.BACKLOG)
    box = view.visualRect(view.index_of(tasks[2].card.id))
    Drag(tasks[0].card.id).onto(view, QPointF(box.center().x(), box.bottom() - 2))
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["two", "three", "one", "four"])
    assert stage.done(commands.MoveTask)[0].position == 2  # type: ignore[attr-defined]


def test_dropping_a_card_where_it_is_asks_for_nothing(stage: Stage) -> None:
    project = stage.engine.add_project()
    tasks = [stage.engine.add_task(project.id, title) for title in ("one", "two")]
    stage.open()
    stage.settle()
    view = stage.view(Column.BACKLOG)
    box = view.visualRect(view.index_of(tasks[0].card.id))
    Drag(tasks[0].card.id).onto(view, QPointF(box.center()))
    stage.settle()
    assert not stage.done(commands.MoveTask)


def test_what_is_no_card_of_this_board_is_refused(stage: Stage) -> None:
    stage.engine.add_project()
    stage.open()
    assert not Drag("nobody").onto(stage.view(Column.BACKLOG), MIDDLE)


def test_a_card_is_carried_by_keyboard_into_the_next_column(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "one")
    stage.engine.add_task(project.id, "two")
    window = stage.open()
    window.board.focus_board()
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Right, Qt.Key.Key_Space):
        stage.press(key)
    stage.until(lambda: stage.titles(Column.IN_PROGRESS) == ["one"])
    stage.until(lambda: window.desk.acts.task_id == stage.view(Column.IN_PROGRESS).shown()[0].id)


def test_carrying_a_card_back_asks_what_stopping_it_asks_and_says_what_went(stage: Stage) -> None:
    project = stage.engine.add_project()
    waits, works = (stage.engine.add_task(project.id, title).card.id for title in ("one", "two"))
    stage.engine.start(works)
    stage.engine.going[works] = Going("agentpane/two", 1, ("build/",))
    window = stage.open()
    window.board.focus_board()
    stage.press(Qt.Key.Key_Right)
    asked = []
    for answer in (Qt.Key.Key_Escape, Qt.Key.Key_Return):
        for key in (Qt.Key.Key_Space, Qt.Key.Key_Left, Qt.Key.Key_Down, Qt.Key.Key_Space):
            stage.press(key)
        sheet = stage.sheet("confirm_sheet")
        asked.append(" ".join(label.text() for label in sheet.findChildren(QLabel)))
        if answer is Qt.Key.Key_Return:
            stage.find("confirm_sheet.act").setFocus()
        stage.press(answer)
        stage.settle()
        assert bool(stage.done(commands.PutBack)) is (answer is Qt.Key.Key_Return)
    assert "Its commits stay on branch agentpane/two" in asked[0] and "goes with the worktree: build/." in asked[0]
    stage.until(lambda: [card.id for card in stage.view(Column.BACKLOG).shown()] == [waits, works])
    said = stage.find("toast").accessibleName()
    assert "stay on branch agentpane/two. What git ignores went with the worktree: build/." in said

    stage.engine.start(works)
    stage.until(lambda: stage.titles(Column.IN_PROGRESS) == ["two"])
    window.desk.acts.take(works)
    stage.trigger("task.stop")
    assert " ".join(label.text() for label in stage.sheet("confirm_sheet").findChildren(QLabel)) == asked[0]


def test_a_carried_card_is_let_be_by_escape_and_refused_where_it_may_not_land(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "one")
    window = stage.open()
    window.board.focus_board()
    stage.press(Qt.Key.Key_Space)
    assert carried(stage)
    stage.press(Qt.Key.Key_Escape)
    assert not carried(stage)
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Return):
        stage.press(key)
    assert not stage.done(commands.MoveTask)
    assert stage.find("toast").accessibleName() == "A card comes here when its agent has finished."


def carried(stage: Stage) -> bool:
    return stage.window.board.carry.card is not None


def test_arrows_go_between_columns_and_enter_opens_the_card(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "planned")
    stage.engine.add_task(project.id, "merged", Column.VERIFIED)
    window = stage.open()
    window.board.focus_board()
    stage.press(Qt.Key.Key_Right)
    assert stage.view(Column.VERIFIED).hasFocus()
    stage.press(Qt.Key.Key_Return)
    assert stage.find("task.title").accessibleName() == "merged"


def test_hovering_a_card_offers_its_one_action_and_pressing_it_runs_the_task(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "one")
    stage.open()
    stage.settle()
    view = stage.view(Column.BACKLOG)
    index = view.index_of(task.card.id)
    box = view.visualRect(index).adjusted(0, 0, 0, -8)
    delegate = view.itemDelegate()
    at: QPoint = delegate.button_rect(box, index.data(Role.CARD)).center()  # type: ignore[attr-defined]
    QTest.mouseMove(view.viewport(), at)
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=at)
    stage.until(lambda: stage.titles(Column.IN_PROGRESS) == ["one"])
    assert stage.done(commands.StartRun)


def test_the_first_match_of_the_filter_comes_into_view_and_return_goes_to_it(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "First")
    found = stage.engine.add_task(project.id, "Find me", Column.VERIFIED)
    window = stage.open(960, 600)
    frame = window.board.columns[Column.VERIFIED]

    def in_view() -> bool:
        return not frame.visibleRegion().isEmpty() and frame.visibleRegion().boundingRect().width() == frame.width()

    assert not in_view()
    stage.write("board.search", "find")
    stage.until(in_view)
    assert window.board.search.hasFocus()
    stage.press(Qt.Key.Key_Return)
    assert stage.view(Column.VERIFIED).is_current(found.card.id) and stage.view(Column.VERIFIED).hasFocus()


def test_the_filter_hides_what_does_not_match_and_says_so(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "Fix the parser", labels=("bug",))
    stage.engine.add_task(project.id, "Write the manual")
    stage.open()
    stage.write("board.search", "BUG fix")
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["Fix the parser"])
    stage.press(Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    stage.press(Qt.Key.Key_Delete)
    stage.until(lambda: len(stage.titles(Column.BACKLOG)) == 2)


def test_ten_thousand_cards_are_there_without_a_long_gap(stage: Stage) -> None:
    project = stage.engine.add_project()
    for number in range(10_000):
        stage.engine.add_task_fast(project.id, f"Card {number}", list(Column)[number % 4], number // 4)
    window = stage.open()
    assert window.board.columns[Column.BACKLOG].count.text() == "2,500"
    assert stage.titles(Column.BACKLOG)[:2] == ["Card 0", "Card 4"]
    longest = 0.0
    model = window.desk.known.board
    while model.filling:
        began = time.monotonic()
        QApplication.processEvents()
        longest = max(longest, time.monotonic() - began)
    assert model.rowCount() == 10_000
    assert stage.view(Column.VERIFIED).cards.rowCount() == 2_500
    assert longest < 2.0  # a bound against freezing; the benchmark measures it


def test_a_change_that_keeps_a_cards_place_paints_that_card_alone(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "one")
    stage.engine.start(task.card.id)
    window = stage.open()
    told: list[object] = []
    window.desk.known.board.dataChanged.connect(lambda *_: told.append(None))
    touched: list[str] = []
    window.desk.known.board.touched.connect(touched.append)
    run = stage.engine.tasks[task.card.id].card.run
    assert run is not None
    stage.engine.change(task.card.id, run=replace(run, turns=7))
    stage.until(lambda: touched == [task.card.id])
    assert not told


def test_a_queue_that_paused_runs_hold_up_says_so(stage: Stage) -> None:
    project = stage.engine.add_project()
    most = project.max_concurrent_agents
    asking = [stage.engine.add_task(project.id, f"Asks {number}").card.id for number in range(most)]
    for task_id in asking:
        stage.engine.start(task_id, RunStatus.PAUSED, paused_at=datetime.now(UTC))
    queued = stage.engine.add_task(project.id, "Waits").card.id
    stage.engine.start(queued, RunStatus.QUEUED, queue_place=1, started_at=None)
    window = stage.open()
    model = window.desk.known.board
    stage.until(lambda: stage.text("limit.in_progress") == f"{most} of {most} places, {most} wait for you")

    def spoken() -> str:
        return str(model.index_of(queued).data(Qt.ItemDataRole.AccessibleTextRole))

    stage.until(lambda: "Queued, number 1: paused runs hold the places" in spoken())
    window.desk.acts.open_requested.emit(queued)
    stage.until(lambda: stage.text("task.state") == "Queued, number 1: paused runs hold the places")
    run = stage.engine.tasks[asking[0]].card.run
    assert run is not None and run.paused_at is not None
    long_ago = run.paused_at - timedelta(seconds=PAUSED_PLACE_SECONDS)
    stage.engine.change(asking[0], run=replace(run, paused_at=long_ago))
    stage.until(lambda: stage.text("limit.in_progress") == f"{most - 1} of {most} places, {most - 1} wait for you")
    stage.until(lambda: "paused runs" not in spoken() and "paused runs" not in stage.text("task.state"))
