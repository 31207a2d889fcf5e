"""Make docs/board.png: the real window over a real engine, with the sample project played up to an interesting moment.

Usage: python docs/make_picture.py [OUT.png]
One card is merged, one waits for approval, one is being worked on and opened in the panel.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from agentpane.api import commands
from agentpane.api.launcher import connect_or_start
from agentpane.domain.board import Column
from agentpane.paths import DataFolder
from agentpane.ui.desk.link import Connection
from agentpane.ui.look.theme import Look
from agentpane.ui.window import MainWindow

SIZE = (1920, 1080)
PATIENCE_S = 60.0


async def make(window: MainWindow, out: Path) -> None:
    window.resize(*SIZE)
    window.show()
    window.start()
    known = window.desk.known
    await until(lambda: known.ready)
    do = window.desk.link.do
    first, second, third = [card.id for card in known.board.in_column(Column.BACKLOG)][:3]
    for task in (first, second):
        await do(commands.StartRun(task))
    await until(lambda: column(window, first) is Column.WAITING_APPROVAL)
    await until(lambda: column(window, second) is Column.WAITING_APPROVAL)
    await do(commands.Approve(first))
    await until(lambda: column(window, first) is Column.VERIFIED)
    await do(commands.StartRun(third))
    window.desk.acts.open_requested.emit(third)
    await until(lambda: turns(window, third) >= 2 or column(window, third) is Column.WAITING_APPROVAL)
    window.places.show_task(third)
    window.strips.start.hide()
    window.desk.toasts.clear()
    if window.places.panel is not None:
        window.places.panel.tabs.choose("session")
    await asyncio.sleep(0.3)  # the last words are painted
    if not window.grab().save(str(out)):
        raise SystemExit(f"{out} could not be written")
    await do(commands.StopEngine(now=True))
    await window.stop()


def column(window: MainWindow, task: str) -> Column | None:
    card = window.desk.known.board.card(task)
    return None if card is None else card.column


def turns(window: MainWindow, task: str) -> int:
    card = window.desk.known.board.card(task)
    return 0 if card is None or card.run is None else card.run.turns


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (what is waited for is announced in several ways)
            await asyncio.sleep(0.02)


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "board.png").resolve()
    with tempfile.TemporaryDirectory(prefix="agentpane-", ignore_cleanup_errors=True) as home:
        os.environ["AGENTPANE_HOME"] = home
        folder = DataFolder(Path(home).resolve())
        application = QApplication([])
        application.setQuitOnLastWindowClosed(False)
        Look(application, "dark").apply()
        loop = QEventLoop(application)
        asyncio.set_event_loop(loop)

        async def connect() -> Connection:
            return await connect_or_start(folder, kind="window")

        window = MainWindow(loop, connect)
        window.desk.known.settings_changed.connect(lambda: Look.current().choose("dark"))
        with loop:
            loop.run_until_complete(make(window, out))


if __name__ == "__main__":
    main()
