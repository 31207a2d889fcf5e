"""The widgets of a session's transcript, one for each kind of block."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from PySide6.QtCore import QCoreApplication, Qt, QTimer, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from agentpane.ui.parts import figures
from agentpane.ui.parts.code_box import CodeBox
from agentpane.ui.parts.controls import Button, ElidedLabel, Frame, IconButton, IconLabel, Label, row
from agentpane.ui.parts.markdown import MarkdownView
from agentpane.ui.parts.plain import shown
from agentpane.ui.session.pictures import PictureView
from agentpane.ui.session.sub_agent_view import SubAgentView
from agentpane.ui.session.tool_text import DELEGATE, icon_of, parts, summary, title_of
from agentpane.ui.session.transcript import Block, BlockKind, outcome

TICK_MS = 500
LIVE_OUTPUT = 8_000  # characters of a running call's output that are kept in view


class Whole(Protocol):
    """Reads what an event only refers to. Both show it in the block when it is there."""

    def output(self, block: Block, widget: CallBlock) -> None: ...

    def pictures(self, block: Block, widget: CallBlock) -> None: ...

    def open(self, picture: PictureView) -> None: ...


class CallBlock(Frame):
    """A tool call folded to one line: tool, target, outcome, duration. Opened, it shows input and output in full.

    A call that a sub-agent carries out says who works and shows what it does in the place of the output.
    """

    def __init__(self, block: Block, whole: Whole) -> None:
        super().__init__("call", margin=0, spacing=0)
        self.block = block
        self.setObjectName(f"call.{block.call_id}")
        self._whole = whole
        self._body: QWidget | None = None
        self._output: CodeBox | None = None
        self._part: SubAgentView | None = None
        self._pictures: QVBoxLayout | None = None
        self._pictured = 0
        self._words: Label | None = None
        self._live = ""
        self._settled = False
        self._chevron = IconButton("chevron-right", self.tr("Show the call"), name="call.open", pressed=self.toggle)
        self._icon = IconLabel(icon_of(block.tool), "muted")
        self._state = IconLabel("clock", "muted", 14)
        self._word = Label("", "small")
        self._facts = Label("", "small")
        name = Label(title_of(block.tool), "strong")
        target = ElidedLabel(summary(block.tool, block.input), "" if block.tool == DELEGATE else "fixed")
        line = row(self._chevron, self._icon, name, target, self._word, self._state, spacing=6, margins=(2, 2, 10, 2))
        line.setStretchFactor(target, 1)
        self.box.addLayout(line)
        self._facts_row = QWidget()
        self._facts_row.setLayout(row(self._facts, None, margins=(62, 0, 10, 6)))
        self._facts_row.hide()
        self.box.addWidget(self._facts_row)
        self.refresh()

    def refresh(self) -> None:
        """Show how the call stands."""
        if self._settled:
            return
        part = self.block.part
        icon_name, token, word = outcome(self.block)
        self._state.show_icon(icon_name, token)
        self._word.show_text(word)
        said = [f"{title_of(self.block.tool)} {summary(self.block.tool, self.block.input)}"]
        if part is not None:
            self._facts.show_text(part.words())
            self._facts_row.show()
            said.append(part.words())
        self.setAccessibleName(", ".join([*said, word]))
        if self._body is not None:
            self._show_output()
            self._show_part()
            self.show_pictures()
        self._settled = self.block.result is not None and part is None and self._body is not None

    def show_live(self, text: str) -> None:
        """Output as it comes, before the result is stored."""
        self._live = (self._live + text)[-LIVE_OUTPUT:]
        if self._body is not None and self.block.result is None:
            self._show_output()

    def call_of(self, call_id: str) -> CallBlock | None:
        """This call, or one that its sub-agent makes."""
        if self.block.call_id == call_id:
            return self
        for _, widget in self._part.shown if self._part is not None else ():
            found = widget.call_of(call_id) if isinstance(widget, CallBlock) else None
            if found is not None:
                return found
        return None

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
        for part in parts(self.block.tool, self.block.input) if self.block.part is None else ():
            if part.caption:
                layout.addWidget(Label(part.caption, "small", wrap=True))
            layout.addWidget(CodeBox(part.text, self.tr("Input"), diff=part.diff))
        self._inside = QVBoxLayout()
        layout.addLayout(self._inside)
        self._words = Label("", wrap=True, selectable=True)
        self._words.setObjectName("call.words")
        layout.addWidget(self._words)
        self._pictures = QVBoxLayout()
        self._pictures.setSpacing(8)
        layout.addLayout(self._pictures)
        self._caption = Label(self.tr("Output"), "caption")
        self._output = CodeBox("", self.tr("Output"))
        self._output.setObjectName("call.output")
        layout.addWidget(self._caption)
        layout.addWidget(self._output)
        self._add_buttons(layout)
        self.box.addWidget(self._body)
        self._body.show()
        self._settled = False
        self.refresh()

    def _add_buttons(self, layout: QVBoxLayout) -> None:
        """What brings what is too large for an event."""
        for wanted, words, name, act in (
            (self.block.blob, self.tr("Show all of it"), "call.whole", self._whole.output),
            (self.block.pictures_blob, self.tr("Show the picture"), "call.pictures", self._whole.pictures),
        ):
            if wanted is not None:
                button = Button(words, kind="quiet", name=name)
                button.clicked.connect(partial(self._ask, button, act))
                layout.addLayout(row(button, None))

    def _ask(self, button: Button, act: Callable[[Block, CallBlock], None], _: bool = False) -> None:
        button.setEnabled(False)
        act(self.block, self)

    def show_output(self, text: str) -> None:
        """Show the whole of a long output."""
        if self._output is not None:
            self._output.show_text(shown(text))

    def show_pictures(self) -> None:
        """Show the pictures of the result."""
        if self._pictures is not None:
            for media_type, content in self.block.pictures[self._pictured :]:
                view = PictureView(media_type, content)
                self._pictures.addLayout(row(view, None))
                self._whole.open(view)
            self._pictured = len(self.block.pictures)

    def _show_part(self) -> None:
        if self.block.part is None:
            return
        if self._part is None:
            self._part = SubAgentView(self.block.part, lambda block: widget_of(block, self._whole), _again)
            self._inside.addWidget(self._part)
        else:
            self._part.refresh()

    def _show_output(self) -> None:
        """What came of it: in a box, or, of a sub-agent, in words where its own transcript does not have them."""
        if self._output is None or self._words is None:
            return
        within = self.block.part is not None
        pictured = bool(self.block.pictures or self.block.pictures_blob) and not self.block.result
        text = self.block.result if self.block.result is not None else shown(self._live)
        if self.block.denied:
            text = self.tr("Denied: {0}").format(self.block.denied)
        self._caption.setVisible(not within and not pictured)
        self._output.setVisible(not within and not pictured)
        self._output.show_text(text or self.tr("(nothing)"))
        self._words.setVisible(within and bool(text) and (self.block.result is None or self.block.failed))
        self._words.show_text(text)


def _again(widget: QWidget, _: Block) -> None:
    if isinstance(widget, CallBlock | NoteLine):
        widget.refresh()


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


class NoteLine(QWidget):
    """One line about what happened. That of a try which is waited for counts down to it.

    That of a turn offers to set the worktree back to what the turn left.
    """

    set_back_requested = Signal(str, str)  # the snapshot, and the words of the line

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.setObjectName("note")
        self._block = block
        self._words = Label(block.text, "small", wrap=True)
        icon, clock = IconLabel(block.icon, block.token, 14), Label(figures.clock(block.at), "small")
        line = row(icon, self._words, clock, spacing=8)
        line.setStretchFactor(self._words, 1)
        for part in (icon, clock):
            line.setAlignment(part, Qt.AlignmentFlag.AlignTop)
        if block.left:
            for part in (icon, clock):
                line.setAlignment(part, Qt.AlignmentFlag.AlignVCenter)
            back = IconButton("undo", self.tr("Set the worktree back to here"), name="note.set_back")
            back.describe(self.tr("Set the worktree back to {0}").format(block.text))
            back.clicked.connect(lambda: self.set_back_requested.emit(block.left, block.text))
            line.addWidget(back)
        self.setLayout(line)
        self._tick = QTimer(self)
        self._tick.setInterval(TICK_MS)
        self._tick.timeout.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        until = self._block.until
        left = 0 if until is None else math.ceil((until - datetime.now(UTC)).total_seconds())
        if left > 0:
            self._words.show_text(self.tr("{0} Next try in {1}.").format(self._block.text, figures.duration(left)))
            self._tick.start()
        else:
            self._tick.stop()
            self._words.show_text(self._block.text)


def widget_of(block: Block, whole: Whole) -> QWidget:
    """The widget that shows a block."""
    match block.kind:
        case BlockKind.CALL:
            return CallBlock(block, whole)
        case BlockKind.THOUGHT:
            return ThoughtBlock(block.text)
        case BlockKind.TEXT:
            return MarkdownView(block.text)
        case BlockKind.PRINTED:
            return CodeBox(block.text.strip("\n"), QCoreApplication.translate("Session", "What the command printed"))
        case BlockKind.SAID:
            box = Frame("said", margin=10, spacing=4)
            if block.who:
                box.box.addWidget(Label(block.who, "small"))
            box.box.addWidget(Label(block.text.strip(), wrap=True, selectable=True))
            return box
        case BlockKind.FAULT:
            box = Frame("fault", across=True, margin=10)
            icon = IconLabel("error", "danger")
            box.box.addWidget(icon, 0, Qt.AlignmentFlag.AlignTop)
            box.box.addWidget(Label(block.text, wrap=True, selectable=True), 1)
            return box
    return NoteLine(block)
