"""What the window says unasked: banners that stay while something holds, toasts that go by themselves."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtWidgets import QWidget

from agentpane.ui.parts.controls import Button, Frame, IconButton, IconLabel, Label, row
from agentpane.ui.parts.overriding import override

TOAST_MS = 6_000
LETTER_MS = 60  # a long one stays as long as it takes to read
TOAST_WIDTH = 296  # no wider than the last column: the one where work waits stays uncovered
MOST_TOASTS = 3
AT_EDGE = 16
ABOVE_FOOT = 136  # the feet of the panel and the review
ICONS = {
    "note": ("info", "accent"),
    "ask": ("alert", "attention"),
    "fault": ("error", "danger"),
    "review": ("eye", "accent"),
    "good": ("check-circle", "success"),
}


class Banner(Frame):
    """A strip over the content. kind: note, ask, fault or good."""

    def __init__(self, name: str, kind: str, text: str = "") -> None:
        super().__init__(kind, across=True, margin=8, spacing=10)
        self.setObjectName(name)
        self.box.setContentsMargins(12, 6, 8, 6)
        icon_name, token = ICONS[kind]
        self.box.addWidget(IconLabel(icon_name, token))
        self.label = Label(text, wrap=True)
        self.label.setObjectName(f"{name}.text")
        self.box.addWidget(self.label, 1)

    def say(self, text: str) -> None:
        self.label.show_text(text)
        self.setAccessibleName(text)

    def add_button(self, text: str, act: Callable[[], object], name: str, kind: str = "") -> Button:
        button = Button(text, kind=kind, name=name, pressed=act)
        self.box.addWidget(button)
        return button


class Toast(Frame):
    """One outcome, in words. It goes after a while, or when it is pressed away. task: the one that it is about."""

    gone = Signal()

    def __init__(
        self, host: QWidget, kind: str, text: str, act: tuple[str, Callable[[], object]] | None, task: str = ""
    ) -> None:
        super().__init__("toast", margin=0, spacing=4)
        self.task = task
        self.setParent(host)
        self.setObjectName("toast")
        self.setAccessibleName(text)
        icon_name, token = ICONS[kind]
        self.box.setContentsMargins(12, 8, 8, 10 if act is not None else 8)
        self.label = Label(text, wrap=True)
        close = IconButton("x", self.tr("Dismiss"), name="toast.close", pressed=self.gone.emit)
        said = row(IconLabel(icon_name, token), self.label, close, spacing=10)
        said.setStretchFactor(self.label, 1)
        self.box.addLayout(said)
        self.setFixedWidth(TOAST_WIDTH)
        if act is not None:
            words, run = act
            button = Button(words, name="toast.action", pressed=run)
            button.clicked.connect(self.gone)
            self.box.addLayout(row(26, button, None, spacing=0))  # below the words, which have the whole width


class Toasts(QObject):
    """Shows toasts low at the right end of a window, the newest lowest; `stand` says where else."""

    def __init__(self, host: QWidget) -> None:
        super().__init__(host)
        self._host = host
        self._shown: list[Toast] = []
        self._beside: QWidget | None = None
        self._over_foot = False
        host.installEventFilter(self)

    def say(
        self, text: str, kind: str = "good", act: tuple[str, Callable[[], object]] | None = None, task: str = ""
    ) -> None:
        """Show an outcome. Said again, or about the same task, the newer one stands for both."""
        self.drop(task)
        for same in [shown for shown in self._shown if shown.accessibleName() == text]:
            self._take_away(same)
        for oldest in self._shown[: max(len(self._shown) - MOST_TOASTS + 1, 0)]:
            self._take_away(oldest)
        toast = Toast(self._host, kind, text, act, task)
        toast.gone.connect(lambda: self._take_away(toast))
        timer = QTimer(toast)
        timer.setSingleShot(True)
        timer.timeout.connect(toast.gone)
        timer.start(max(TOAST_MS, len(text) * LETTER_MS))
        self._shown.append(toast)
        toast.show()
        self._place()

    def drop(self, task: str) -> None:
        """Take away what is said about a task: it is in view, or holds no more."""
        for toast in [shown for shown in self._shown if task and shown.task == task]:
            self._take_away(toast)

    def stand(self, *, beside: QWidget | None = None, over_foot: bool = False) -> None:
        """beside: at the left, beside this, where lines end in buttons. over_foot: over a place to write and decide."""
        self._beside, self._over_foot = beside, over_foot
        self._place()

    def clear(self) -> None:
        """Take away what is shown: it has been seen, or has come to nothing."""
        for toast in tuple(self._shown):
            self._take_away(toast)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _take_away(self, toast: Toast) -> None:
        if toast in self._shown:
            self._shown.remove(toast)
            toast.hide()
            toast.deleteLater()
            self._place()

    def _place(self) -> None:
        beside = self._beside
        bottom = self._host.height() - (ABOVE_FOOT if self._over_foot else AT_EDGE)
        for toast in reversed(self._shown):
            toast.resize(TOAST_WIDTH, toast.heightForWidth(TOAST_WIDTH))
            bottom -= toast.height()
            right = self._host.width() - toast.width() - AT_EDGE
            toast.move(right if beside is None else beside.width() + AT_EDGE, bottom)
            toast.raise_()
            bottom -= 8
