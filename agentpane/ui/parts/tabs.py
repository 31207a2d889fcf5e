"""Tabs as words with a line under the chosen one."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout

from agentpane.ui.parts.one_of import OneOf


class Tabs(QFrame):
    """Emits the name of the chosen tab, whoever chose it."""

    chosen = Signal(str)

    def __init__(self, name: str, tabs: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setProperty("kind", "head")
        self._tabs = OneOf(self, name, tabs, "tab")
        self._tabs.chosen.connect(self.chosen)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 0)
        layout.setSpacing(20)
        for button in self._tabs.buttons.values():
            layout.addWidget(button)
        layout.addStretch(1)

    @property
    def current(self) -> str:
        return self._tabs.current

    def focus(self) -> None:
        """Give the keys to the tab that is shown."""
        self._tabs.buttons[self.current].setFocus(Qt.FocusReason.TabFocusReason)

    def choose(self, key: str) -> None:
        self._tabs.choose(key)
