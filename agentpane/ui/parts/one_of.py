"""A few buttons of which exactly one holds: one stop for Tab, arrows go between them."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent

from agentpane.ui.parts.controls import Button
from agentpane.ui.parts.overriding import override

STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}


class OneOf(QObject):
    """Keeps the choice; whoever makes it lays the buttons out. `chosen` is emitted for what a person did."""

    chosen = Signal(str)

    def __init__(self, parent: QObject, name: str, choices: tuple[tuple[str, str], ...], kind: str) -> None:
        super().__init__(parent)
        self.buttons: dict[str, Button] = {}
        for key, text in choices:
            button = Button(text, kind=kind, name=f"{name}.{key}", pressed=partial(self.choose, key))
            button.setCheckable(True)
            button.installEventFilter(self)
            self.buttons[key] = button
        for end, key in (("first", choices[0][0]), ("last", choices[-1][0])):
            self.buttons[key].setProperty("end", end)
        self.current = ""
        self.show_choice(choices[0][0])

    def choose(self, key: str) -> None:
        self.show_choice(key)
        self.chosen.emit(key)

    def show_choice(self, key: str) -> None:
        """Show what holds, without telling anybody."""
        if key not in self.buttons:
            return
        self.current = key
        for other, button in self.buttons.items():
            button.setChecked(other == key)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus if other == key else Qt.FocusPolicy.ClickFocus)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if not isinstance(event, QKeyEvent) or event.type() != QEvent.Type.KeyPress:
            return False
        step = STEPS.get(Qt.Key(event.key()))
        if step is None:
            return False
        keys = list(self.buttons)
        key = keys[(keys.index(self.current) + step) % len(keys)]
        self.choose(key)
        self.buttons[key].setFocus(Qt.FocusReason.TabFocusReason)
        return True
