"""One column's cards: a list that can be walked, carried from and dropped on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QModelIndex, QPoint, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QDrag,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QListView

from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.tasks import TaskCard
from agentpane.ui.board.card_delegate import GAP, CardDelegate
from agentpane.ui.board.carry import Carry, Landing, Spot
from agentpane.ui.cards.board_model import CARD_MIME, BoardModel, ColumnModel, Role
from agentpane.ui.cards.card_text import primary
from agentpane.ui.look.icons import IconStore
from agentpane.ui.parts.overriding import override

if TYPE_CHECKING:
    from PySide6.QtGui import QContextMenuEvent

REFUSED_ALPHA = 215
UNDER_ICON = 28
WORDS_FLAGS = int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap)


class ColumnView(QListView):
    """Shows a ColumnModel. It asks through its signals and through the Carry; it moves nothing."""

    opened = Signal(str)
    primary_requested = Signal(str, str)  # task, action id
    chosen = Signal(str)
    walked = Signal(int)  # left (-1) or right (+1)
    steered = Signal(int)  # a key, while a card is carried by keyboard
    menu_requested = Signal(str, QPoint)

    def __init__(self, board: BoardModel, column: Column, carry: Carry) -> None:
        super().__init__()
        self.column = column
        self.empty_text = ""
        self._board = board
        self._carry = carry
        self._cards = ColumnModel(board, column, self)
        self._delegate = CardDelegate(self)
        self._pressed_button = ""
        self.setObjectName(f"cards.{column.value}")
        self.setAccessibleName(COLUMN_TITLES[column])
        self.setModel(self._cards)
        self.setItemDelegate(self._delegate)
        self.setMouseTracking(True)
        self.setDragEnabled(True)
        self.setAcceptDrops(True)
        self.setDropIndicatorShown(False)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.activated.connect(lambda index: self.opened.emit(index.data(Role.CARD).id))
        carry.changed.connect(self._carry_changed)

    @property
    def cards(self) -> ColumnModel:
        return self._cards

    def shown(self) -> list[TaskCard]:
        """The cards as they stand, from the top."""
        return [self._cards.index(row, 0).data(Role.CARD) for row in range(self._cards.rowCount())]

    def current_card(self) -> TaskCard | None:
        index = self.currentIndex()
        return index.data(Role.CARD) if index.isValid() and self.selectionModel().isSelected(index) else None

    def is_current(self, task_id: str) -> bool:
        card = self.current_card()
        return card is not None and card.id == task_id

    def select(self, task_id: str) -> bool:
        """Make a card the current one, if it is here."""
        index = self.index_of(task_id)
        if index.isValid():
            self.setCurrentIndex(index)
            self.scrollTo(index)
        return index.isValid()

    def select_row(self, row: int) -> None:
        if self._cards.rowCount():
            index = self._cards.index(min(max(row, 0), self._cards.rowCount() - 1), 0)
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def index_of(self, task_id: str) -> QModelIndex:
        return self._cards.mapFromSource(self._board.index_of(task_id))

    def repaint_card(self, task_id: str) -> None:
        """Paint one card again, in its place and at its size."""
        index = self.index_of(task_id)
        if index.isValid():
            self.update(index)

    # Keys

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        """Whoever comes by Tab stands on a card at once, and sees which."""
        super().focusInEvent(event)
        walked = event.reason() in {Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason}
        if walked and self.current_card() is None:
            self.select_row(self.currentIndex().row())

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        card = self.current_card()
        if self._carry.by_keyboard:
            self.steered.emit(key)
        elif key == Qt.Key.Key_Space and card is not None:
            self._carry.begin(card, by_keyboard=True)
            self._carry.over(Spot(self.column, self.currentIndex().row()))
        elif key in {Qt.Key.Key_Left, Qt.Key.Key_Right}:
            self.walked.emit(-1 if key == Qt.Key.Key_Left else 1)
        elif key in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and card is not None:
            self.opened.emit(card.id)
        elif key == Qt.Key.Key_Menu and card is not None:
            box = self.visualRect(self.currentIndex())
            self.menu_requested.emit(card.id, self.viewport().mapToGlobal(box.center()))
        elif event.text() and not event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier:
            event.ignore()  # no search by typing: letters are for the window's own keys
        else:
            super().keyPressEvent(event)

    # Mouse

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        index = self.indexAt(event.position().toPoint())
        self._hover(index.data(Role.CARD).id if index.isValid() else "")
        over_button = index.isValid() and self._on_button(index, event.position().toPoint())
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if over_button else Qt.CursorShape.ArrowCursor)
        if not self._pressed_button:
            super().mouseMoveEvent(event)

    @override
    def leaveEvent(self, event: QEvent) -> None:
        self._hover("")
        super().leaveEvent(event)

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self.indexAt(event.position().toPoint())
        left = event.button() is Qt.MouseButton.LeftButton
        if left and index.isValid() and self._on_button(index, event.position().toPoint()):
            self._pressed_button = index.data(Role.CARD).id
            self.setCurrentIndex(index)
            return
        super().mousePressEvent(event)
        if not index.isValid():
            self.clearSelection()

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        index = self.indexAt(event.position().toPoint())
        pressed, self._pressed_button = self._pressed_button, ""
        super().mouseReleaseEvent(event)
        if event.button() is not Qt.MouseButton.LeftButton or not index.isValid():
            return
        card: TaskCard = index.data(Role.CARD)
        if pressed:
            if pressed == card.id and self._on_button(index, event.position().toPoint()):
                self.primary_requested.emit(card.id, primary(card)[0])
        else:
            self.chosen.emit(card.id)

    @override
    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        index = self.indexAt(event.pos())
        if index.isValid():
            self.setCurrentIndex(index)
            self.menu_requested.emit(index.data(Role.CARD).id, event.globalPos())

    # Dragging

    @override
    def startDrag(self, supported: Qt.DropAction) -> None:
        card = self.current_card()
        if card is None:
            return
        index = self.currentIndex()
        drag = QDrag(self)
        drag.setMimeData(self._cards.mimeData([index]))
        box = self.visualRect(index)
        drag.setPixmap(self._picture(box))
        drag.setHotSpot(self.viewport().mapFromGlobal(self.cursor().pos()) - box.topLeft())
        self._carry.begin(card)
        try:
            drag.exec(Qt.DropAction.MoveAction, Qt.DropAction.MoveAction)
        finally:
            self._carry.end()

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        card = self._dragged(event)
        if card is None:
            event.ignore()
            return
        self._carry.begin(card)
        event.acceptProposedAction()

    @override
    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        card = self._dragged(event)
        if card is None:
            event.ignore()
            return
        self._carry.begin(card)
        self._carry.over(Spot(self.column, self.gap_at(event.position().toPoint())))
        if self._carry.landing(self.column) is Landing.REFUSED:
            event.ignore()
        else:
            event.acceptProposedAction()
        self._scroll_near_edge(event.position().toPoint())

    @override
    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._carry.over(None)

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        if self._dragged(event) is None:
            event.ignore()
            return
        event.setDropAction(Qt.DropAction.MoveAction)
        event.accept()
        self._carry.let_go(Spot(self.column, self.gap_at(event.position().toPoint())), self.shown())

    def gap_at(self, point: QPoint) -> int:
        """The gap between cards that a point is nearest to."""
        index = self.indexAt(point)
        if index.isValid():
            return index.row() + (1 if point.y() > self.visualRect(index).center().y() else 0)
        if self._cards.rowCount() and point.y() < self.visualRect(self._cards.index(0, 0)).top():
            return 0
        return self._cards.rowCount()

    # Painting

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        if event.size().width() != event.oldSize().width():
            self._delegate.forget_heights()
        super().resizeEvent(event)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._carry.card is not None:
            self._paint_carry(painter)
        elif not self._cards.rowCount() and self.empty_text and not self._board.filling:
            words = self.tr("No card matches the filter.") if self._cards.searching else self.empty_text
            self._paint_words(painter, words, "muted")

    def _paint_carry(self, painter: QPainter) -> None:
        landing, spot = self._carry.landing(self.column), self._carry.spot
        here = spot is not None and spot.column is self.column
        if landing is Landing.ALLOWED:
            if here and spot is not None:
                self._paint_gap(painter, spot.gap)
            return
        dim = QColor(IconStore.current().look.colour("surface"))
        dim.setAlpha(REFUSED_ALPHA)
        painter.fillRect(self.viewport().rect(), dim)
        if landing is Landing.REVIEW:
            words, token, icon_name = self.tr("Let go here to open the review."), "accent", "eye"
        else:
            words, token, icon_name = self._carry.reason(self.column), "text" if here else "muted", "info"
        if self._cards.rowCount():
            self._paint_plate(painter, words)
        self._paint_words(painter, words, token, icon_name)

    def _paint_gap(self, painter: QPainter, gap: int) -> None:
        count = self._cards.rowCount()
        if count == 0:
            top = 2
        elif gap < count:
            top = self.visualRect(self._cards.index(gap, 0)).top() - GAP // 2
        else:
            top = self.visualRect(self._cards.index(count - 1, 0)).bottom() - GAP // 2
        painter.setPen(QPen(IconStore.current().look.colour("accent"), 3, c=Qt.PenCapStyle.RoundCap))
        painter.drawLine(4, max(top, 2), self.viewport().width() - 4, max(top, 2))

    def _paint_plate(self, painter: QPainter, words: str) -> None:
        """Cover the cards where words with an icon are painted over them."""
        look = IconStore.current().look
        area = self.viewport().rect().adjusted(20, 24 + UNDER_ICON, -20, -24)
        painter.setFont(look.text_font(0.94))
        height = painter.boundingRect(area, WORDS_FLAGS, words).height()
        painter.setBrush(look.colour("surface"))
        painter.setPen(QPen(look.colour("border"), 1))
        plate = QRectF(8.5, 10.5, self.viewport().width() - 17, 24 + UNDER_ICON + height)
        painter.drawRoundedRect(plate, 6, 6)

    def _paint_words(self, painter: QPainter, words: str, token: str, icon_name: str = "") -> None:
        store = IconStore.current()
        area = self.viewport().rect().adjusted(20, 24, -20, -24)
        if icon_name:
            store.draw(painter, icon_name, store.look.colour(token), area.center().x() - 10, area.top(), 20)
            area.adjust(0, UNDER_ICON, 0, 0)
        painter.setFont(store.look.text_font(0.94))
        painter.setPen(store.look.colour(token))
        painter.drawText(area, WORDS_FLAGS, words)

    def _picture(self, box: QRect) -> QPixmap:
        whole = self.viewport().grab(box.adjusted(0, 0, 0, -GAP))
        faded = QPixmap(whole.size())
        faded.setDevicePixelRatio(whole.devicePixelRatio())
        faded.fill(Qt.GlobalColor.transparent)
        painter = QPainter(faded)
        painter.setOpacity(0.85)
        painter.drawPixmap(0, 0, whole)
        painter.end()
        return faded

    def _dragged(self, event: QDropEvent) -> TaskCard | None:
        """The card that is being dragged, if it is one of this board's."""
        mime = event.mimeData()
        if not mime.hasFormat(CARD_MIME):
            return None
        return self._board.card(bytes(mime.data(CARD_MIME).data()).decode("utf-8", "replace"))

    def _on_button(self, index: QModelIndex, point: QPoint) -> bool:
        box = self.visualRect(index).adjusted(0, 0, 0, -GAP)
        return self._delegate.button_rect(box, index.data(Role.CARD)).contains(point)

    def _hover(self, task_id: str) -> None:
        if task_id != self._delegate.hovered:
            old, self._delegate.hovered = self._delegate.hovered, task_id
            for changed in (old, task_id):
                if changed:
                    self.repaint_card(changed)

    def _carry_changed(self) -> None:
        self._delegate.carried = self._carry.card.id if self._carry.card is not None else ""
        self.viewport().update()

    def _scroll_near_edge(self, point: QPoint) -> None:
        bar, edge = self.verticalScrollBar(), 36
        if point.y() < edge:
            bar.setValue(bar.value() - 12)
        elif point.y() > self.viewport().height() - edge:
            bar.setValue(bar.value() + 12)
