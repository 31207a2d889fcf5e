"""The view of the table of costs, and its headings, which sort it by mouse and by key."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, QSortFilterProxyModel, Qt
from PySide6.QtGui import QFontMetrics, QKeyEvent, QPainter
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from agentpane.domain.costs import CostGroup
from agentpane.ui.costs.costs_model import (
    PADDING,
    ROW_HEIGHT,
    CostColumn,
    CostDelegate,
    CostRole,
    CostsModel,
    alignment,
)
from agentpane.ui.look.icons import IconStore
from agentpane.ui.look.theme import Look
from agentpane.ui.parts.overriding import override

MARK = 12
GAP = 4
SCALE = 0.92
STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}


class SortHeader(QHeaderView):
    """Headings that can have the keys: arrows choose what to sort by, Space turns the order round."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setObjectName("costs.headings")
        self.setSectionsClickable(True)
        self.setHighlightSections(False)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.sortIndicatorChanged.connect(lambda *_: self.tell())

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, column, order = Qt.Key(event.key()), self.sortIndicatorSection(), self.sortIndicatorOrder()
        if key in STEPS:
            column = (column + STEPS[key]) % self.count()
            self.setSortIndicator(column, _first_order(column))
        elif key in {Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.setSortIndicator(column, _other(order))
        else:
            event.ignore()

    @override
    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), ROW_HEIGHT)

    @override
    def sectionSizeFromContents(self, logicalIndex: int) -> QSize:
        words = str(self.model().headerData(logicalIndex, Qt.Orientation.Horizontal))
        metrics = QFontMetrics(Look.current().text_font(SCALE, strong=True))
        return QSize(metrics.horizontalAdvance(words) + MARK + GAP + 2 * PADDING, ROW_HEIGHT)

    @override
    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:
        """The words, with a mark beside those of the column that sorts."""
        look = Look.current()
        sorts = logicalIndex == self.sortIndicatorSection()
        words = str(self.model().headerData(logicalIndex, Qt.Orientation.Horizontal))
        inner = rect.adjusted(PADDING, 0, -PADDING, 0)
        painter.save()
        focused = sorts and self.hasFocus()
        line = 2 if focused else 1
        painter.fillRect(rect, look.colour("surface"))
        painter.fillRect(
            rect.left(), rect.bottom() - line + 1, rect.width(), line, look.colour("accent" if focused else "border")
        )
        painter.setFont(look.text_font(SCALE, strong=True))
        painter.setPen(look.colour("text" if sorts else "muted"))
        painter.drawText(inner, alignment(CostColumn(logicalIndex)), words)
        if sorts:
            wide = painter.fontMetrics().horizontalAdvance(words) + GAP
            left = inner.left() + wide if logicalIndex == CostColumn.NAME else inner.right() - wide - MARK + 1
            self._paint_mark(painter, left, rect.center().y() - MARK // 2 + 1)
        painter.restore()

    def _paint_mark(self, painter: QPainter, left: int, top: int) -> None:
        store = IconStore.current()
        if self.sortIndicatorOrder() is Qt.SortOrder.AscendingOrder:
            painter.translate(0, 2 * top + MARK)
            painter.scale(1, -1)
        store.draw(painter, "chevron-down", store.look.colour("text"), left, top, MARK)

    def tell(self) -> None:
        """Say by what the table is sorted."""
        heading = self.model().headerData(self.sortIndicatorSection(), Qt.Orientation.Horizontal)
        falling = self.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
        words = self.tr("Sorted by {0}, falling") if falling else self.tr("Sorted by {0}, rising")
        self.setAccessibleName(words.format(heading))


def _first_order(column: int) -> Qt.SortOrder:
    """Names begin with the first, figures with the largest."""
    return Qt.SortOrder.AscendingOrder if column == CostColumn.NAME else Qt.SortOrder.DescendingOrder


def _other(order: Qt.SortOrder) -> Qt.SortOrder:
    falling = order is Qt.SortOrder.DescendingOrder
    return Qt.SortOrder.AscendingOrder if falling else Qt.SortOrder.DescendingOrder


class CostsTable(QTableView):
    """The lines of one group. Return opens a task."""

    def __init__(self, model: CostsModel) -> None:
        super().__init__()
        self.setObjectName("costs.table")
        self.setAccessibleName(self.tr("Costs"))
        self.setProperty("kind", "table")
        proxy = QSortFilterProxyModel(self)
        proxy.setSourceModel(model)
        proxy.setSortRole(CostRole.SORT)
        self.setModel(proxy)
        self.setItemDelegate(CostDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMouseTracking(True)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        header = self._headings = SortHeader(self)
        self.setHorizontalHeader(header)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(CostColumn.NAME, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(72)
        self.setSortingEnabled(True)

    def current_key(self) -> str:
        """What the current line is of; empty: there is none."""
        index = self.currentIndex()
        return str(index.data(CostRole.KEY)) if index.isValid() else ""

    def select_key(self, key: str) -> None:
        """Make the line of `key` the current one, if it is there and another one is."""
        model = self.model()
        for at in range(model.rowCount() if key and key != self.current_key() else 0):
            if model.index(at, 0).data(CostRole.KEY) == key:
                self.selectRow(at)
                return

    def sort_for(self, group: CostGroup) -> None:
        """Days from the newest, all else from the most expensive."""
        column = CostColumn.NAME if group is CostGroup.DAY else CostColumn.COST
        self.sortByColumn(column, Qt.SortOrder.DescendingOrder)
        self._headings.tell()
