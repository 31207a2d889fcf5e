"""Garbage is collected on the main thread only."""

from __future__ import annotations

import gc
import threading
import weakref

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication

from agentpane.ui import collecting
from agentpane.ui.collecting import MainThreadCollector


class Knot(QObject):
    """An object that only the collector can free."""

    def __init__(self) -> None:
        super().__init__()
        self.itself = self


def test_a_knot_is_freed_by_the_timer_and_by_no_other_thread(qapp: QApplication) -> None:
    gc.enable()
    collector = MainThreadCollector()
    assert not gc.isenabled()
    knot = Knot()
    gone = weakref.ref(knot)
    del knot
    noise = threading.Thread(target=lambda: [[] for _ in range(50_000)])
    noise.start()
    noise.join()
    assert gone() is not None
    kept = [[] for _ in range(collecting.YOUNG + 10)]  # type: ignore[var-annotated]
    collector.look()
    assert gone() is None
    assert kept
