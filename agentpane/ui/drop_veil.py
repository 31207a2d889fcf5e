"""Covers the window while a folder is dragged over it, and says what dropping it does."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from agentpane.ui.look.icons import IconStore
from agentpane.ui.parts.overriding import override


class DropVeil(QWidget):
    """Takes no events of its own: the window under it does."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.setObjectName("drop_veil")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def cover(self) -> None:
        self.setGeometry(self._window.rect())
        self.show()
        self.raise_()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        store = IconStore.current()
        look = store.look
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = QColor(look.colour("canvas"))
        ground.setAlpha(225)
        painter.fillRect(self.rect(), ground)
        box = QRectF(self.rect()).adjusted(24, 24, -24, -24)
        painter.setPen(QPen(look.colour("accent"), 2, Qt.PenStyle.DashLine))
        painter.drawRoundedRect(box, 12, 12)
        middle = self.rect().center()
        store.draw(painter, "folder-plus", look.colour("accent"), middle.x() - 20, middle.y() - 56, 40)
        painter.setPen(look.colour("text"))
        painter.setFont(look.text_font(1.3, strong=True))
        words = self.tr("Drop the folder to add it as a project")
        painter.drawText(self.rect().adjusted(0, 24, 0, 24), Qt.AlignmentFlag.AlignCenter, words)
