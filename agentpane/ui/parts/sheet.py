"""A dialog as a sheet inside its window: modal, never a nested event loop, and its answer is a signal or a future."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QRect, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from agentpane.ui.look.theme import Look
from agentpane.ui.parts.controls import Button, IconButton, Label, row
from agentpane.ui.parts.overriding import override

SHADE = 150
MARGIN = 24


class Sheet(QWidget):
    """A titled surface over a dimmed window. `finished` carries the answer, None when it was dismissed."""

    finished = Signal(object)

    def __init__(self, host: QWidget, title: str, name: str, *, width: int = 520, at_top: bool = False) -> None:
        super().__init__(host.window())
        self._host = host.window()
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._width = width
        self._at_top = at_top
        self._before: QWidget | None = None
        self._done = False
        self._surface = QFrame(self)
        self._surface.setObjectName("sheet")
        outer = QVBoxLayout(self._surface)
        outer.setContentsMargins(MARGIN, 20, MARGIN, 20)
        outer.setSpacing(16)
        if title:
            self.title = Label(title, "heading", wrap=True)
            close = IconButton("x", self.tr("Close"), name=f"{name}.close", pressed=self.dismiss)
            close.setFixedWidth(close.sizeHint().width())
            head = row(self.title, close)
            head.setStretchFactor(self.title, 1)
            head.setAlignment(close, Qt.AlignmentFlag.AlignTop)
            outer.addLayout(head)
        self.body = QVBoxLayout()
        self.body.setSpacing(12)
        outer.addLayout(self.body)
        self.buttons = QHBoxLayout()
        self.buttons.setSpacing(8)
        outer.addLayout(self.buttons)
        self.hide()

    def add_button(
        self, text: str, act: Callable[[], object], *, kind: str = "", name: str = "", icon_name: str = ""
    ) -> Button:
        """Add a button at the right end of the last row."""
        if not self.buttons.count():
            self.buttons.addStretch(1)
        button = Button(text, kind=kind, name=name, icon_name=icon_name, pressed=act)
        self.buttons.addWidget(button)
        return button

    def open(self, focus: QWidget | None = None) -> None:
        """Show the sheet and give it the keys."""
        self._before = QApplication.focusWidget()
        self._host.installEventFilter(self)
        self._place()
        self.show()
        self.raise_()
        reachable = self._focusable()
        inside = [widget for widget in reachable if widget.objectName() != f"{self.objectName()}.close"]
        target = focus or next(iter(inside or reachable), None)
        if target is not None:
            target.setFocus(Qt.FocusReason.TabFocusReason)

    def answer(self) -> asyncio.Future[object]:
        """What the person answers, for a coroutine to wait for."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.finished.connect(lambda value: None if future.done() else future.set_result(value))
        return future

    def finish(self, value: object) -> None:
        if self._done:
            return
        self._done = True
        self._host.removeEventFilter(self)
        self.hide()
        if self._before is not None and _alive(self._before) and self._before.isVisible():
            self._before.setFocus(Qt.FocusReason.OtherFocusReason)
        self.finished.emit(value)
        self.deleteLater()

    def dismiss(self) -> None:
        self.finish(None)

    def accept(self) -> None:
        """What Ctrl+Return does; a sheet with a main button overrides it."""

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in {QEvent.Type.Resize, QEvent.Type.LayoutRequest}:
            self._place()
        return False

    @override
    def event(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.LayoutRequest:
            self._place()
        return super().event(event)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.dismiss()
        elif event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and event.modifiers():
            self.accept()
        event.accept()

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        event.accept()

    @override
    def focusNextPrevChild(self, forward: bool) -> bool:
        """Keep the focus inside."""
        widgets = self._focusable()
        if not widgets:
            return True
        current = QApplication.focusWidget()
        at = widgets.index(current) if current in widgets else -1
        step = 1 if forward else -1
        widgets[(at + step) % len(widgets)].setFocus(
            Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason
        )
        return True

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        shade = QColor(Look.current().colour("canvas")) if Look.current().tokens.dark else QColor(31, 35, 40)
        shade.setAlpha(SHADE if Look.current().tokens.dark else 90)
        painter.fillRect(self.rect(), shade)

    def _place(self) -> None:
        host = self._host
        self.setGeometry(host.rect())
        width = min(self._width, host.width() - 2 * MARGIN)
        layout = self._surface.layout()
        assert layout is not None
        wanted = layout.totalHeightForWidth(width) if layout.hasHeightForWidth() else layout.totalSizeHint().height()
        height = min(max(wanted, layout.totalMinimumSize().height()), host.height() - 2 * MARGIN)
        top = 72 if self._at_top else max((host.height() - height) * 2 // 5, MARGIN)
        self._surface.setGeometry(QRect((host.width() - width) // 2, top, width, height))

    def _focusable(self) -> list[QWidget]:
        # Not by nextInFocusChain: the binding takes what that returns for a part of the sheet, and with the sheet
        # every widget of the window that was passed on the way is lost to Python.
        return [
            widget
            for widget in self.findChildren(QWidget)
            if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.isEnabled() and widget.isVisible()
        ]


def open_sheet(window: QWidget) -> Sheet | None:
    """The sheet on top of a window, if one is open."""
    sheets = [sheet for sheet in window.findChildren(Sheet) if sheet.isVisible()]
    return sheets[-1] if sheets else None


def _alive(widget: QWidget) -> bool:
    try:
        widget.objectName()
    except RuntimeError:  # the C++ side is gone
        return False
    return True
