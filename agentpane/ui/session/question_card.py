"""A question of the agent that waits for the person: one press for an offered answer, or words of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal

from agentpane.ui.parts.controls import Button, Frame, IconLabel, Label, row
from agentpane.ui.parts.plain import one_line

LONGEST_OPTION = 60


class QuestionCard(Frame):
    """Emits the answer once; its buttons are off from then on."""

    answered = Signal(str)

    def __init__(self, question: str, options: Sequence[str]) -> None:
        super().__init__("ask", margin=12, spacing=8)
        self.setObjectName("question")
        title = self.tr("The agent asks you")
        self.setAccessibleName(title)
        self.box.addLayout(row(IconLabel("message", "attention"), Label(title, "strong"), None))
        self.box.addWidget(Label(question.strip(), wrap=True, selectable=True))
        self._buttons = [self._option(number, option) for number, option in enumerate(options)]
        for button in self._buttons:
            self.box.addLayout(row(button, None))
        hint = self.tr("Or write your own answer below.") if options else self.tr("Write your answer below.")
        self.box.addWidget(Label(hint, "small"))

    def _option(self, number: int, option: str) -> Button:
        words = one_line(option)
        short = words if len(words) <= LONGEST_OPTION else words[: LONGEST_OPTION - 1] + "…"
        return Button(short, name=f"question.option.{number}", tip=words, pressed=lambda: self._answer(option))

    def _answer(self, text: str) -> None:
        for button in self._buttons:
            button.setEnabled(False)
        self.answered.emit(text)
