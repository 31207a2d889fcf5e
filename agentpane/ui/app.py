"""The window's program: a Qt application whose loop is asyncio's too, shown before the engine answers."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Sequence

from PySide6.QtCore import QSettings
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from agentpane.api.commands import RaiseWindow
from agentpane.errors import AgentPaneError
from agentpane.paths import DataFolder, data_folder, shipped
from agentpane.ui.collecting import MainThreadCollector
from agentpane.ui.desk.link import Connection
from agentpane.ui.look.theme import Look
from agentpane.ui.window import MainWindow

RAISE_S = 2.0


def main(argv: Sequence[str], new_window: bool = False) -> int:
    """Open the window, or bring the one that is open to the front. Returns the exit status."""
    folder = data_folder()
    if not new_window and folder.socket.exists() and asyncio.run(raise_other(folder)):
        return 0
    application = QApplication.instance() or QApplication([sys.argv[0], *argv])
    assert isinstance(application, QApplication)
    application.setApplicationName("AgentPane")
    application.setDesktopFileName("agentpane")
    application.setQuitOnLastWindowClosed(False)
    application.setWindowIcon(QIcon(str(shipped("resources") / "icons" / "app.svg")))
    memory = QSettings(str(folder.root / "window.ini"), QSettings.Format.IniFormat)
    Look(application, str(memory.value("theme", "system"))).apply()
    loop = QEventLoop(application)
    asyncio.set_event_loop(loop)
    with loop:
        loop.run_until_complete(show_window(loop, folder, memory))
    return 0


async def raise_other(folder: DataFolder) -> bool:
    """Ask an open window to come to the front. False: there is none, or no engine answers."""
    from agentpane.api.client import Client  # not before it is needed: the window is there sooner

    try:
        async with asyncio.timeout(RAISE_S):
            client = await Client.connect(folder)
            try:
                return await client.do(RaiseWindow()) > 0
            finally:
                await client.close()
    except (AgentPaneError, OSError, TimeoutError):
        return False


async def show_window(loop: asyncio.AbstractEventLoop, folder: DataFolder, memory: QSettings) -> None:
    """Show a window and stay until it is closed and its jobs have ended."""

    async def connect() -> Connection:
        from agentpane.api.launcher import connect_or_start  # when the window is shown already

        return await connect_or_start(folder, kind="window")

    window = MainWindow(loop, connect, memory)
    closed = asyncio.Event()
    window.closed.connect(closed.set)
    window.desk.known.settings_changed.connect(lambda: memory.setValue("theme", window.desk.known.settings.theme))
    window.show()
    window.start()
    MainThreadCollector(window)
    gc.freeze()  # what is loaded stays: the collector need not look at it again
    loop.add_signal_handler(signal.SIGTERM, window.close)
    loop.add_signal_handler(signal.SIGINT, window.close)
    await closed.wait()
    await window.stop()
    window.deleteLater()
