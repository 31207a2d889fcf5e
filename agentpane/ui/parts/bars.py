"""A thin bar that shows a share at a glance. It is decoration: the words beside it have the meaning."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from agentpane.ui.look.theme import Look
from agentpane.ui.parts.overriding import override

HEIGHT = 4


class ShareBar(QWidget):
    """From 0 at the left to 1 at the right, in the colour of a token."""

    def __init__(self, share: float = 0.0, token: str = "accent", height: int = HEIGHT) -> None:
        super().__init__()
        self._share, self._token = share, token
        self.setFixedHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_share(self, share: float, token: str) -> None:
        self._share, self._token = share, token
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        look = Look.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        radius = self.height() / 2
        painter.setBrush(look.colour("border"))
        painter.drawRoundedRect(QRectF(self.rect()), radius, radius)
        share = min(max(self._share, 0.0), 1.0)
        if share > 0:
            width = max(self.width() * share, float(self.height()))  # the least that is seen
            painter.setBrush(look.colour(self._token))
            painter.drawRoundedRect(QRectF(0, 0, width, self.height()), radius, radius)
