"""What the window shows before it knows anything: that the engine starts, or why it does not."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QProgressBar, QWidget

from agentpane.errors import AgentPaneError
from agentpane.ui.desk.link import LinkState
from agentpane.ui.look.theme import Look
from agentpane.ui.parts.controls import Button, Frame, IconLabel, Label, row, stack

CARD_WIDTH = 440


class ConnectingPage(QWidget):
    """Calm while all is well; says what is wrong and what to do when it is not."""

    again_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("page")
        card = Frame("card", margin=24, spacing=12)
        card.setFixedWidth(CARD_WIDTH)
        self._icon = IconLabel("logo", "accent", 28)
        self._title = Label(self.tr("Starting the engine"), "heading")
        self._title.setObjectName("connecting.title")
        self._words = Label(self.tr("Your projects and agents are on their way."), "muted", wrap=True, selectable=True)
        self._words.setObjectName("connecting.words")
        self._hint = Label("", "small", wrap=True, selectable=True)
        self._hint.hide()
        self._progress = QProgressBar()
        self._progress.setRange(0, 1 if Look.current().still else 0)  # 0: it moves
        self._progress.setTextVisible(False)
        self._progress.setAccessibleName(self.tr("Starting the engine"))
        self._again = Button(
            self.tr("Try again"), kind="primary", name="connecting.again", icon_name="retry",
            pressed=self.again_requested.emit,
        )  # fmt: skip
        self._again.hide()
        card.box.addLayout(row(self._icon, self._title, None, spacing=12))
        card.box.addWidget(self._words)
        card.box.addWidget(self._hint)
        card.box.addWidget(self._progress)
        card.box.addLayout(row(None, self._again))
        self.setLayout(stack(None, row(None, card, None), None, None))
        card.setSizePolicy(card.sizePolicy().horizontalPolicy(), card.sizePolicy().verticalPolicy())
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def show_link(self, state: LinkState, error: AgentPaneError | None) -> None:
        failed = state in {LinkState.LOST, LinkState.REFUSED, LinkState.STOPPED} and error is not None
        self._again.setVisible(failed)
        self._progress.setVisible(state is not LinkState.REFUSED)
        if failed and error is not None:
            self._icon.show_icon("alert", "attention")
            self._title.show_text(self.tr("The engine does not answer"))
            self._words.show_text(error.message)
            self._hint.show_text(error.hint)
            self._hint.setVisible(bool(error.hint))
        elif state is LinkState.READY:
            self._title.show_text(self.tr("Reading the board"))
