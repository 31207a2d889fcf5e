"""A person at the real window: looks, clicks, types and drags, with an engine that is a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLineEdit, QPlainTextEdit, QWidget
from qasync import QEventLoop

from agentpane.api.launcher import connect_or_start
from agentpane.domain.board import Column
from agentpane.domain.tasks import TaskCard
from agentpane.paths import data_folder
from agentpane.ui.board.column_view import ColumnView
from agentpane.ui.look.theme import Look
from agentpane.ui.window import MainWindow

BOUND = 60.0
W = TypeVar("W", bound=QWidget)


class Person:
    """Sits at one window."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something to be seen; fails after BOUND seconds."""
        deadline = asyncio.get_running_loop().time() + BOUND
        while not condition():
            if asyncio.get_running_loop().time() > deadline:
                picture = Path(tempfile.gettempdir()) / "agentpane-not-seen.png"
                self.window.grab().save(str(picture))
                raise AssertionError(f"not seen: {what} (the window is in {picture})")
            await asyncio.sleep(0.03)

    def find(self, kind: type[W], name: str) -> W | None:
        """The visible widget of that name, if there is one."""
        return next((found for found in self.window.findChildren(kind, name) if found.isVisible()), None)

    async def see(self, kind: type[W], name: str) -> W:
        await self.until(lambda: self.find(kind, name) is not None, name)
        found = self.find(kind, name)
        assert found is not None
        return found

    async def click(self, name: str) -> None:
        button = await self.see(QAbstractButton, name)
        await self.until(button.isEnabled, f"{name} enabled")
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    async def write(self, name: str, text: str) -> None:
        field = await self.see(QWidget, name)
        assert isinstance(field, QLineEdit | QPlainTextEdit)
        field.setFocus()
        QTest.keyClicks(field, text)

    def column(self, column: Column) -> ColumnView:
        found = self.window.findChild(ColumnView, f"cards.{column.value}")
        assert isinstance(found, ColumnView)
        return found

    def card(self, column: Column, title: str) -> TaskCard | None:
        return next((card for card in self.column(column).shown() if card.title == title), None)

    async def see_card(self, column: Column, title: str) -> TaskCard:
        await self.until(lambda: self.card(column, title), f"“{title}” in {column}")
        found = self.card(column, title)
        assert found is not None
        return found

    def drag(self, card: TaskCard, target: Column, at: QPoint | None = None) -> bool:
        """Carry a card over another column and let go. Returns whether the column would have it."""
        source, goal = self.column(card.column), self.column(target)
        mime = source.cards.mimeData([source.index_of(card.id)])
        point = QPointF(at or QPoint(40, 30))
        buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        move = Qt.DropAction.MoveAction
        QApplication.sendEvent(goal.viewport(), QDragEnterEvent(point.toPoint(), move, mime, buttons, keys))
        moved = QDragMoveEvent(point.toPoint(), move, mime, buttons, keys)
        QApplication.sendEvent(goal.viewport(), moved)
        QApplication.sendEvent(goal.viewport(), QDropEvent(point, move, mime, buttons, keys))
        return moved.isAccepted()

    def drop_folder(self, folder: Path) -> None:
        """Let a folder fall on the window, as from a file manager."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(folder))])
        buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        copy = Qt.DropAction.CopyAction
        QApplication.sendEvent(self.window, QDragEnterEvent(QPoint(500, 300), copy, mime, buttons, keys))
        QApplication.sendEvent(self.window, QDropEvent(QPointF(500, 300), copy, mime, buttons, keys))


class Room:
    """Where people sit at windows on this test's data folder, all connected to its engine."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._people: list[Person] = []

    async def sit_down(self) -> Person:
        folder = data_folder()
        memory = QSettings(str(folder.root / "window.ini"), QSettings.Format.IniFormat)
        window = MainWindow(self._loop, lambda: connect_or_start(folder, kind="window"), memory)
        window.show()
        window.start()
        person = Person(window)
        self._people.append(person)
        await person.until(lambda: window.desk.known.ready, "the board")
        return person

    async def stand_up(self, person: Person) -> None:
        """Close a window as its program does, without asking about runs."""
        self._people.remove(person)
        person.window.hide()
        await person.window.stop()
        person.window.deleteLater()

    async def leave(self) -> None:
        for person in tuple(self._people):
            await self.stand_up(person)


def at_the_window(application: QApplication, story: Callable[[Room], Awaitable[None]]) -> None:
    """Play a story on Qt's own event loop, and close every window at its end."""
    Look(application, "dark").apply()
    loop = QEventLoop(application)
    asyncio.set_event_loop(loop)
    try:
        with loop:
            loop.run_until_complete(_play(loop, story))
    finally:
        asyncio.set_event_loop(None)


async def _play(loop: asyncio.AbstractEventLoop, story: Callable[[Room], Awaitable[None]]) -> None:
    room = Room(loop)
    try:
        await story(room)
    finally:
        await room.leave()


def stop_engine() -> None:
    subprocess.run([sys.executable, "-m", "agentpane", "engine", "stop", "--now"], capture_output=True, check=False)
