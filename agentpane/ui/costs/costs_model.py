"""The table of costs: a line for each day, project, agent, task, run or model. Shows sums; adds nothing up itself."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from agentpane.domain.costs import CostGroup, CostLine
from agentpane.ui.cards.board_model import ROOT, AnyIndex
from agentpane.ui.costs import cost_words
from agentpane.ui.look.theme import Look
from agentpane.ui.parts import figures
from agentpane.ui.parts.overriding import override

ROW_HEIGHT = 38
PADDING = 12
SHARE_WIDTH = 72


class CostColumn(IntEnum):
    NAME = 0
    CALLS = 1
    READ = 2
    CACHED = 3
    WRITTEN = 4
    WAIT = 5
    COST = 6


class CostRole(IntEnum):
    SORT = Qt.ItemDataRole.UserRole + 1
    SHARE = Qt.ItemDataRole.UserRole + 2  # of the most expensive line, from 0 to 1
    KEY = Qt.ItemDataRole.UserRole + 3


class CostsModel(QAbstractTableModel):
    """The lines of one group, as the engine has summed them."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lines: tuple[CostLine, ...] = ()
        self._group = CostGroup.DAY
        self._most = 0.0

    @property
    def group(self) -> CostGroup:
        return self._group

    def show_lines(self, lines: tuple[CostLine, ...], group: CostGroup) -> None:
        if (lines, group) == (self._lines, self._group):
            return
        self.beginResetModel()
        self._lines, self._group = lines, group
        self._most = max((line.cost_usd for line in lines), default=0.0)
        self.endResetModel()

    @override
    def rowCount(self, parent: AnyIndex = ROOT) -> int:
        return 0 if parent.isValid() else len(self._lines)

    @override
    def columnCount(self, parent: AnyIndex = ROOT) -> int:
        return 0 if parent.isValid() else len(CostColumn)

    @override
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(CostColumn):
            return None
        column = CostColumn(section)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._headings()[column]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return alignment(column)
        return None

    @override
    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        line, column = self._lines[index.row()], CostColumn(index.column())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._words(line, column)
            case Qt.ItemDataRole.TextAlignmentRole:
                return alignment(column)
            case CostRole.SORT:
                return self._value(line, column)
            case CostRole.SHARE:
                return line.cost_usd / self._most if self._most else 0.0
            case CostRole.KEY:
                return line.key
        return None

    def _headings(self) -> dict[CostColumn, str]:
        return {
            CostColumn.NAME: cost_words.group_title(self._group),
            CostColumn.CALLS: self.tr("Requests"),
            CostColumn.READ: self.tr("Read"),
            CostColumn.CACHED: self.tr("From cache"),
            CostColumn.WRITTEN: self.tr("Written"),
            CostColumn.WAIT: self.tr("Latency"),
            CostColumn.COST: self.tr("Cost"),
        }

    def _words(self, line: CostLine, column: CostColumn) -> str:
        match column:
            case CostColumn.NAME:
                return cost_words.name_of(line, self._group)
            case CostColumn.CALLS:
                return figures.count(line.calls)
            case CostColumn.READ:
                return figures.tokens(cost_words.read_tokens(line))
            case CostColumn.CACHED:
                return cost_words.cached_words(line)
            case CostColumn.WRITTEN:
                return figures.tokens(line.output_tokens)
            case CostColumn.WAIT:
                return cost_words.wait_words(line)
        return cost_words.cost_words(line)

    def _value(self, line: CostLine, column: CostColumn) -> float | str:
        match column:
            case CostColumn.NAME:
                return line.key if self._group is CostGroup.DAY else line.label.casefold()
            case CostColumn.CALLS:
                return float(line.calls)
            case CostColumn.READ:
                return float(cost_words.read_tokens(line))
            case CostColumn.CACHED:
                return cost_words.cached_share(line) or 0.0
            case CostColumn.WRITTEN:
                return float(line.output_tokens)
            case CostColumn.WAIT:
                return line.latency_ms / max(line.calls, 1)
        return line.cost_usd


def alignment(column: CostColumn) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignLeft if column is CostColumn.NAME else Qt.AlignmentFlag.AlignRight
    return side | Qt.AlignmentFlag.AlignVCenter


class CostDelegate(QStyledItemDelegate):
    """Draws a cell. The cost has a bar before it that compares it with the most expensive line."""

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        is_cost = index.column() == CostColumn.COST
        metrics = QFontMetrics(Look.current().text_font(1.0, strong=is_cost))
        wide = metrics.horizontalAdvance(str(index.data() or "")) + 2 * PADDING + 4
        return QSize(wide + (SHARE_WIDTH + 8 if is_cost else 0), ROW_HEIGHT)

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex | QModelIndex) -> None:
        look = Look.current()
        box = option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(box, look.colour("selected"))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(box, look.colour("hover"))
        inner = box.adjusted(PADDING, 0, -PADDING, 0)
        is_name, is_cost = index.column() == CostColumn.NAME, index.column() == CostColumn.COST
        if is_cost:
            self._paint_share(painter, inner.left(), box.center().y(), float(index.data(CostRole.SHARE)))
            inner.setLeft(inner.left() + SHARE_WIDTH + 8)
        painter.setFont(look.text_font(1.0, strong=is_cost))
        painter.setPen(look.colour("text" if is_name or is_cost else "muted"))
        fitted = painter.fontMetrics().elidedText(str(index.data()), Qt.TextElideMode.ElideRight, inner.width())
        painter.drawText(inner, alignment(CostColumn(index.column())), fitted)
        painter.restore()

    def _paint_share(self, painter: QPainter, left: int, middle: int, share: float) -> None:
        look = Look.current()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(look.colour("border"))
        painter.drawRoundedRect(QRectF(left, middle - 2, SHARE_WIDTH, 4), 2, 2)
        if share > 0:
            painter.setBrush(look.colour("accent"))
            painter.drawRoundedRect(QRectF(left, middle - 2, max(SHARE_WIDTH * share, 4.0), 4), 2, 2)
