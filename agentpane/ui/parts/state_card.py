"""What a page shows when it has nothing else: why, and what to do next."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from agentpane.ui.parts.controls import Button, Frame, IconLabel, Label, clear, row, stack

CARD_WIDTH = 480
Offer = tuple[str, str, Callable[[], object]]  # words, object name, what it does


class StateCard(QWidget):
    """A card in the middle of the page."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        card = Frame("card", margin=28, spacing=12)
        card.setFixedWidth(CARD_WIDTH)
        self._icon = IconLabel("info", "muted", 28)
        self._title, self._words = Label("", "heading", wrap=True), Label("", "muted", wrap=True, selectable=True)
        self._title.setObjectName(f"{name}.title")
        self._words.setObjectName(f"{name}.words")
        head = row(self._icon, self._title, spacing=12)
        head.setStretchFactor(self._title, 1)
        head.setAlignment(self._icon, Qt.AlignmentFlag.AlignTop)
        self._offers = row(spacing=8)
        card.box.addLayout(head)
        card.box.addWidget(self._words)
        card.box.addSpacing(4)
        card.box.addLayout(self._offers)
        self.setLayout(stack(None, row(None, card, None), None, None))

    def say(self, icon: str, token: str, title: str, words: str) -> None:
        self._icon.show_icon(icon, token)
        self._title.show_text(title)
        self._words.show_text(words)
        self.setAccessibleName(f"{title}. {words}")

    def offer(self, *offers: Offer) -> None:
        """Offer what may be done; the first is the main one."""
        clear(self._offers)
        for at, (words, name, act) in enumerate(offers):
            self._offers.addWidget(Button(words, kind="" if at else "primary", name=name, pressed=act))
        self._offers.addStretch(1)
