"""Garbage that holds Qt objects is collected on the main thread only: Qt does not forgive being freed on another."""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

LOOK_MS = 2_000
YOUNG, MIDDLE = 700, 10  # as Python's own thresholds


class MainThreadCollector(QObject):
    """Takes the place of Python's automatic collection, which runs on whichever thread allocates."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)
        self._timer.start(LOOK_MS)

    def look(self) -> None:
        """Collect as much as has gathered."""
        young, middle, old = gc.get_count()
        if young > YOUNG:
            gc.collect(2 if old > MIDDLE else 1 if middle > MIDDLE else 0)
