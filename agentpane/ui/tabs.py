"""Tabs as words with a line under the chosen one; arrows go between them."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QWidget

from agentpane.ui.controls import Button
from agentpane.ui.overriding import override


class Tabs(QFrame):
    """Emits the name of the chosen tab."""

    chosen = Signal(str)

    def __init__(self, name: str, tabs: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setProperty("kind", "head")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 0)
        layout.setSpacing(20)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, Button] = {}
        for key, text in tabs:
            button = Button(text, kind="tab", name=f"{name}.{key}", pressed=partial(self.choose, key))
            button.setCheckable(True)
            button.installEventFilter(self)
            self._group.addButton(button)
            self._buttons[key] = button
            layout.addWidget(button)
        layout.addStretch(1)
        self.current = tabs[0][0]
        self._buttons[self.current].setChecked(True)

    def choose(self, key: str) -> None:
        self.current = key
        self._buttons[key].setChecked(True)
        self.chosen.emit(key)

    def name_tab(self, key: str, text: str) -> None:
        self._buttons[key].setText(text)
        self._buttons[key].describe(text)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
            if step:
                keys = list(self._buttons)
                key = keys[(keys.index(self.current) + step) % len(keys)]
                self.choose(key)
                self._buttons[key].setFocus(Qt.FocusReason.TabFocusReason)
                return True
        return False


def spread(*widgets: QWidget) -> QHBoxLayout:
    """Widgets side by side at the left."""
    layout = QHBoxLayout()
    layout.setSpacing(8)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch(1)
    return layout
