"""One column of the board with its head: what it is called, how many cards it has, and what limits it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QSizePolicy, QVBoxLayout, QWidget

from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.ui.board.column_view import ColumnView
from agentpane.ui.look.tokens import COLUMN_ICONS, COLUMN_TOKENS
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Chip, FittingLabel, IconButton, IconLabel, Label, row
from agentpane.ui.parts.overriding import override

COLUMN_WIDTH = 280
HEAD_HEIGHT = 44


class ColumnFrame(QFrame):
    """One column: its name, how many cards it has and may have, and its list."""

    new_requested = Signal(object)
    archive_requested = Signal()  # every card of it

    def __init__(self, view: ColumnView) -> None:
        super().__init__()
        column = view.column
        self.view = view
        self.setObjectName(f"column.{column.value}")
        self.setProperty("kind", "column")
        self.setMinimumWidth(COLUMN_WIDTH)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.count = Chip("0")
        self.count.setObjectName(f"count.{column.value}")
        self.limit = FittingLabel("small")
        self.limit.setObjectName(f"limit.{column.value}")
        head = row(
            IconLabel(COLUMN_ICONS[column], COLUMN_TOKENS[column]),
            Label(COLUMN_TITLES[column], "strong"),
            self.count,
            self.limit,
            margins=(14, 0, 8, 0),
        )
        head.setStretchFactor(self.limit, 1)
        if column in {Column.BACKLOG, Column.IN_PROGRESS}:
            words = self.tr("New task") if column is Column.BACKLOG else self.tr("New task, started at once")
            head.addWidget(
                IconButton("plus", words, name=f"new.{column.value}", pressed=lambda: self.new_requested.emit(column))
            )
        elif column is Column.VERIFIED:
            self._archive = IconButton(
                "archive", self.tr("Archive all"), name="archive.verified", pressed=self.archive_requested.emit
            )
            self._archive.hide()
            head.addWidget(self._archive)
        else:
            head.addSpacing(6)
        holder = QWidget()
        holder.setFixedHeight(HEAD_HEIGHT)
        holder.setLayout(head)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(0)
        layout.addWidget(holder)
        inner = QVBoxLayout()
        inner.setContentsMargins(8, 0, 8, 4)
        inner.addWidget(view)
        layout.addLayout(inner)

    def show_count(self, number: int) -> None:
        self.count.show_text(figures.count(number))
        if self.view.column is Column.VERIFIED:
            if not number and self._archive.hasFocus():
                self.view.setFocus(Qt.FocusReason.OtherFocusReason)
            self._archive.setVisible(number > 0)

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(COLUMN_WIDTH, 160)
