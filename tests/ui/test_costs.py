"""The page of costs: sums as the engine has them, in words, by what is chosen; useful when there is nothing."""

from __future__ import annotations

from datetime import date, timedelta

from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QComboBox, QTableView

from agentpane.api import commands, events
from agentpane.domain.costs import CostGroup, CostLine
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.costs import cost_words
from agentpane.ui.costs.costs_model import CostsModel
from agentpane.ui.costs.day_bars import DayBars
from tests.ui.conftest import Stage

TODAY = date.today()
DAYS = (
    CostLine(str(TODAY - timedelta(days=2)), "", 4, 10_000, 2_000, 30_000, 0, 1.25, 0, 8_000),
    CostLine(str(TODAY), "", 6, 20_000, 3_000, 20_000, 20_000, 0.75, 2, 12_000),
)
AGENTS = (
    CostLine("a1", "default", 8, 25_000, 4_000, 40_000, 10_000, 1.5, 0, 16_000),
    CostLine("a2", "scout", 2, 5_000, 1_000, 10_000, 10_000, 0.0, 2, 4_000),
)


def opened(stage: Stage, *, used: bool = True) -> Stage:
    stage.engine.add_project("ledger")
    if used:
        stage.engine.costs = {CostGroup.DAY: DAYS, CostGroup.AGENT: AGENTS}
    stage.open()
    stage.trigger("place.costs")
    stage.until(lambda: stage.shown("costs.table" if used else "costs.empty"))
    return stage


def cells(stage: Stage) -> list[list[str]]:
    table = stage.find("costs.table", QTableView)
    assert isinstance(table, QTableView)
    model = table.model()
    return [
        [str(model.index(row, column).data()) for column in range(model.columnCount())]
        for row in range(model.rowCount())
    ]


def test_the_sums_of_a_time_are_said_with_what_is_not_known(stage: Stage) -> None:
    opened(stage)
    assert stage.text("costs.cost") == "Cost: $2.00, and 2 requests of unknown cost"
    assert stage.text("costs.calls") == "Requests: 10"
    assert stage.text("costs.read") == "Tokens read: 100.0 k, 50 % from the cache"
    assert stage.text("costs.written") == "Tokens written: 5,000"
    assert stage.text("costs.wait") == "Latency: 2.0 s, for a request, on the average"
    assert [line[1:] for line in cells(stage)] == [  # the newest day first
        ["6", "60.0 k", "33 %", "3,000", "2.0 s", "$0.75 + 2 unknown"],
        ["4", "40.0 k", "75 %", "2,000", "2.0 s", "$1.25"],
    ]
    assert stage.window.places.costs is not None
    assert "$1.25" in stage.window.places.costs.bars.accessibleName()


def test_another_group_time_or_project_is_asked_of_the_engine(stage: Stage) -> None:
    opened(stage)
    stage.click("costs.group.agent")
    stage.until(lambda: [line[0] for line in cells(stage)] == ["default", "scout"])
    assert cells(stage)[1][-1] == "unknown"
    headings = stage.find("costs.headings")
    assert headings.accessibleName() == "Sorted by Cost, falling"
    headings.setFocus()
    stage.press(Qt.Key.Key_Right)
    assert headings.accessibleName() == "Sorted by Agent, rising"
    stage.press(Qt.Key.Key_Space)
    assert [line[0] for line in cells(stage)] == ["scout", "default"]
    stage.click("costs.period.week")
    stage.settle()
    box = stage.find("costs.project")
    assert isinstance(box, QComboBox)
    box.setCurrentIndex(1)
    stage.settle()
    last = stage.done(commands.ListCosts)[-1]
    project = next(iter(stage.engine.projects))
    assert last == commands.ListCosts(CostGroup.AGENT, project, 7)


def test_a_line_of_a_task_opens_it_and_the_page_follows_the_runs(stage: Stage) -> None:
    opened(stage)
    task = stage.engine.add_task(next(iter(stage.engine.projects)), "Fix the parser")
    stage.engine.publish(events.TaskChanged(task.card))
    line = CostLine(task.card.id, "Fix the parser", 1, 10, 10, 0, 0, 0.5, 0, 900)
    stage.engine.costs[CostGroup.TASK] = (line,)
    stage.click("costs.group.task")
    stage.until(lambda: [row[0] for row in cells(stage)] == ["Fix the parser"])
    stage.engine.costs[CostGroup.TASK] = (CostLine(*(task.card.id, "Fix the parser", 2, 20, 20, 0, 0, 0.9, 0, 1_800)),)
    stage.engine.publish(events.TaskChanged(task.card))
    stage.until(lambda: cells(stage)[0][-1] == "$0.90")
    table = stage.find("costs.table", QTableView)
    table.setFocus()
    stage.press(Qt.Key.Key_Down)
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: stage.window.places.task_shown == task.card.id)


def test_a_page_with_nothing_says_what_will_be_there_and_what_to_do(stage: Stage) -> None:
    opened(stage, used=False)
    assert stage.text("costs.empty.title") == "Nothing was used in this time"
    stage.click("costs.everything")
    stage.until(lambda: stage.text("costs.empty.title") == "Nothing has been used yet")
    stage.click("costs.budgets")
    assert stage.shown("settings.budgets.save")
    stage.trigger("place.costs")
    stage.settle()
    stage.click("costs.board")
    assert stage.window.places.on_board


def test_what_cannot_be_read_is_said_and_tried_again(stage: Stage) -> None:
    stage.engine.faults[commands.ListCosts] = AgentPaneError(ErrorCode.STORE_LOCKED, "The database is locked.")
    opened(stage, used=False)
    assert "locked" in stage.text("costs.empty.words")
    stage.engine.faults.clear()
    stage.engine.costs = {CostGroup.DAY: DAYS}
    stage.click("costs.again")
    stage.until(lambda: stage.shown("costs.table"))


def test_the_model_of_the_table_is_a_sound_one(stage: Stage) -> None:
    model = CostsModel()
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    for group, lines in ((CostGroup.DAY, DAYS), (CostGroup.AGENT, AGENTS), (CostGroup.RUN, ())):
        model.show_lines(lines, group)
        assert model.rowCount() == len(lines)
    assert tester.model() is model


def test_days_of_unknown_cost_are_compared_by_their_tokens(stage: Stage) -> None:
    line = CostLine(str(TODAY), "", 1, 10_000, 2_000, 0, 0, 0.0, 1, 900)
    bars = DayBars()
    bars.show_lines((line,), TODAY - timedelta(days=6), TODAY)
    assert bars.accessibleName().endswith(": 12.0 k tokens")
    bars.show_lines((), None, TODAY)
    assert bars.accessibleName() == "By day: nothing"
    bars.deleteLater()


def test_a_run_is_told_from_others_of_its_task_and_a_deleted_tasks_cost_keeps_a_name() -> None:
    line = CostLine("k3x9abcdef", "Fix it", 1, 1, 1, 0, 0, 0.0, 0, 1)
    assert cost_words.name_of(line, CostGroup.RUN) == "Fix it  ·  k3x9ab"
    nameless = CostLine("k3x9abcdef", "", 1, 1, 1, 0, 0, 0.0, 0, 1)
    assert cost_words.name_of(nameless, CostGroup.RUN) == "k3x9abcdef"
