"""The cards of one project as one flat model, and a proxy for each column.

Shows cards; never moves one itself. A drop asks, and the answer comes back as `put`. A change that keeps a card in
its place is announced by `touched`, which repaints one card: `dataChanged` makes proxies sort and views lay out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, TypeAlias

from PySide6.QtCore import (
    QAbstractListModel,
    QMimeData,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    QTimer,
    Signal,
)

from agentpane.domain.board import Column
from agentpane.domain.runs import ACTIVE, RunStatus
from agentpane.domain.tasks import TaskCard
from agentpane.ui.cards.card_text import rows, spoken
from agentpane.ui.parts.overriding import override

AnyIndex: TypeAlias = QModelIndex | QPersistentModelIndex
ROOT = QModelIndex()

CARD_MIME = "application/x-agentpane-card"
FIRST = 120  # cards that are there at once; the others follow while the loop is idle
CHUNK = 1_000
PAUSE_MS = 15  # between chunks: what is there is painted first


class Role(IntEnum):
    CARD = Qt.ItemDataRole.UserRole + 1
    COLUMN = Qt.ItemDataRole.UserRole + 2
    POSITION = Qt.ItemDataRole.UserRole + 3
    ACTIVITY = Qt.ItemDataRole.UserRole + 4
    HELD = Qt.ItemDataRole.UserRole + 5  # whether paused runs keep the places that a queued one waits for


@dataclass(frozen=True, slots=True)
class Activity:
    """What a run is doing this moment. `retry_at`: on the monotonic clock."""

    line: str
    retry_at: float | None = None

    @property
    def retry_in(self) -> int | None:
        return None if self.retry_at is None else max(round(self.retry_at - time.monotonic()), 0)


class BoardModel(QAbstractListModel):
    """All cards of the project that is shown."""

    touched = Signal(str)  # a card is to be painted again, in its place and at its size
    leaving = Signal(str)  # a card is about to leave its column
    counted = Signal()  # how many cards a column has may have changed

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cards: list[TaskCard] = []
        self._rows: dict[str, int] = {}
        self._rest: dict[str, TaskCard] = {}  # known, not in the model yet
        self._activity: dict[str, Activity] = {}
        self._held = False
        self._filler = QTimer(self)
        self._filler.setInterval(PAUSE_MS)
        self._filler.timeout.connect(self._fill_on)
        self._readers: dict[int, Callable[[TaskCard], Any]] = {
            Role.CARD: lambda card: card,
            Role.COLUMN: lambda card: card.column,
            Role.POSITION: lambda card: card.position,
            Role.ACTIVITY: lambda card: self._activity.get(card.id),
            Role.HELD: lambda card: self._held,
            Qt.ItemDataRole.DisplayRole: lambda card: card.title,
            Qt.ItemDataRole.AccessibleTextRole: lambda card: spoken(card, held=self._held),
        }

    def fill(self, cards: Iterable[TaskCard]) -> None:
        """Show exactly these cards. The top of each column is there at once."""
        ordered = sorted(cards, key=lambda card: card.position)
        first, rest = ordered[:FIRST], ordered[FIRST:]
        self.beginResetModel()
        self._cards = first
        self._rows = {card.id: row for row, card in enumerate(first)}
        self._rest = {card.id: card for card in rest}
        self._activity = {
            task: activity for task, activity in self._activity.items() if task in self._rows or task in self._rest
        }
        self.endResetModel()
        if rest:
            self._filler.start()
        self.counted.emit()

    @property
    def filling(self) -> bool:
        return bool(self._rest)

    def put(self, card: TaskCard) -> None:
        """Show this state of a card, adding the card if it is new."""
        if card.id in self._rest:
            self._rest[card.id] = card
            self.counted.emit()
            return
        row = self._rows.get(card.id)
        if row is None:
            self._insert([card])
            self.counted.emit()
            return
        old = self._cards[row]
        if old == card:
            return
        if old.column is not card.column:
            self.leaving.emit(card.id)
        self._cards[row] = card
        if card.run is None or card.run.status not in ACTIVE:
            self._activity.pop(card.id, None)
        if (old.column, old.position) != (card.column, card.position) or rows(old) != rows(card):
            self.dataChanged.emit(self.index(row), self.index(row))
            self.counted.emit()
        else:
            self.touched.emit(card.id)

    def renumber(self, positions: Sequence[tuple[str, int]]) -> None:
        """Other cards' positions, changed by a move."""
        changed: list[int] = []
        for task_id, position in positions:
            if task_id in self._rest:
                self._rest[task_id] = replace(self._rest[task_id], position=position)
            elif (row := self._rows.get(task_id)) is not None and self._cards[row].position != position:
                self._cards[row] = replace(self._cards[row], position=position)
                changed.append(row)
        if changed:
            self.dataChanged.emit(self.index(min(changed)), self.index(max(changed)), [Role.POSITION])

    def drop(self, task_id: str) -> None:
        """The card is gone."""
        self._rest.pop(task_id, None)
        self._activity.pop(task_id, None)
        row = self._rows.get(task_id)
        if row is not None:
            self.beginRemoveRows(ROOT, row, row)
            del self._cards[row]
            self._rows = {card.id: number for number, card in enumerate(self._cards)}
            self.endRemoveRows()
        self.counted.emit()

    def set_activity(self, task_id: str, activity: Activity) -> None:
        self._activity[task_id] = activity
        if task_id in self._rows:
            self.touched.emit(task_id)

    def activity(self, task_id: str) -> Activity | None:
        return self._activity.get(task_id)

    @property
    def held(self) -> bool:
        """Whether paused runs keep the places that a queued one waits for."""
        return self._held

    def hold(self, held: bool) -> None:
        if held != self._held:
            self._held = held
            for card in self._cards:
                if card.run is not None and card.run.status is RunStatus.QUEUED:
                    self.touched.emit(card.id)

    def card(self, task_id: str) -> TaskCard | None:
        row = self._rows.get(task_id)
        return self._cards[row] if row is not None else self._rest.get(task_id)

    def index_of(self, task_id: str) -> QModelIndex:
        row = self._rows.get(task_id)
        return ROOT if row is None else self.index(row)

    def cards(self) -> list[TaskCard]:
        return [*self._cards, *self._rest.values()]

    def in_column(self, column: Column) -> list[TaskCard]:
        """The cards of a column from the top."""
        return sorted((card for card in self.cards() if card.column is column), key=lambda card: card.position)

    def counts(self) -> dict[Column, int]:
        counts = dict.fromkeys(Column, 0)
        for card in self._cards:
            counts[card.column] += 1
        for card in self._rest.values():
            counts[card.column] += 1
        return counts

    def working(self) -> list[str]:
        """The cards whose clock runs."""
        return [card.id for card in self._cards if card.run is not None and card.run.status in ACTIVE]

    @override
    def rowCount(self, parent: AnyIndex = ROOT) -> int:
        return 0 if parent.isValid() else len(self._cards)

    @override
    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        read = self._readers.get(role)
        row = index.row()
        if read is None or not 0 <= row < len(self._cards):
            return None
        return read(self._cards[row])

    @override
    def flags(self, index: AnyIndex) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.ItemIsDropEnabled
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled

    @override
    def mimeTypes(self) -> list[str]:
        return [CARD_MIME]

    @override
    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:
        mime = QMimeData()
        card = self._cards[indexes[0].row()]
        mime.setData(CARD_MIME, card.id.encode())
        return mime

    def _insert(self, cards: list[TaskCard]) -> None:
        at = len(self._cards)
        self.beginInsertRows(ROOT, at, at + len(cards) - 1)
        self._cards += cards
        for row, card in enumerate(cards, at):
            self._rows[card.id] = row
        self.endInsertRows()

    def _fill_on(self) -> None:
        ids = list(self._rest)[:CHUNK]
        if ids:
            self._insert([self._rest.pop(task_id) for task_id in ids])
        if not self._rest:
            self._filler.stop()


class ColumnModel(QSortFilterProxyModel):
    """The cards of one column, from the top, that match the filter's words."""

    def __init__(self, board: BoardModel, column: Column, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._board = board
        self.column = column
        self._words: tuple[str, ...] = ()
        self.setSourceModel(board)
        self.setSortRole(Role.POSITION)
        self.sort(0)

    def search(self, text: str) -> None:
        self.beginFilterChange()
        self._words = tuple(text.casefold().split())
        self.endFilterChange(QSortFilterProxyModel.Direction.Rows)

    @property
    def searching(self) -> bool:
        return bool(self._words)

    @override
    def filterAcceptsRow(self, source_row: int, source_parent: AnyIndex) -> bool:
        card = self._board._cards[source_row]
        return card.column is self.column and (not self._words or self._matches(card))

    def _matches(self, card: TaskCard) -> bool:
        text = " ".join((card.title, card.agent or "", *card.labels)).casefold()
        return all(word in text for word in self._words)
