"""The window as a whole: its first start, its engine's death and return, its projects, its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QFileDialog

from agentpane.api import commands, events
from agentpane.domain.board import Column
from agentpane.domain.engine import KeySource, KeyStatus
from agentpane.domain.runs import RunStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.desk.link import LinkState
from agentpane.ui.parts.initials import initials
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.rail import ProjectRow
from tests.ui.conftest import BUTTONS, Stage

# What the offscreen platform cannot do, a real one can.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


def text_of(stage: Stage, name: str) -> str:
    return stage.find(name).accessibleName()


def test_the_window_is_there_before_the_engine_and_says_what_it_waits_for(stage: Stage) -> None:
    stage.engine.running = False
    stage.window.show()
    assert text_of(stage, "connecting.title") == "Starting the engine"
    stage.window.start()
    stage.until(lambda: text_of(stage, "connecting.title") == "The engine does not answer")
    assert text_of(stage, "connecting.words") == "No engine is running."
    stage.engine.add_project("ledger")
    stage.engine.come_back()
    stage.click("connecting.again")
    stage.until(lambda: stage.window.desk.known.ready)
    assert text_of(stage, "board.title") == "ledger"


def test_a_first_start_has_the_sample_project_and_says_that_replies_are_recorded(stage: Stage) -> None:
    stage.open()
    assert stage.done(commands.PrepareDemo)
    assert stage.titles(Column.BACKLOG) == ["Fix the failing test"]
    assert "no model is called" in text_of(stage, "banner.recorded.text")
    assert text_of(stage, "board.recorded") == "Recorded replies"
    stage.until(lambda: "On this machine" in text_of(stage, "banner.start.agents"))
    said = text_of(stage, "banner.start.agents")
    assert said == "On this machine: Messages API with your key, Claude Code 2.1.0. Not found: Codex."
    stage.click("banner.start.close")
    assert not stage.window.strips.start.isVisible()


def test_a_machine_that_cannot_be_looked_at_stops_no_first_start(stage: Stage) -> None:
    stage.engine.faults[commands.DetectBackends] = AgentPaneError(ErrorCode.INTERNAL, "No.")
    stage.open()
    stage.until(lambda: "in the settings" in text_of(stage, "banner.start.agents"))
    assert open_sheet(stage.window) is None


def test_a_key_given_at_the_first_start_is_handed_to_the_engine_and_asked_for_no_more(stage: Stage) -> None:
    stage.open()
    stage.click("banner.start.key")
    stage.sheet("key_sheet")
    stage.write("key_sheet.key", "sk-ant-secret")
    stage.press(Qt.Key.Key_Return)
    stage.until(lambda: stage.engine.stored_keys == ["sk-ant-secret"])
    stage.until(lambda: stage.window.desk.known.key.source is KeySource.KEYRING)
    assert not stage.shown("banner.start.key")


def test_a_dropped_folder_becomes_a_project_and_is_shown(stage: Stage, tmp_path: Path) -> None:
    stage.engine.add_project("ledger")
    window = stage.open()
    folder = tmp_path / "storefront"
    folder.mkdir()
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(folder))])
    at = QPointF(700, 500)
    enter = QDragEnterEvent(at.toPoint(), Qt.DropAction.CopyAction, mime, *BUTTONS)
    QApplication.sendEvent(window, enter)
    assert enter.isAccepted()
    assert stage.find("drop_veil").isVisible()
    QApplication.sendEvent(window, QDropEvent(at, Qt.DropAction.CopyAction, mime, *BUTTONS))
    stage.until(lambda: text_of(stage, "board.title") == "storefront")
    assert [command.path for command in stage.done(commands.AddProject)] == [str(folder)]  # type: ignore[attr-defined]


def test_a_chosen_folder_that_is_no_repository_is_refused_with_its_code_and_hint(stage: Stage, tmp_path: Path) -> None:
    stage.engine.add_project("ledger")
    window = stage.open()
    stage.trigger("project.add")
    dialog = window.findChild(QFileDialog)
    assert dialog is not None
    dialog.fileSelected.emit(str(tmp_path / "no-repo"))
    dialog.close()
    stage.sheet("error_sheet")
    assert text_of(stage, "error_sheet.code") == "PROJECT_NOT_A_GIT_REPO"
    assert "git init" in text_of(stage, "error_sheet.hint")
    stage.click("error_sheet.ok")
    assert list(stage.engine.projects) == list(window.desk.known.projects)


def test_the_rail_changes_the_shown_project_and_shows_what_happens_in_each(stage: Stage) -> None:
    first, second = stage.engine.add_project("ledger"), stage.engine.add_project("storefront")
    task = stage.engine.add_task(second.id, "Over there")
    stage.open()
    stage.click(f"project.{second.id}")
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["Over there"])
    stage.engine.start(task.card.id)
    stage.until(lambda: text_of(stage, f"project.{second.id}") == "storefront, 1 running")
    assert text_of(stage, f"project.{first.id}") == "ledger"


def test_projects_stand_by_name_whenever_they_came_and_keep_apart_where_there_is_no_room(stage: Stage) -> None:
    for name in ("shop", "backend"):
        stage.engine.add_project(name)
    window = stage.open(width=1000)
    added = stage.engine.add_project("Backup")
    stage.engine.count(added.id)
    stage.until(lambda: added.id in window.desk.known.projects)
    stage.until(lambda: len(window.rail.findChildren(ProjectRow)) == 3)
    in_rail = sorted(window.rail.findChildren(ProjectRow), key=lambda row: row.y())
    assert [row.accessibleName() for row in in_rail] == ["backend", "Backup", "shop"]
    assert [row.initials for row in in_rail] == ["BE", "BU", "S"]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["one"], ["O"]),
        (["web", "api"], ["W", "A"]),
        (["shop-api", "shop-web", "notes"], ["SA", "SW", "N"]),
        (["same", "same"], ["SA", "SA"]),
        (["a", "ab"], ["A", "AB"]),
        (["", "日本", "日記"], ["", "日本", "日記"]),
    ],
)
def test_names_that_begin_alike_get_a_letter_that_tells_them_apart(names: list[str], short: list[str]) -> None:
    assert initials(names) == short


def test_an_engine_that_dies_is_reported_and_its_return_is_caught_up_with(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Running on")
    stage.engine.start(task.card.id)
    window = stage.open()
    window.board.select(task.card.id)
    stage.engine.die()
    stage.until(lambda: window.desk.link.state is LinkState.LOST)
    assert "being started again" in text_of(stage, "banner.engine.text")
    assert stage.titles(Column.IN_PROGRESS) == ["Running on"]  # what is known stays in view
    stage.engine.change(task.card.id, run=None)
    stage.engine.add_task(project.id, "Meanwhile")
    stage.engine.come_back()
    stage.until(lambda: window.desk.link.state is LinkState.READY)
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["Meanwhile"])
    assert not window.strips.engine.isVisible()
    current = stage.view(Column.IN_PROGRESS).current_card()
    assert current is not None and current.id == task.card.id


def test_an_engine_that_refuses_the_window_is_quoted(stage: Stage) -> None:
    stage.engine.running = False

    async def refuse() -> None:
        raise AgentPaneError(ErrorCode.ENGINE_VERSION, "The engine is of another version and busy.", "Stop it first.")

    stage.window.desk.link._connect = refuse  # type: ignore[assignment]
    stage.window.show()
    stage.window.start()
    stage.until(lambda: text_of(stage, "connecting.words") == "The engine is of another version and busy.")
    assert stage.window.desk.link.state is LinkState.REFUSED


def test_missed_events_are_made_up_for_by_reading_anew(stage: Stage) -> None:
    project = stage.engine.add_project()
    window = stage.open()
    stage.engine.add_task(project.id, "Never announced")
    stage.engine.clients[0].queue.put_nowait(events.CatchUp(99))
    stage.until(lambda: stage.titles(Column.BACKLOG) == ["Never announced"])
    assert window.desk.known.ready


def test_a_second_start_brings_the_window_to_the_front(stage: Stage) -> None:
    stage.engine.add_project()
    window = stage.open()
    window.showMinimized()
    stage.engine.publish(events.WindowRaised())
    stage.until(lambda: not window.isMinimized())


def test_a_command_while_the_engine_is_gone_waits_for_its_return(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Soon")
    window = stage.open()
    stage.engine.die()
    stage.until(lambda: window.desk.link.state is LinkState.LOST)
    window.desk.acts.run(task.card.id)
    stage.engine.come_back()
    stage.until(lambda: stage.titles(Column.IN_PROGRESS) == ["Soon"])


def test_finished_work_is_announced_with_a_way_to_its_review(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Half done")
    stage.engine.start(task.card.id)
    window = stage.open()
    stage.engine.finish(task.card.id, b"", ())
    stage.until(lambda: stage.titles(Column.WAITING_APPROVAL) == ["Half done"])
    assert text_of(stage, "toast") == "Ready for review: Half done"
    stage.click("toast.action")
    assert window.places.task_shown == task.card.id


@pytest.mark.parametrize(
    ("answer", "told"), [("keep", None), ("pause", commands.PauseRun), ("stop", commands.CancelTask)]
)
def test_closing_while_agents_work_asks_what_becomes_of_them(stage: Stage, answer: str, told: type | None) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "At work")
    stage.engine.start(task.card.id)
    window = stage.open()
    closed: list[None] = []
    window.closed.connect(lambda: closed.append(None))
    window.close()
    assert window.isVisible() and not closed
    stage.sheet("close_sheet")
    stage.click(f"close_sheet.{answer}")
    stage.until(lambda: closed)
    ends = stage.done(commands.PauseRun) + stage.done(commands.CancelTask)
    assert [type(command) for command in ends] == ([told] if told else [])


def test_closing_without_runs_closes_at_once_and_leaves_no_job(stage: Stage) -> None:
    stage.engine.add_project()
    window = stage.open()
    closed: list[None] = []
    window.closed.connect(lambda: closed.append(None))
    window.close()
    assert closed
    stage.loop.run_until_complete(window.stop())
    assert not window.jobs._running


def test_what_is_our_own_mistake_offers_a_report_to_copy(stage: Stage) -> None:
    stage.engine.add_project()
    window = stage.open()

    async def stumble() -> None:
        raise RuntimeError("a bug of ours")

    window.jobs.start(stumble(), "Stumbling")
    stage.sheet("error_sheet")
    assert text_of(stage, "error_sheet.code") == "INTERNAL"
    stage.click("error_sheet.copy")
    assert "a bug of ours" in QApplication.clipboard().text()


def test_a_repositorys_own_configuration_waits_for_trust_in_sight(stage: Stage) -> None:
    stage.engine.add_project("ledger", trusted=False, trust_pending=("init script: ./prepare",), trust_digest="d1")
    window = stage.open()
    assert "init script: ./prepare" in text_of(stage, "banner.trust.text")
    stage.click("banner.trust.act")
    stage.until(lambda: stage.done(commands.TrustProject))
    assert stage.done(commands.TrustProject)[0].digest == "d1"  # type: ignore[attr-defined]
    stage.until(lambda: not window.strips.trust.isVisible())


def test_the_palette_finds_a_card_by_its_words(stage: Stage) -> None:
    project = stage.engine.add_project()
    stage.engine.add_task(project.id, "Polish the chrome")
    window = stage.open()
    stage.trigger("palette")
    stage.write("palette.field", "chrome")
    stage.press(Qt.Key.Key_Return)
    assert window.places.task_shown == window.desk.known.board.cards()[0].id


def test_keys_are_listed_and_escape_closes_the_list(stage: Stage) -> None:
    stage.engine.add_project()
    stage.open()
    stage.trigger("keys")
    sheet = stage.sheet("keys_sheet")
    stage.press(Qt.Key.Key_Escape)
    assert not sheet.isVisible()


def test_a_key_from_the_environment_is_not_asked_for(stage: Stage) -> None:
    stage.engine.key = KeyStatus(KeySource.ENVIRONMENT, "")
    stage.open()
    assert not stage.shown("banner.start.key")


def test_a_retry_counts_down_on_the_card_and_in_the_panel(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Unlucky")
    stage.engine.start(task.card.id, RunStatus.RUNNING)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.engine.publish(events.RunActivity(task.card.id, "Overloaded. Try 2 of 10.", 9.0))
    stage.until(lambda: text_of(stage, "task.state").startswith("Next try in"))
    first = text_of(stage, "task.state")
    stage.until(lambda: text_of(stage, "task.state") not in {first, ""})
    assert text_of(stage, "task.state").startswith("Next try in")


def test_toasts_are_few_go_when_pressed_away_and_do_not_repeat_themselves(stage: Stage) -> None:
    stage.engine.add_project()
    window = stage.open()
    for words in ("one", "two", "three", "four", "four"):
        window.desk.toasts.say(words)
    stage.settle()
    assert [toast.accessibleName() for toast in window.desk.toasts._shown] == ["two", "three", "four"]
    stage.click("toast.close")
    stage.settle()
    window.desk.toasts.say("five")
    assert len(window.desk.toasts._shown) == 3
    window.resize(1300, 900)
    window.desk.toasts.clear()
    stage.settle()
    assert not stage.shown("toast")
