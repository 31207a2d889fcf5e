"""Row 7: the board shown with 10,000 cards over 100, and one card's update over a full repaint.

Shown: the cards are handed to the board of a window that is there, and it has been painted once; the cards below the
first 200 come in the background afterwards. Update: a run's figures change, until the card is painted anew.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from PySide6.QtCore import QEventLoop
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop as Loop

from agentpane.domain.board import Column
from agentpane.ui.look.theme import Look
from agentpane.ui.window import MainWindow
from benchmarks.board_cards import PROJECT, StillBench, cards
from benchmarks.harness import Figure, at_most, compare, milliseconds

MANY = 10_000
FEW = 100


def run() -> list[Figure]:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application = QApplication.instance() or QApplication([])
    assert isinstance(application, QApplication)
    Look(application, "dark").apply()
    loop = Loop(application)
    asyncio.set_event_loop(loop)
    window = _window(loop)
    try:
        return [_shown(window), _update(window)]
    finally:
        window.close()
        loop.close()


def _window(loop: asyncio.AbstractEventLoop) -> MainWindow:
    async def connect() -> StillBench:
        return StillBench(0)

    window = MainWindow(loop, connect)
    window.resize(1600, 1000)
    window.desk.known.current = PROJECT
    window.places.show_board()
    window.show()
    _paint()
    return window


def _shown(window: MainWindow) -> Figure:
    board = window.desk.known.board
    many, few = cards(MANY), cards(FEW)

    def show(number: int) -> float:
        board.fill(())
        _paint()
        wanted = many if number == MANY else few

        def act() -> None:
            board.fill(wanted)
            paint_cards(window)

        return milliseconds(act)()

    return compare(f"board of {MANY:,} cards shown / of {FEW}", lambda: show(MANY), lambda: show(FEW), at_most(1.3))


def _update(window: MainWindow) -> Figure:
    board = window.desk.known.board
    board.fill(cards(MANY))
    while board.filling:
        _paint()
    paint_cards(window)
    card = board.in_column(Column.IN_PROGRESS)[0]
    assert card.run is not None
    changes = iter(range(1_000_000))

    view = window.board.view(Column.IN_PROGRESS)

    def update() -> None:
        assert card.run is not None
        board.put(replace(card, run=replace(card.run, turns=next(changes), cost_usd=0.5)))
        view.viewport().repaint(view.visualRect(view.index_of(card.id)))  # at once, not at the next frame

    def whole() -> None:
        paint_cards(window, lay_out=False)

    ours, floor = milliseconds(update), milliseconds(whole)
    return compare("one card's update / a full repaint", ours, floor, at_most(0.05), rounds=31)


def paint_cards(window: MainWindow, *, lay_out: bool = True) -> None:
    """Lay out and paint what is seen of every column, at once and not in the loop's next turn."""
    for column in Column:
        view = window.board.view(column)
        if lay_out:
            view.doItemsLayout()
        view.viewport().repaint()


def _paint() -> None:
    QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
