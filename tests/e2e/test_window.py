"""The main job as a person does it: the real window, real drag events, and an engine in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from agentpane.domain.board import Column
from agentpane.domain.runs import RunStatus
from agentpane.ui.desk.link import LinkState
from agentpane.ui.review.diff_view import DiffView
from tests.backends.wire import ScriptedServer, say, use
from tests.e2e.driver import Person, Room, at_the_window, stop_engine
from tests.orchestrator.conftest import git, make_repository

TITLE = "Greet the world"
WRITE = [say("I write the greeting."), use("Write", file_path="greeting.txt", content="hello\n")]
READ = [use("Read", file_path="greeting.txt")]
BETTER = [use("Edit", file_path="greeting.txt", old_string="hello", new_string="hello, world")]
DONE = [say("All done.")]


@pytest.fixture(autouse=True)
def engine_ends() -> Iterator[None]:
    yield
    stop_engine()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "greeter")


def point_at(server: ScriptedServer, patch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        patch.setenv(name, value)


async def new_card(person: Person, repository: Path) -> None:
    person.drop_folder(repository)
    await person.until(
        lambda: (current := person.window.desk.known.current) is not None and current.path == str(repository),
        "the new project",
    )
    person.window.desk.actions["task.new"].trigger()
    await person.write("task_sheet.title", TITLE)
    await person.click("task_sheet.create")
    await person.see_card(Column.BACKLOG, TITLE)


async def open_review(person: Person) -> None:
    card = await person.see_card(Column.WAITING_APPROVAL, TITLE)
    assert not person.drag(card, Column.IN_PROGRESS)  # refused while dragging: reject does that, with a reason
    person.drag(card, Column.VERIFIED)
    diff = await person.see(DiffView, "diff")
    await person.until(lambda: diff.isVisible() and diff.row_count > 0, "the diff's lines")


def test_from_a_dropped_folder_to_a_merge_commit(
    qapp: QApplication, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([WRITE, DONE]) as server:
        point_at(server, monkeypatch)

        async def story(room: Room) -> None:
            person = await room.sit_down()
            await new_card(person, repository)
            card = await person.see_card(Column.BACKLOG, TITLE)
            assert not person.drag(card, Column.VERIFIED)
            assert person.drag(card, Column.IN_PROGRESS)
            person.window.desk.acts.open_requested.emit(card.id)
            await person.click("tabs.session")
            session = await person.see(QWidget, "session")
            await person.until(lambda: "I write the greeting." in all_text(session), "the agent's words")
            await open_review(person)
            await person.click("review.approve")
            verified = await person.see_card(Column.VERIFIED, TITLE)
            assert verified.files_changed == 1

        at_the_window(qapp, story)
    assert (repository / "greeting.txt").read_text() == "hello\n"
    assert len(git(repository, "rev-list", "--parents", "-n1", "main").split()) == 3
    assert git(repository, "status", "--porcelain") == ""


def test_a_rejection_brings_a_second_diff(
    qapp: QApplication, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([WRITE, DONE, READ, BETTER, DONE]) as server:
        point_at(server, monkeypatch)

        async def story(room: Room) -> None:
            person = await room.sit_down()
            await new_card(person, repository)
            person.drag(await person.see_card(Column.BACKLOG, TITLE), Column.IN_PROGRESS)
            await open_review(person)
            await person.click("review.reject")
            await person.write("reject_sheet.reason", "Greet the whole world")
            await person.click("reject_sheet.act")
            await person.until(
                lambda: (card := person.card(Column.WAITING_APPROVAL, TITLE)) is not None and card.rejection_count == 1,
                "the second diff",
            )
            await open_review(person)
            await person.click("review.approve")
            await person.see_card(Column.VERIFIED, TITLE)

        at_the_window(qapp, story)
        assert "Greet the whole world" in str(server.requests[2].messages)
    assert (repository / "greeting.txt").read_text() == "hello, world\n"


def test_the_window_survives_the_engines_death_and_shows_the_run_as_interrupted(
    qapp: QApplication, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = [use("Bash", command="sleep 60")]
    with ScriptedServer([slow, DONE]) as server:
        point_at(server, monkeypatch)

        async def story(room: Room) -> None:
            person = await room.sit_down()
            await new_card(person, repository)
            person.drag(await person.see_card(Column.BACKLOG, TITLE), Column.IN_PROGRESS)
            await person.until(
                lambda: (
                    (card := person.card(Column.IN_PROGRESS, TITLE)) is not None
                    and card.run is not None
                    and card.run.turns == 1
                ),
                "the first turn",
            )
            states: list[LinkState] = []
            person.window.desk.link.changed.connect(states.append)
            os.kill(engine_pid(), signal.SIGKILL)
            await person.until(
                lambda: (
                    (card := person.card(Column.IN_PROGRESS, TITLE)) is not None
                    and card.run is not None
                    and card.run.status is RunStatus.INTERRUPTED
                ),
                "the interrupted run",
            )
            assert states[0] is not LinkState.READY and states[-1] is LinkState.READY

        at_the_window(qapp, story)


def test_two_windows_and_a_command_see_the_same_board(
    qapp: QApplication, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([WRITE, DONE]) as server:
        point_at(server, monkeypatch)

        async def story(room: Room) -> None:
            first, second = await room.sit_down(), await room.sit_down()
            await new_card(first, repository)
            project = first.window.desk.known.current
            assert project is not None
            second.window.desk.acts.show_project(project.id)
            await second.see_card(Column.BACKLOG, TITLE)
            listed = await asyncio.to_thread(command, "task", "list", project.id)
            assert [task["title"] for task in listed] == [TITLE]
            second.drag(await second.see_card(Column.BACKLOG, TITLE), Column.IN_PROGRESS)
            await first.see_card(Column.WAITING_APPROVAL, TITLE)
            await room.stand_up(first)
            await second.see_card(Column.WAITING_APPROVAL, TITLE)

        at_the_window(qapp, story)


def test_the_first_start_shows_the_sample_project_and_says_that_its_replies_are_recorded(qapp: QApplication) -> None:
    async def story(room: Room) -> None:
        person = await room.sit_down()
        await person.until(lambda: len(person.column(Column.BACKLOG).shown()) >= 4, "the sample's cards")
        recorded = await person.see(QWidget, "board.recorded")
        assert recorded.isVisible()
        title = person.column(Column.BACKLOG).shown()[0].title
        view = person.column(Column.BACKLOG)
        view.setFocus()
        view.select_row(0)
        QTest.keyClick(view, Qt.Key.Key_Space)
        QTest.keyClick(view, Qt.Key.Key_Right)
        QTest.keyClick(view, Qt.Key.Key_Space)
        await person.see_card(Column.WAITING_APPROVAL, title)

    at_the_window(qapp, story)


def all_text(widget: QWidget) -> str:
    """Every text that a widget and what lies in it show."""
    texts = []
    for child in widget.findChildren(QWidget):
        for reader in ("text", "toPlainText"):
            read = getattr(child, reader, None)
            if callable(read) and child.isVisible():
                texts.append(str(read()))
    return "\n".join(texts)


def engine_pid() -> int:
    status = command("engine", "status")
    assert isinstance(status["pid"], int)
    return status["pid"]


def command(*arguments: str) -> dict[str, object] | list[dict[str, object]]:
    run = [sys.executable, "-m", "agentpane", *arguments, "--json"]
    done = subprocess.run(run, capture_output=True, check=True)
    found = json.loads(done.stdout)
    return found if isinstance(found, list) else found.get("tasks", found)
