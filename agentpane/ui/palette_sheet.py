"""The command palette, and the overview of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QSize, QStringListModel, Qt
from PySide6.QtGui import QAction, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from agentpane.ui.board.card_delegate import AnyIndex
from agentpane.ui.desk.actions import BOARD_KEYS, Actions
from agentpane.ui.look.icons import IconStore
from agentpane.ui.parts.controls import Label
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import one_line
from agentpane.ui.parts.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the palette."""

    text: str
    detail: str
    icon: str
    act: Callable[[], object]


class PaletteSheet(Sheet):
    """Type a few letters, choose with the arrows, Return does it."""

    def __init__(self, host: QWidget, entries: Iterable[Entry], placeholder: str) -> None:
        super().__init__(host, "", "palette", width=560, at_top=True)
        self.setAccessibleName(placeholder)
        self._entries = list(entries)
        self._shown: list[Entry] = []
        self.field = QLineEdit()
        self.field.setObjectName("palette.field")
        self.field.setAccessibleName(placeholder)
        self.field.setPlaceholderText(placeholder)
        self.list = QListView()
        self.list.setObjectName("palette.list")
        self.list.setAccessibleName(self.tr("Matches"))
        self.list.setProperty("kind", "rows")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setMinimumHeight(340)
        self._model = QStringListModel(self)
        self.list.setModel(self._model)
        self.list.setItemDelegate(EntryDelegate(self))
        self.body.addWidget(self.field)
        self.body.addWidget(self.list)
        self.field.textChanged.connect(self._search)
        self.field.installEventFilter(self)
        self.list.clicked.connect(lambda _: self.accept())
        self._search("")

    def entry(self, row: int) -> Entry:
        return self._shown[row]

    @override
    def accept(self) -> None:
        row = self.list.currentIndex().row()
        if 0 <= row < len(self._shown):
            act = self._shown[row].act
            self.finish(True)
            act()

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.field and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in {Qt.Key.Key_Up, Qt.Key.Key_Down}:
                self._step(1 if event.key() == Qt.Key.Key_Down else -1)
                return True
            if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
                self.accept()
                return True
        return super().eventFilter(watched, event)

    def _search(self, text: str) -> None:
        words = text.casefold().split()
        self._shown = [entry for entry in self._entries if all(word in entry.text.casefold() for word in words)]
        self._model.setStringList([one_line(entry.text) for entry in self._shown])
        self.list.setCurrentIndex(self._model.index(0, 0))

    def _step(self, by: int) -> None:
        if self._shown:
            row = (self.list.currentIndex().row() + by) % len(self._shown)
            self.list.setCurrentIndex(self._model.index(row, 0))


class EntryDelegate(QStyledItemDelegate):
    """Draws an entry: icon, words, and its keys at the right."""

    def __init__(self, sheet: PaletteSheet) -> None:
        super().__init__(sheet)
        self._sheet = sheet

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        return QSize(200, 34)

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        entry = self._sheet.entry(index.row())
        store = IconStore.current()
        box = option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver):
            chosen = bool(option.state & QStyle.StateFlag.State_Selected)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(store.look.colour("selected" if chosen else "hover"))
            painter.drawRoundedRect(box.adjusted(0, 1, 0, -1), 6, 6)
        if entry.icon:
            store.draw(
                painter,
                entry.icon,
                store.look.colour("muted"),
                box.left() + 10,
                box.top() + (box.height() - 16) // 2,
                16,
            )
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(store.look.text_font(0.88))
        painter.setPen(store.look.colour("muted"))
        painter.drawText(box.adjusted(0, 0, -12, 0), middle | Qt.AlignmentFlag.AlignRight, entry.detail)
        words = box.adjusted(36, 0, -24 - painter.fontMetrics().horizontalAdvance(entry.detail), 0)
        painter.setFont(store.look.text_font())
        painter.setPen(store.look.colour("text"))
        fitted = painter.fontMetrics().elidedText(one_line(entry.text), Qt.TextElideMode.ElideRight, words.width())
        painter.drawText(words, middle, fitted)
        painter.restore()


class KeysSheet(Sheet):
    """Every action that has keys, by group."""

    def __init__(self, host: QWidget, actions: Actions) -> None:
        super().__init__(host, self.tr("Keys"), "keys_sheet", width=760)
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(6)
        groups: dict[str, list[tuple[str, str]]] = {}
        for action in actions:
            keys = keys_of(action)
            if keys:
                groups.setdefault(str(action.property("group")), []).append((keys, action.text()))
        groups[self.tr("Board")] = [(keys, self.tr(text)) for keys, text in BOARD_KEYS]
        columns: list[list[tuple[str, list[tuple[str, str]]]]] = [[], []]
        for heading, lines in groups.items():
            shortest = min(columns, key=lambda column: sum(len(part) + 2 for _, part in column))
            shortest.append((heading, lines))
        for at, column in enumerate(columns):
            _fill_column(grid, at * 3, column)
        grid.setColumnMinimumWidth(2, 24)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(4, 1)
        self.body.addLayout(grid)


def _fill_column(grid: QGridLayout, left: int, column: list[tuple[str, list[tuple[str, str]]]]) -> None:
    line = 0
    for heading, lines in column:
        grid.addWidget(Label(heading, "caption"), line, left, 1, 2)
        line += 1
        for keys, text in lines:
            grid.addWidget(Label(keys, "key"), line, left, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
            grid.addWidget(Label(text, wrap=True), line, left + 1)
            line += 1
        grid.setRowMinimumHeight(line, 8)
        line += 1


def keys_of(action: QAction) -> str:
    return "  ".join(sequence.toString() for sequence in action.shortcuts())


def action_entries(actions: Actions) -> list[Entry]:
    """The palette's lines for every action that can be done now."""
    return [
        Entry(action.text(), keys_of(action), str(action.property("icon_name") or ""), action.trigger)
        for action in actions
        if action.isEnabled() and action.objectName() not in {"palette", "back"}
    ]
