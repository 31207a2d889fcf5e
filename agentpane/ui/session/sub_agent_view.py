"""A sub-agent's own transcript, nested in the call that began it, set off by a line at its left."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from agentpane.ui.parts.controls import Button, Label
from agentpane.ui.session.transcript import Block, SubAgent

AT_ONCE = 10  # blocks that are made before the loop gets its turn
MOST_BLOCKS = 100  # blocks that are shown at first; earlier ones come when they are asked for


class SubAgentView(QWidget):
    """Follows the sub-agent: `refresh` shows what has been added since."""

    def __init__(
        self, part: SubAgent, make: Callable[[Block], QWidget], again: Callable[[QWidget, Block], None]
    ) -> None:
        super().__init__()
        self.setObjectName(f"part.{part.run_id}")
        self.setAccessibleName(self.tr("What the sub-agent {0} did").format(part.agent))
        self._part, self._make, self._again = part, make, again
        self.shown: list[tuple[Block, QWidget]] = []
        blocks = part.transcript.blocks
        self._first = self._next = max(len(blocks) - MOST_BLOCKS, 0)
        across = QHBoxLayout(self)
        across.setContentsMargins(4, 0, 0, 0)
        across.setSpacing(12)
        line = QFrame()
        line.setProperty("kind", "thread")
        across.addWidget(line)
        self._column = QVBoxLayout()
        self._column.setSpacing(8)
        self._earlier = Button(self.tr("Show earlier"), kind="quiet", name="part.earlier", pressed=self._show_earlier)
        self._earlier.setVisible(self._first > 0)
        self._column.addWidget(self._earlier)
        self._none = Label(self.tr("It has not said anything yet."), "muted")
        self._column.addWidget(self._none)
        across.addLayout(self._column, 1)
        self._more = QTimer(self)
        self._more.setSingleShot(True)
        self._more.timeout.connect(self._add)
        self._add()

    def refresh(self) -> None:
        """Show what has been added, and how the calls stand."""
        for block, widget in self.shown:
            if block.discarded:
                widget.hide()
            else:
                self._again(widget, block)
        if self._next < len(self._part.transcript.blocks):
            self._more.start(0)

    def _add(self) -> None:
        blocks = self._part.transcript.blocks
        for block in blocks[self._next : self._next + AT_ONCE]:
            if not block.discarded:
                widget = self._make(block)
                self.shown.append((block, widget))
                self._column.addWidget(widget)
        self._next = min(self._next + AT_ONCE, len(blocks))
        self._none.setVisible(not self.shown)
        if self._next < len(blocks):
            self._more.start(0)

    def _show_earlier(self) -> None:
        start = max(self._first - MOST_BLOCKS, 0)
        earlier = [block for block in self._part.transcript.blocks[start : self._first] if not block.discarded]
        made = [(block, self._make(block)) for block in earlier]
        for at, (_, widget) in enumerate(made):
            self._column.insertWidget(1 + at, widget)  # below the button
        self.shown[:0] = made
        self._first = start
        self._earlier.setVisible(start > 0)
