"""A window over an engine in memory, on Qt's loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPointF, Qt
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from qasync import QEventLoop

from agentpane.domain.board import Column
from agentpane.ui.board.column_view import ColumnView
from agentpane.ui.cards.board_model import CARD_MIME
from agentpane.ui.look.theme import Look
from agentpane.ui.parts.sheet import Sheet, open_sheet
from agentpane.ui.session.session_blocks import CallBlock
from agentpane.ui.window import MainWindow
from tests.ui.memory_bench import connect
from tests.ui.memory_engine import MemoryEngine

PATIENCE_S = 40.0


class Stage:
    """What a test acts on: the engine in memory, one window, and time that passes while something is waited for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: MemoryEngine) -> None:
        self.loop = loop
        self.engine = engine
        self.window = MainWindow(loop, partial(connect, engine))

    def open(self, width: int = 1600, height: int = 1000) -> MainWindow:
        """Show the window and wait until it has read the board."""
        self.window.resize(width, height)
        self.window.show()
        self.window.start()
        self.until(lambda: self.window.desk.known.ready)
        return self.window

    def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until `condition` holds."""
        self.loop.run_until_complete(self._until(condition))

    def settle(self) -> None:
        """Let everything that is due now happen."""
        self.loop.run_until_complete(self._turns(5))

    def close(self) -> None:
        self.loop.run_until_complete(self.window.stop())
        self.window.hide()
        self.window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def find(self, name: str, kind: type[QWidget] = QWidget) -> QWidget:
        """The shown widget of this object name."""
        found = [widget for widget in self.window.findChildren(kind, name) if widget.isVisible()]
        assert found, f"{name} is not shown"
        return found[-1]

    def shown(self, name: str) -> bool:
        return any(widget.isVisible() for widget in self.window.findChildren(QWidget, name))

    def text(self, name: str) -> str:
        """What a shown widget says."""
        return self.find(name).accessibleName()

    def click(self, name: str) -> None:
        QTest.mouseClick(self.find(name), Qt.MouseButton.LeftButton)

    def write(self, name: str, text: str) -> None:
        widget = self.find(name)
        widget.setFocus()
        QTest.keyClicks(widget, text)

    def press(self, key: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """Press a key where the focus is."""
        QTest.keyClick(QApplication.focusWidget() or self.window, key, modifiers)

    def trigger(self, action: str) -> None:
        assert self.window.desk.actions[action].isEnabled(), action
        self.window.desk.actions[action].trigger()

    def sheet(self, name: str) -> Sheet:
        """Wait for a sheet of this name."""
        self.until(lambda: (sheet := open_sheet(self.window)) is not None and sheet.objectName() == name)
        found = open_sheet(self.window)
        assert found is not None
        return found

    def view(self, column: Column) -> ColumnView:
        return self.window.board.view(column)

    def titles(self, column: Column) -> list[str]:
        return [card.title for card in self.view(column).shown()]

    def done(self, kind: type) -> list[object]:
        return [command for command in self.engine.done if isinstance(command, kind)]

    async def _until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "what was waited for did not happen"
            await asyncio.sleep(0.002)

    async def _turns(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0.005)


class Drag:
    """A card in the mouse's hand, as real drag events on the views."""

    def __init__(self, task_id: str) -> None:
        self.mime = QMimeData()
        self.mime.setData(CARD_MIME, task_id.encode())

    def enter(self, view: QWidget, at: QPointF) -> bool:
        event = QDragEnterEvent(at.toPoint(), Qt.DropAction.MoveAction, self.mime, *BUTTONS)
        QApplication.sendEvent(target(view), event)
        return event.isAccepted()

    def move(self, view: QWidget, at: QPointF) -> bool:
        event = QDragMoveEvent(at.toPoint(), Qt.DropAction.MoveAction, self.mime, *BUTTONS)
        QApplication.sendEvent(target(view), event)
        return event.isAccepted()

    def leave(self, view: QWidget) -> None:
        QApplication.sendEvent(target(view), QDragLeaveEvent())

    def drop(self, view: QWidget, at: QPointF) -> bool:
        event = QDropEvent(at, Qt.DropAction.MoveAction, self.mime, *BUTTONS)
        QApplication.sendEvent(target(view), event)
        return event.isAccepted()

    def onto(self, view: QWidget, at: QPointF) -> bool:
        """Enter, move and, where it may land, drop. False: the view refused."""
        self.enter(view, at)
        if not self.move(view, at):
            self.leave(view)
            return False
        return self.drop(view, at)


BUTTONS = (Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)


def target(view: QWidget) -> QWidget:
    return view.viewport() if isinstance(view, ColumnView) else view


def calls(stage: Stage) -> list[CallBlock]:
    """The shown tool calls of a session."""
    return [call for call in stage.window.findChildren(CallBlock) if call.isVisible()]


@pytest.fixture
def loop(qapp: QApplication) -> Iterator[QEventLoop]:
    qapp.setQuitOnLastWindowClosed(False)
    loop = QEventLoop(qapp)
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
def stage(loop: QEventLoop, engine: MemoryEngine) -> Iterator[Stage]:
    Look.current().choose("dark")
    Look.current().apply()
    stage = Stage(loop, engine)
    yield stage
    stage.close()


@pytest.fixture
def running(stage: Stage) -> str:
    """A task that runs, opened in the panel."""
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "At work")
    stage.engine.start(task.card.id)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.settle()
    return task.card.id


@pytest.fixture(autouse=True)
def collected(garbage_on_this_thread: None) -> None:
    """The windows of a test are gone, on this thread, when it ends."""
