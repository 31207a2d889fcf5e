"""Making and changing tasks: the new-task sheet, the panel, the actions that fit each column."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QWidget

from agentpane.api import commands, events
from agentpane.domain.agents import BackendName
from agentpane.domain.board import Column
from agentpane.domain.budgets import Budget, Scope, Spent, Standing
from agentpane.domain.json import JsonObject
from agentpane.domain.keeping import NOT_KNOWN, Going
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Todo, TodoState
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


@pytest.mark.parametrize("start", [False, True])
def test_a_new_card_is_the_current_one_and_has_the_keys(stage: Stage, start: bool) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "Old")
    window = stage.open()
    stage.trigger("task.new")
    stage.sheet("task_sheet")
    stage.write("task_sheet.title", "New")
    box = stage.find("task_sheet.start")
    assert isinstance(box, QCheckBox)
    box.setChecked(start)
    stage.press(Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    view = stage.view(Column.IN_PROGRESS if start else Column.BACKLOG)
    stage.until(lambda: (card := view.current_card()) is not None and card.title == "New")
    assert view.hasFocus()
    taken = window.desk.acts.card()
    assert taken is not None and taken.title == "New"
    assert window.desk.actions["task.plan"].isEnabled() is not start
    assert all(stage.view(other).current_card() is None for other in Column if other is not view.column)


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


def merged(stage: Stage, *titles: str) -> list[str]:
    """Verified cards, the first at the top; their ids."""
    project = stage.engine.add_project()
    made = [stage.engine.add_task(project.id, title).card.id for title in titles]
    for position, task_id in enumerate(made):
        stage.engine.start(task_id, RunStatus.COMPLETED)
        stage.engine.put(task_id, Column.VERIFIED, position)
    return made


def test_an_archived_card_leaves_the_board_and_a_word_puts_it_back(stage: Stage) -> None:
    one, _ = merged(stage, "One", "Two")
    window = stage.open()
    window.desk.acts.open_requested.emit(one)
    stage.click("button.task.archive")
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["Two"])
    stage.until(lambda: not stage.shown("panel"))
    assert stage.find("toast").accessibleName() == "Archived: One"
    stage.click("toast.action")
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["One", "Two"])
    card = stage.view(Column.VERIFIED).current_card()
    assert card is not None and card.id == one


def test_every_verified_card_is_archived_after_a_question_and_each_is_found_again(stage: Stage) -> None:
    merged(stage, "One", "Two", "Three")
    stage.engine.add_task(next(iter(stage.engine.projects)), "Planned")
    stage.open()
    stage.click("archive.verified")
    stage.sheet("confirm_sheet")
    stage.click("confirm_sheet.cancel")
    assert not stage.done(commands.ArchiveTask)
    stage.click("archive.verified")
    stage.sheet("confirm_sheet")
    stage.click("confirm_sheet.act")
    stage.until(lambda: not stage.titles(Column.VERIFIED))
    assert not stage.shown("archive.verified") and stage.view(Column.VERIFIED).hasFocus()
    assert stage.titles(Column.BACKLOG) == ["Planned"]
    stage.trigger("archive.open")
    stage.sheet("palette")
    stage.write("palette.field", "two")
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["Two"])
    stage.click("toast.close")


def test_a_single_verified_card_is_archived_without_a_question(stage: Stage) -> None:
    merged(stage, "One")
    stage.open()
    stage.click("archive.verified")
    stage.until(lambda: not stage.titles(Column.VERIFIED))
    assert not stage.shown("confirm_sheet") and stage.find("toast").accessibleName() == "Archived: One"


def test_what_was_archived_before_one_is_refused_is_said(stage: Stage) -> None:
    one, two, three = merged(stage, "One", "Two", "Three")
    window = stage.open()
    stage.engine.put(two, Column.WAITING_APPROVAL, 0)  # undone from a terminal meanwhile
    window.flows.archiving.archive([one, two, three])
    stage.sheet("error_sheet")
    assert "archive" in stage.text("error_sheet.message")
    assert "Archived: Three" in [each.accessibleName() for each in toasts(stage)]
    assert stage.titles(Column.VERIFIED) == ["One"]


def test_a_card_that_went_meanwhile_keeps_no_other_on_the_board_and_all_come_back_in_order(
    stage: Stage,
) -> None:
    one, two, three, four = merged(stage, "One", "Two", "Three", "Four")
    window = stage.open()
    stage.engine.tasks[two] = replace(
        stage.engine.tasks[two], card=replace(stage.engine.tasks[two].card, archived_at=stage.engine.now())
    )  # in a terminal, and not heard of yet
    window.flows.archiving.archive([one, two, three, four, "gone"])
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["Two"])
    assert not stage.shown("error_sheet")
    asked = [each.task for each in stage.done(commands.ArchiveTask) if isinstance(each, commands.ArchiveTask)]
    assert asked == [four, three, two, one]
    stage.click("toast.action")
    stage.until(lambda: stage.titles(Column.VERIFIED) == ["One", "Two", "Three", "Four"])


def test_a_panel_closes_over_a_card_that_was_archived_while_nothing_was_heard(stage: Stage) -> None:
    one, _ = merged(stage, "One", "Two")
    window = stage.open()
    window.desk.acts.open_requested.emit(one)
    stage.until(lambda: stage.shown("panel"))
    card = stage.engine.tasks[one].card
    stage.engine.tasks[one] = replace(stage.engine.tasks[one], card=replace(card, archived_at=stage.engine.now()))
    window.desk.link.stale.emit()
    stage.until(lambda: not stage.shown("panel"))
    assert stage.titles(Column.VERIFIED) == ["Two"]


def test_an_empty_archive_and_nothing_verified_are_said_in_words(stage: Stage) -> None:
    stage.engine.add_project()
    stage.open()
    stage.trigger("archive.open")
    stage.until(lambda: stage.shown("toast"))
    assert stage.find("toast").accessibleName() == "No card of this project is archived."
    stage.trigger("archive.all")
    stage.until(lambda: "No card is verified." in [each.accessibleName() for each in toasts(stage)])


def toasts(stage: Stage) -> list[QWidget]:
    return stage.window.findChildren(QWidget, "toast")


BUTTONS = (
    "run",
    "plan",
    "edit",
    "delete",
    "archive",
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
        (Column.BACKLOG, None, None, {"run", "plan", "edit", "delete"}),
        (Column.IN_PROGRESS, RunStatus.RUNNING, None, {"pause", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.QUEUED, None, {"message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.PAUSED, PauseReason.PERSON, {"resume", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.PAUSED, PauseReason.TURN_LIMIT, {"resume", "finish", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.ERROR, None, {"resume", "afresh", "finish", "message", "stop"}),
        (Column.IN_PROGRESS, RunStatus.INTERRUPTED, None, {"resume", "afresh", "finish", "message", "stop"}),
        (Column.WAITING_APPROVAL, RunStatus.COMPLETED, None, {"review", "approve", "reject"}),
        (Column.BACKLOG, RunStatus.CANCELLED, None, {"run", "plan", "edit", "archive"}),
        (Column.VERIFIED, RunStatus.COMPLETED, None, {"archive"}),
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
    stage.engine.going[task.card.id] = NOT_KNOWN
    stage.click("button.task.stop")
    told = " ".join(label.text() for label in stage.sheet("confirm_sheet").findChildren(QLabel))
    assert "AgentPane cannot look whether a branch holds its commits" in told and "may go with the worktree" in told
    stage.press(Qt.Key.Key_Escape)
    stage.engine.going[task.card.id] = Going("agentpane/one", 5, ("a.log", "out/", "tmp/"))
    stage.click("button.task.stop")
    sheet = stage.sheet("confirm_sheet")
    told = " ".join(label.text() for label in sheet.findChildren(QLabel))
    assert "Its commits stay on branch agentpane/one; the next run begins another." in told
    assert "What git ignores goes with the worktree: a.log, out/, tmp/ and 2 more." in told
    stage.click("confirm_sheet.act")
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["One"])


def test_the_buttons_of_the_foot_are_whole_however_many_there_are(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    stage.engine.start(task.card.id, RunStatus.ERROR)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.until(lambda: stage.shown("button.task.finish"))
    for name in ("stop", "afresh", "finish", "message", "resume"):
        button = stage.find(f"button.task.{name}")
        stage.until(lambda button=button: button.width() >= button.sizeHint().width())


def test_a_run_that_changed_nothing_says_so_and_can_be_tried_again(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    stage.engine.start(task.card.id, RunStatus.COMPLETED)
    stage.engine.change(task.card.id, code="TASK_NO_DIFF")
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    assert stage.text("task.state") == "Finished without changing anything"
    stage.click("button.task.afresh")
    stage.sheet("confirm_sheet")
    stage.click("confirm_sheet.act")
    stage.until(lambda: [command.afresh for command in stage.done(commands.ResumeRun)] == [True])  # type: ignore[attr-defined]


def test_a_card_with_restored_work_says_that_the_next_run_goes_on_there(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.settle()
    assert not stage.shown("task.restored")
    stage.engine.change(task.card.id, whole={"worktree": "/w/one", "branch": "agentpane/one"})
    stage.until(lambda: stage.shown("task.restored"))
    assert "goes on from there" in stage.text("task.restored")


def test_a_worktree_is_set_back_to_what_a_turn_left_unless_an_agent_works_there(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "One")
    stage.engine.start(task.card.id)
    told: JsonObject = {"turn": 1, "sha": "c" * 40, "files": 2, "added": 5, "removed": 1, "left_out": []}
    stage.engine.say(task.card.id, EventKind.SNAPSHOT, told)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.until(lambda: stage.shown("note.set_back"))
    assert stage.text("note.set_back") == "Set the worktree back to Turn 1: 2 files, +5 −1"
    stage.click("note.set_back")
    stage.until(lambda: stage.shown("toast"))
    assert stage.text("toast").startswith("Pause the run first")
    stage.engine.start(task.card.id, RunStatus.PAUSED, pause_reason=PauseReason.PERSON)
    stage.settle()
    stage.click("note.set_back")
    stage.sheet("confirm_sheet")
    stage.click("confirm_sheet.act")
    stage.until(lambda: stage.done(commands.ResetWorktree) == [commands.ResetWorktree(task.card.id, "c" * 40)])


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


def test_a_run_begins_with_a_plan_when_asked_unless_the_agent_cannot_make_one(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Think first")
    window = stage.open()
    window.board.select(task.card.id)
    stage.trigger("palette")
    stage.sheet("palette")
    stage.write("palette.field", "with a plan")
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: stage.done(commands.StartRun))
    (sent,) = stage.done(commands.StartRun)
    assert isinstance(sent, commands.StartRun) and (sent.task, sent.plan) == (task.card.id, True)
    other = stage.engine.add_task(project.id, "Format it")
    agent = stage.engine.agents[other.card.agent_id or ""]
    stage.engine.agents[agent.id] = replace(agent, backend=BackendName.COMMAND, model="")
    stage.engine.publish(events.AgentChanged(stage.engine.agents[agent.id]))
    stage.engine.change(other.card.id)
    stage.until(lambda: "Format it" in stage.titles(Column.BACKLOG))
    window.board.select(other.card.id)
    stage.settle()
    assert window.desk.actions["task.run"].isEnabled()
    assert not window.desk.actions["task.plan"].isEnabled()
    stage.trigger("task.edit")
    stage.sheet("task_sheet")
    box = stage.find("task_sheet.agent")
    assert isinstance(box, QComboBox) and box.currentText() == agent.name  # a shell command has no model


def test_the_panel_shows_the_agents_list_its_run_and_what_it_may_use(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "At work")
    stage.engine.start(task.card.id)
    stage.engine.standings = (
        Standing(Scope.TASK, Budget(usd=5.0), Spent(usd=4.1)),
        Standing(Scope.DAY, Budget(tokens=100_000), Spent(tokens=100_000)),
    )
    run = replace(
        stage.engine.tasks[task.card.id].runs[-1], turns=3, input_tokens=24_000, output_tokens=900, cost_usd=0.42,
        context_used=84_000, context_window=200_000,
    )  # fmt: skip
    todos = (Todo("Read it", TodoState.COMPLETED), Todo("Mend it", TodoState.IN_PROGRESS))
    stage.engine.change(task.card.id, todos=todos, whole={"runs": (run,)})
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    assert not stage.shown("task.checklist")
    assert window.places.panel is not None
    window.places.panel.tabs.choose("description")
    stage.until(lambda: stage.shown("task.checklist") and stage.shown("task.budgets"))
    assert stage.text("task.checklist") == "The agent's list, 1 of 2 done"
    said = names(stage, "task.checklist") + names(stage, "task.run") + names(stage, "task.budgets")
    for words in (
        "Read it, done", "Mend it, in progress", "Turns: 3 of 50", "Tokens: 24.0 k read, 900 written",
        "Context: 42 % of 200.0 k in use", "Cost: $0.42", "Sandbox: Tier A, bubblewrap",
        "This task, $4.10 of $5.00, nearly used up", "Today, all projects, 100.0 k of 100.0 k tokens, used up",
    ):  # fmt: skip
        assert words in said, words
    stage.engine.change(task.card.id, todos=(*todos[:1], Todo("Mend it", TodoState.COMPLETED)))
    stage.until(lambda: stage.text("task.checklist") == "The agent's list, 2 of 2 done")


def names(stage: Stage, box: str) -> list[str]:
    return [widget.accessibleName() for widget in stage.find(box).findChildren(QWidget)]
