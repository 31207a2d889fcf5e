"""The small parts that everything is made of: labels of plain text, buttons of few kinds, frames, rows."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QApplication,
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from agentpane.ui.look.icons import IconStore, icon
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import one_line, plain_tip, shown

SMALL_ICON = 16


class Label(QLabel):
    """A label that never guesses at markup."""

    def __init__(self, text: str = "", kind: str = "", *, wrap: bool = False, selectable: bool = False) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        if kind:
            self.setProperty("kind", kind)
        if selectable:
            self.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )
            self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.show_text(text)

    def show_text(self, text: str) -> None:
        """Show text that anybody may have written."""
        self.setText(shown(text))
        self.setAccessibleName(self.text())


class ElidedLabel(Label):
    """One line that is cut with an ellipsis where it does not fit; the tool tip has all of it."""

    def __init__(self, text: str = "", kind: str = "", mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight) -> None:
        self._whole = ""
        self._mode = mode
        super().__init__("", kind)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.show_text(text)

    @property
    def whole(self) -> str:
        """All of the line, cut or not."""
        return self._whole

    @override
    def show_text(self, text: str) -> None:
        self._whole = one_line(text)
        self.setAccessibleName(self._whole)
        self.updateGeometry()
        self._fit()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit()

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(24, super().minimumSizeHint().height())

    def _fit(self) -> None:
        fitted = self.fontMetrics().elidedText(self._whole, self._mode, max(self.width(), 24))
        self.setText(fitted)
        self.setToolTip(plain_tip(self._whole) if fitted != self._whole else "")


class FittingLabel(ElidedLabel):
    """The longest of several wordings that fits, at the right of its room."""

    def __init__(self, kind: str = "") -> None:
        self._wordings: tuple[str, ...] = ("",)
        super().__init__("", kind)
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def show_any(self, wordings: tuple[str, ...]) -> None:
        """Show one of these, the longest first; the first one is the whole."""
        if wordings != self._wordings:
            self._wordings = wordings
            self.show_text(wordings[0])

    @override
    def _fit(self) -> None:
        metrics, room = self.fontMetrics(), max(self.width(), 24)
        fitting = next((text for text in self._wordings if metrics.horizontalAdvance(text) <= room), self._wordings[-1])
        self.setText(metrics.elidedText(fitting, self._mode, room))
        self.setToolTip("" if fitting == self.whole else plain_tip(self.whole))


class Chip(Label):
    """A short word in a rounded frame, never higher than its line."""

    def __init__(self, text: str = "", kind: str = "chip") -> None:
        super().__init__(text, kind, selectable=False)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(20)


class IconLabel(QWidget):
    """An icon that stands beside a word. It is decoration: the word has the meaning."""

    def __init__(self, name: str, token: str = "muted", size: int = SMALL_ICON) -> None:
        super().__init__()
        self._name, self._token, self._size = name, token, size
        self.setFixedSize(size, size)

    def show_icon(self, name: str, token: str) -> None:
        if (name, token) != (self._name, self._token):
            self._name, self._token = name, token
            self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        store = IconStore.current()
        store.draw(QPainter(self), self._name, store.look.colour(self._token), 0, 0, self._size)


class Pressable(QPushButton):
    """A button that Return presses, as Space does, whatever platform it is on.

    Which keys press a button is the platform theme's choice, and where there is no theme Return is not among them.
    """

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        plain = not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if event.key() not in {Qt.Key.Key_Return, Qt.Key.Key_Enter} or not plain:
            super().keyPressEvent(event)
        elif not event.isAutoRepeat():
            self.click()


class Button(Pressable):
    """A button of one of the style sheet's kinds."""

    def __init__(
        self,
        text: str,
        *,
        kind: str = "",
        icon_name: str = "",
        name: str = "",
        tip: str = "",
        pressed: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(text)
        self.setAutoDefault(False)
        self._kind = kind
        if kind:
            self.setProperty("kind", kind)
        if icon_name:
            self.show_icon(icon_name)
        if name:
            self.setObjectName(name)
        self.describe(tip or text)
        if tip:
            self.setToolTip(plain_tip(tip))
        if pressed is not None:
            self.clicked.connect(lambda: pressed())

    def describe(self, name: str) -> None:
        self.setAccessibleName(name.replace("&", ""))

    def show_icon(self, name: str) -> None:
        token = {"primary": "on_fill", "approve": "on_fill", "reject": "on_fill", "danger": "danger"}.get(
            self._kind, "muted" if self._kind in {"quiet", "nav"} else "text"
        )
        self.setIcon(icon(name, token))
        room = 0 if isinstance(self, IconButton) or not self.text() else 4
        self.setIconSize(QSize(SMALL_ICON + room, SMALL_ICON))


class IconButton(Button):
    """A button that is only an icon; its name is in the tool tip and for the screen reader."""

    def __init__(
        self, icon_name: str, tip: str, *, name: str = "", pressed: Callable[[], object] | None = None
    ) -> None:
        super().__init__("", kind="quiet", icon_name=icon_name, name=name, tip=tip, pressed=pressed)
        self.setProperty("icononly", "true")


class ActionButton(Button):
    """Shows a QAction: its text, icon, tip and whether it can be used are the action's own."""

    keys_lost = Signal()  # it has the keys, and cannot be used any more

    def __init__(self, action: QAction, *, kind: str = "", icon_only: bool = False, text: str = "") -> None:
        super().__init__("", kind=kind)
        self._action = action
        self._icon_only = icon_only
        self._own_text = text
        self.setObjectName(f"button.{action.objectName()}")
        if icon_only:
            self.setProperty("icononly", "true")
        action.changed.connect(self._follow)
        self.clicked.connect(lambda: action.trigger())
        self._follow()

    def show_icon_only(self, icon_only: bool) -> None:
        """Leave the words to the tool tip, or say them."""
        if icon_only != self._icon_only:
            self._icon_only = icon_only
            set_state(self, "icononly", "true" if icon_only else "false")
            self._follow()

    def _follow(self) -> None:
        action = self._action
        words = self._own_text or action.text()
        self.setText("" if self._icon_only else words)
        name = action.property("icon_name")
        if isinstance(name, str) and name:
            self.show_icon(name)
        if self.hasFocus() and not action.isEnabled():
            self.keys_lost.emit()
        self.setEnabled(action.isEnabled())
        keys = action.shortcut().toString()
        self.setToolTip(plain_tip(f"{action.text()}  {keys}" if keys else action.text()))
        self.describe(action.text())


class Frame(QFrame):
    """A box of one of the style sheet's kinds, with a layout inside."""

    def __init__(self, kind: str, *, across: bool = False, margin: int = 12, spacing: int = 8) -> None:
        super().__init__()
        self.setProperty("kind", kind)
        self.box: QBoxLayout = QHBoxLayout(self) if across else QVBoxLayout(self)
        self.box.setContentsMargins(margin, margin, margin, margin)
        self.box.setSpacing(spacing)


def row(
    *parts: QWidget | QLayout | int | None, spacing: int = 8, margins: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> QHBoxLayout:
    """Things side by side; a number is a fixed gap, None takes what is left."""
    layout = QHBoxLayout()
    fill(layout, parts, spacing, margins)
    return layout


def stack(
    *parts: QWidget | QLayout | int | None, spacing: int = 8, margins: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> QVBoxLayout:
    """Things one below the other; a number is a fixed gap, None takes what is left."""
    layout = QVBoxLayout()
    fill(layout, parts, spacing, margins)
    return layout


def fill(
    layout: QBoxLayout,
    parts: tuple[QWidget | QLayout | int | None, ...],
    spacing: int,
    margins: tuple[int, int, int, int],
) -> None:
    layout.setSpacing(spacing)
    layout.setContentsMargins(*margins)
    for part in parts:
        if part is None:
            layout.addStretch(1)
        elif isinstance(part, int):
            layout.addSpacing(part)
        elif isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)


def clear(layout: QLayout) -> None:
    """Take everything out of a layout and let it go."""
    while (item := layout.takeAt(0)) is not None:
        widget, inner = item.widget(), item.layout()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
        elif inner is not None:
            clear(inner)


def set_state(widget: QWidget, name: str, value: object) -> None:
    """Set a dynamic property that the style sheet looks at, and have it looked at again."""
    if widget.property(name) != value:
        widget.setProperty(name, value)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def focused_within(part: QWidget) -> str:
    """The name of the control in `part` that has the keys; empty: none of its."""
    focused = QApplication.focusWidget()
    return focused.objectName() if focused is not None and part.isAncestorOf(focused) else ""


def focus_again(part: QWidget, name: str) -> None:
    """Give the keys back to the control of this name, or to another one of `part` where it is gone."""
    buttons = [button for button in part.findChildren(Button) if button.isEnabled() and button.isVisible()]
    same = [button for button in buttons if button.objectName() == name]
    for button in (*same, *buttons)[:1] if name else ():
        button.setFocus(Qt.FocusReason.OtherFocusReason)


class Later(QObject):
    """Does something once, a while after the last time it was asked to."""

    def __init__(self, parent: QObject, wait_ms: int, act: Callable[[], object]) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(wait_ms)
        self._timer.timeout.connect(lambda: act())

    def ask(self) -> None:
        self._timer.start()

    def ask_if_idle(self) -> None:
        """Like `ask`, but a pending one is not put off: at most once in `wait_ms`."""
        if not self._timer.isActive():
            self._timer.start()

    def stop(self) -> None:
        self._timer.stop()
