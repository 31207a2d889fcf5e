"""The widgets of a session's transcript, one for each kind of block."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from agentpane.ui import figures
from agentpane.ui.code_box import CodeBox
from agentpane.ui.controls import Button, ElidedLabel, Frame, IconButton, IconLabel, Label, row
from agentpane.ui.markdown import MarkdownView
from agentpane.ui.plain import shown
from agentpane.ui.tool_text import TOOL_ICONS, parts, summary
from agentpane.ui.transcript import Block, BlockKind, outcome

LIVE_OUTPUT = 8_000  # characters of a running call's output that are kept in view


class CallBlock(Frame):
    """A tool call folded to one line: tool, target, outcome, duration. Opened, it shows input and output in full."""

    def __init__(self, block: Block, whole: Callable[[Block, CallBlock], None]) -> None:
        super().__init__("call", margin=0, spacing=0)
        self.block = block
        self.setObjectName(f"call.{block.call_id}")
        self._whole = whole
        self._body: QWidget | None = None
        self._output: CodeBox | None = None
        self._live = ""
        self._chevron = IconButton("chevron-right", self.tr("Show the call"), pressed=self.toggle)
        self._icon = IconLabel(TOOL_ICONS.get(block.tool, "terminal"), "muted")
        self._state = IconLabel("clock", "muted", 14)
        self._word = Label("", "small")
        name = Label(block.tool, "strong")
        target = ElidedLabel(summary(block.tool, block.input), "fixed")
        line = row(self._chevron, self._icon, name, target, self._word, self._state, spacing=6, margins=(2, 2, 10, 2))
        line.setStretchFactor(target, 1)
        self.box.addLayout(line)
        self.refresh()

    def refresh(self) -> None:
        """Show how the call stands."""
        icon_name, token, word = outcome(self.block)
        self._state.show_icon(icon_name, token)
        self._word.show_text(word)
        self.setAccessibleName(f"{self.block.tool} {summary(self.block.tool, self.block.input)}, {word}")
        if self._body is not None:
            self._show_output()

    def show_live(self, text: str) -> None:
        """Output as it comes, before the result is stored."""
        self._live = (self._live + text)[-LIVE_OUTPUT:]
        if self._body is not None and self.block.result is None:
            self._show_output()

    def toggle(self) -> None:
        if self._body is None:
            self._open()
        else:
            self._body.setVisible(self._body.isHidden())
        opened = self._body is not None and not self._body.isHidden()
        self._chevron.show_icon("chevron-down" if opened else "chevron-right")
        self._chevron.describe(self.tr("Hide the call") if opened else self.tr("Show the call"))

    def _open(self) -> None:
        self._body = QWidget()
        layout = QVBoxLayout(self._body)
        layout.setContentsMargins(10, 0, 10, 10)
        layout.setSpacing(6)
        for part in parts(self.block.tool, self.block.input):
            if part.caption:
                layout.addWidget(Label(part.caption, "small", wrap=True))
            layout.addWidget(CodeBox(part.text, self.tr("Input"), diff=part.diff))
        self._output = CodeBox("", self.tr("Output"))
        self._output.setObjectName("call.output")
        layout.addWidget(Label(self.tr("Output"), "caption"))
        layout.addWidget(self._output)
        if self.block.blob is not None:
            layout.addLayout(
                row(
                    Button(
                        self.tr("Show all of it"),
                        kind="quiet",
                        name="call.whole",
                        pressed=lambda: self._whole(self.block, self),
                    ),
                    None,
                )
            )
        self.box.addWidget(self._body)
        self._show_output()

    def show_output(self, text: str) -> None:
        """Show the whole of a long output."""
        if self._output is not None:
            self._output.show_text(shown(text))

    def _show_output(self) -> None:
        if self._output is None:
            return
        text = self.block.result if self.block.result is not None else shown(self._live)
        if self.block.denied:
            text = self.tr("Denied: {0}").format(self.block.denied)
        self._output.show_text(text or self.tr("(nothing)"))


class ThoughtBlock(QWidget):
    """What the model thought, folded to one line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._label: Label | None = None
        self._button = Button(self.tr("Thought"), kind="quiet", icon_name="think", name="thought", pressed=self.toggle)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row(self._button, None))

    def toggle(self) -> None:
        if self._label is None:
            self._label = Label(self._text, "muted", wrap=True, selectable=True)
            self._label.setContentsMargins(32, 0, 0, 4)
            layout = self.layout()
            assert layout is not None
            layout.addWidget(self._label)
        else:
            self._label.setVisible(self._label.isHidden())


class LiveText(QWidget):
    """Text that is being written now: plain until it is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("session.live")
        self._thought = Label("", "small")
        self._text = Label("", wrap=True, selectable=True)
        self._text.setObjectName("session.live.text")
        self._words = ""
        self._thinking = 0
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._thought)
        layout.addWidget(self._text)
        self.clear()

    def add(self, stream: str, text: str) -> None:
        if stream == "thinking":
            self._thinking += len(text)
        else:
            self._words += text

    def clear(self) -> None:
        self._words, self._thinking = "", 0
        self.render_now()

    def render_now(self) -> None:
        self._thought.setVisible(self._thinking > 0 and not self._words)
        if self._thinking and not self._words:
            self._thought.show_text(self.tr("Thinking, {0} characters so far").format(figures.count(self._thinking)))
        self._text.setVisible(bool(self._words))
        if self._words:
            self._text.show_text(self._words)
        self.setVisible(bool(self._words or self._thinking))


def widget_of(block: Block, whole: Callable[[Block, CallBlock], None]) -> QWidget:
    """The widget that shows a block."""
    match block.kind:
        case BlockKind.CALL:
            return CallBlock(block, whole)
        case BlockKind.THOUGHT:
            return ThoughtBlock(block.text)
        case BlockKind.TEXT:
            return MarkdownView(block.text)
        case BlockKind.SAID:
            box = Frame("said", margin=10)
            box.box.addWidget(Label(block.text.strip(), wrap=True, selectable=True))
            return box
        case BlockKind.FAULT:
            box = Frame("fault", across=True, margin=10)
            icon = IconLabel("error", "danger")
            box.box.addWidget(icon, 0, Qt.AlignmentFlag.AlignTop)
            box.box.addWidget(Label(block.text, wrap=True, selectable=True), 1)
            return box
    return note(block)


def note(block: Block) -> QWidget:
    holder = QWidget()
    words = ElidedLabel(block.text, "small")
    line = row(IconLabel(block.icon, block.token, 14), words, Label(figures.clock(block.at), "small"), spacing=8)
    line.setStretchFactor(words, 1)
    holder.setLayout(line)
    return holder
