"""What stands around a card's work, as lines below its state."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from agentpane.domain.tasks import TaskCard
from agentpane.ui.cards import standing_words
from agentpane.ui.cards.card_line import Line
from agentpane.ui.parts.controls import ElidedLabel, IconLabel, clear, row


class StandingLines(QWidget):
    """One line each for conflicts, checks and cards at the same places; nothing where there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("task.standing")
        self._lines = QVBoxLayout(self)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.setSpacing(6)
        self._shown: tuple[Line, ...] = ()
        self.hide()

    def show_card(self, card: TaskCard) -> None:
        lines = standing_words.lines(card)
        self.setVisible(bool(lines))
        if lines == self._shown:
            return
        self._shown = lines
        self.setAccessibleName("; ".join(line.text for line in lines))
        clear(self._lines)
        for line in lines:
            words = ElidedLabel(line.text)
            across = row(IconLabel(line.icon, line.token, 14), words, spacing=8)
            across.setStretchFactor(words, 1)
            self._lines.addLayout(across)
