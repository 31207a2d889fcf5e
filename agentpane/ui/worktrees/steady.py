"""What a person looks at stays where it is while lines come and go around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import QCoreApplication, QEvent, QPoint
from PySide6.QtWidgets import QApplication, QScrollArea, QWidget


@contextmanager
def steady(area: QScrollArea, lines: type[QWidget]) -> Iterator[None]:
    """Inside of this lines change in a scrolled page: that which has the keys stays in its place, or the first in view.

    A line is found again by its name; where it is gone, nothing is scrolled.
    """
    name, top = _in_view(area, lines)
    yield
    if not name or not area.isVisible():
        return
    QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)
    again = next((line for line in area.findChildren(lines, name) if line.isVisible()), None)
    if again is not None:
        bar = area.verticalScrollBar()
        bar.setValue(bar.value() + _top(area, again) - top)


def _in_view(area: QScrollArea, lines: type[QWidget]) -> tuple[str, int]:
    height, focused = area.viewport().height(), QApplication.focusWidget()
    seen = [line for line in area.findChildren(lines) if line.isVisible() and 0 <= _top(area, line) < height]
    if not seen:
        return "", 0
    held = (line for line in seen if focused is not None and line.isAncestorOf(focused))
    first = next(held, min(seen, key=lambda line: _top(area, line)))
    return first.objectName(), _top(area, first)


def _top(area: QScrollArea, line: QWidget) -> int:
    return line.mapTo(area.viewport(), QPoint()).y()
