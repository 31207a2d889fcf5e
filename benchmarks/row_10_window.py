"""Row 10: a window with a board of 1,000 cards shown, over an empty QMainWindow process; and its memory, over the same.

Both are whole processes, from their start to the first paint. Ours imports what the program imports, connects to a
workbench in its own process, reads the board and paints it. Memory is the resident set at that moment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.harness import LEAST_ROUNDS, Figure, at_most, figure

CARDS = 1_000
ROUNDS = LEAST_ROUNDS + 4

EMPTY = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
application = QApplication([])
window = QMainWindow()
window.resize(1600, 1000)
window.show()
def painted():
    window.repaint()
    print("shown", flush=True)
    sys.stdin.readline()
    application.quit()
QTimer.singleShot(0, painted)
application.exec()
"""

OURS = f"""
import asyncio, sys
from agentpane.ui import app
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop
from benchmarks.board_cards import StillBench
application = QApplication([])
application.setQuitOnLastWindowClosed(False)
app.Look(application, "dark").apply()
loop = QEventLoop(application)
asyncio.set_event_loop(loop)
async def connect():
    import agentpane.api.launcher  # as the program does
    return StillBench({CARDS})
async def main():
    window = app.MainWindow(loop, connect)
    window.resize(1600, 1000)
    window.show()
    read = asyncio.Event()
    window.desk.known.loaded.connect(read.set)
    window.start()
    await read.wait()
    for column in window.board.columns.values():
        column.view.doItemsLayout()
    window.repaint()
    print("shown", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    await window.stop()
with loop:
    loop.run_until_complete(main())
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One process: milliseconds to its first paint, and MiB of memory then."""

    shown: float
    memory: float


def run() -> list[Figure]:
    ours: list[Start] = []
    floor: list[Start] = []
    for number in range(ROUNDS + 1):
        taken = ((OURS, ours), (EMPTY, floor)) if number % 2 else ((EMPTY, floor), (OURS, ours))
        for script, starts in taken:
            start = measure(script)
            if number:  # the first round warms the caches
                starts.append(start)
    names = f"window with {CARDS:,} cards", "an empty window's process"
    return [
        figure(
            f"{names[0]} shown / {names[1]}",
            [start.shown for start in ours], [start.shown for start in floor], at_most(1.5), "ms",
        ),
        figure(
            f"memory of the {names[0]} / of {names[1]}",
            [start.memory for start in ours], [start.memory for start in floor], at_most(1.3), "MiB",
        ),
    ]  # fmt: skip


def measure(script: str) -> Start:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        line = process.stdout.readline()
        shown = (time.perf_counter() - began) * 1_000
        if line != "shown\n":
            raise RuntimeError(f"the window's process printed {line!r}")
        memory = resident(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        process.wait(30)
    return Start(shown, memory)


def resident(pid: int) -> float:
    """The resident set of a process, in MiB."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
