"""Making and changing tasks: the new-task sheet, the panel, the actions that fit each column."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox

from agentpane.api import commands
from agentpane.domain.board import Column
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.errors import AgentPaneError, ErrorCode
from tests.ui.conftest import Stage


def test_a_new_task_is_made_with_all_its_fields(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.open()
    stage.trigger("task.new")
    stage.sheet("task_sheet")
    stage.write("task_sheet.title", "Fix the parser")
    stage.write("task_sheet.description", "It fails on tabs.")
    stage.write("task_sheet.labels", "bug, cli,bug")
    stage.click("task_sheet.create")
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["Fix the parser"])
    (command,) = stage.done(commands.AddTask)
    assert isinstance(command, commands.AddTask)
    assert (command.project, command.title, command.description) == (project.id, "Fix the parser", "It fails on tabs.")
    assert command.labels == ("bug", "cli")
    assert command.start is False
    assert command.agent in stage.engine.agents


def test_start_now_starts_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    stage.engine.add_project()
    stage.open()
    stage.click("new.in_progress")
    stage.sheet("task_sheet")
    start = stage.find("task_sheet.start")
    assert isinstance(start, QCheckBox) and start.isChecked()
    stage.write("task_sheet.title", "At once")
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: stage.titles(Column.IN_PROGRESS) == ["At once"])
    (command,) = stage.done(commands.AddTask)
    assert isinstance(command, commands.AddTask)
    assert command.environment["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("title", "words"), [("", "The title is empty."), ("x" * 201, "The title has 201 characters; at most 200 fit.")]
)
def test_a_title_that_cannot_be_is_said_where_it_was_typed(stage: Stage, title: str, words: str) -> None:
    stage.engine.add_project()
    stage.open()
    stage.trigger("task.new")
    stage.sheet("task_sheet")
    stage.write("task_sheet.title", title)
    stage.click("task_sheet.create")
    assert stage.text("task_sheet.fault") == words
    assert not stage.done(commands.AddTask)
    stage.click("task_sheet.cancel")
    assert not stage.shown("task_sheet")


def test_editing_shows_what_is_there_and_stores_the_change(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Old title", description="As it was", labels=("a",))
    window = stage.open()
    window.desk.acts.take(task.card.id)
    stage.trigger("task.edit")
    stage.sheet("task_sheet")
    title = stage.find("task_sheet.title")
    title.selectAll()  # type: ignore[attr-defined]
    stage.write("task_sheet.title", "New title")
    stage.click("task_sheet.create")
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["New title"])
    assert stage.engine.tasks[task.card.id].description == "As it was"


def test_deleting_asks_first(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Gone soon")
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.click("button.task.delete")
    stage.sheet("confirm_sheet")
    stage.click("confirm_sheet.act")
    stage.until(lambda: not stage.titles(Column.BACKLOG))
    stage.until(lambda: not stage.shown("panel"))


BUTTONS = (
    "run",
    "edit",
    "delete",
    "pause",
    "resume",
    "afresh",
    "finish",
    "message",
    "stop",
    "review",
    "approve",
    "reject",
)


@pytest.mark.parametrize(
    ("column", "status", "reason", "wanted"),
    [
        (Column.BACKLOG, None, None, {"run", "edit", "delete"}),
        (Column.IN_PROGRESS, RunStatus.RUNNING, None, {"pause", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.QUEUED, None, {"message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.PAUSED, PauseReason.PERSON, {"resume", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.PAUSED, PauseReason.TURN_LIMIT, {"resume", "finish", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.ERROR, None, {"resume", "afresh", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.INTERRUPTED, None, {"resume", "afresh", "message", "stop"}),
        (Column.WAITING_APPROVAL, RunStatus.COMPLETED, None, {"review", "approve", "reject"}),
        (Column.VERIFIED, RunStatus.COMPLETED, None, set()),
    ],
)
def test_the_panel_offers_exactly_what_applies(
    stage: Stage, column: Column, status: RunStatus | None, reason: PauseReason | None, wanted: set[str]
) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    if status is not None:
        stage.engine.start(task.card.id, status, pause_reason=reason)
        stage.engine.put(task.card.id, column, 0)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    assert {name for name in BUTTONS if stage.shown(f"button.task.{name}")} == wanted


def test_pausing_resuming_and_stopping_reach_the_engine(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    stage.engine.start(task.card.id)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.click("button.task.pause")
    stage.until(lambda: stage.shown("button.task.resume"))
    stage.click("button.task.resume")
    stage.until(lambda: stage.shown("button.task.pause"))
    stage.click("button.task.stop")
    stage.sheet("confirm_sheet")
    stage.click("confirm_sheet.act")
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["One"])


def test_a_run_that_changed_nothing_says_so_and_can_be_tried_again(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    stage.engine.start(task.card.id, RunStatus.COMPLETED)
    stage.engine.change(task.card.id, code="TASK_NO_DIFF")
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    assert stage.text("task.state") == "Finished without changing anything"
    assert stage.shown("button.task.afresh")


def test_what_the_engine_refuses_is_said_and_nothing_moves(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    stage.engine.faults[commands.StartRun] = AgentPaneError(
        ErrorCode.QUEUE_FULL, "Fifty runs wait already.", "Wait for one to start."
    )
    window = stage.open()
    window.desk.acts.take(task.card.id)
    stage.trigger("task.run")
    stage.sheet("error_sheet")
    assert stage.text("error_sheet.message") == "Fifty runs wait already."
    assert stage.text("error_sheet.code") == "QUEUE_FULL"
    assert stage.titles(Column.BACKLOG) == ["One"]
