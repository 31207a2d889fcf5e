"""A task's session, live: the transcript, what waits for a decision, and a line to write to the agent.

It follows the end unless the person has scrolled up. Text that streams in reaches the widgets at most every 33 ms.
"""

from __future__ import annotations

import asyncio

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from agentpane.api import commands, events
from agentpane.domain.approvals import Approval
from agentpane.domain.board import Column
from agentpane.domain.json import JsonObject
from agentpane.domain.runs import PauseReason
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts.controls import Button, Frame, Label, Later, clear
from agentpane.ui.session.approval_card import ApprovalCard
from agentpane.ui.session.plan_card import PLAN_TOOL, PlanCard
from agentpane.ui.session.question_card import QuestionCard
from agentpane.ui.session.session_blocks import CallBlock, LiveText, NoteLine, widget_of
from agentpane.ui.session.transcript import Block, Question, Transcript
from agentpane.ui.session.whole_results import WholeReader
from agentpane.ui.sheets.task_sheet import TextArea

FRAME_MS = 33
PAGE = 500
AT_ONCE = 10  # blocks that are made before the loop gets its turn
ENDS_LIVE = frozenset(
    {EventKind.TEXT, EventKind.THINKING, EventKind.TOOL_CALL, EventKind.RETRY, EventKind.ERROR}
)  # what streamed before is stored, or given up
MOST_BLOCKS = 200  # blocks that have widgets; older ones come when they are asked for
NEAR_END = 48


class SessionView(QWidget):
    """The session of one task at a time."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("session")
        self._desk = desk
        self.task_id = ""
        self._transcript = Transcript()
        self._whole = WholeReader(desk, lambda: self.task_id)
        self._widgets: dict[int, QWidget] = {}
        self._first = 0  # the first block that has a widget
        self._following = True
        self._job: asyncio.Task[object] | None = None
        self._deltas: list[events.SessionDelta] = []
        self._waits_for_answer = False
        self._asked: Question | None = None
        self._flush = Later(self, FRAME_MS, self._show_deltas)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._scroll_area(), 1)
        layout.addWidget(self._jump_bar())
        self._asks = QVBoxLayout()
        self._asks.setContentsMargins(16, 0, 16, 0)
        self._asks.setSpacing(8)
        layout.addLayout(self._asks)
        self._questions = QVBoxLayout()
        self._questions.setContentsMargins(16, 0, 16, 0)
        layout.addLayout(self._questions)
        layout.addWidget(self._composer())
        desk.link.published.connect(self._event)
        desk.known.approvals_changed.connect(self._approvals_changed)

    def show_task(self, task_id: str) -> None:
        """Show another task's session from its first event on."""
        if task_id == self.task_id:
            return
        self.leave()
        self.task_id = task_id
        if task_id:
            self._show_approvals()
            self.reload()

    def leave(self) -> None:
        """Let go of the session that is shown."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self.task_id = ""
        self._transcript = Transcript()
        self._widgets.clear()
        self._first = 0
        self._following = True
        self._deltas.clear()
        self._live.clear()
        clear(self._blocks)
        clear(self._asks)
        self._waits_for_answer = False
        self._show_question()
        self._empty.show()
        self._earlier.hide()

    def reload(self) -> None:
        """Read what has been added since the last event that is shown."""
        if self._job is None or self._job.done():
            self._job = self._desk.jobs.start(self._read(self.task_id), self.tr("Reading the session"), _not_begun)

    def focus_message(self) -> None:
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)

    def show_card(self, card: TaskCard) -> None:
        """An agent in progress can be written to; what it asks is shown while its run waits for the answer."""
        column = card.column
        self._composer_box.setVisible(column is Column.IN_PROGRESS)
        self._waits_for_answer = card.run is not None and card.run.pause_reason is PauseReason.QUESTION
        self._show_question()
        self._empty.show_text(
            self.tr("The session begins when the task is run.")
            if column is Column.BACKLOG
            else self.tr("Nothing has been recorded in this session.")
        )

    def _scroll_area(self) -> QScrollArea:
        inside = QWidget()
        outer = QVBoxLayout(inside)
        outer.setContentsMargins(16, 12, 16, 12)
        outer.setSpacing(10)
        self._earlier = Button(
            self.tr("Show earlier"), kind="quiet", name="session.earlier", pressed=self._show_earlier
        )
        self._earlier.hide()
        outer.addWidget(self._earlier)
        self._empty = Label("", "muted", wrap=True)
        self._empty.setObjectName("session.empty")
        outer.addWidget(self._empty)
        self._blocks = QVBoxLayout()
        self._blocks.setSpacing(10)
        outer.addLayout(self._blocks)
        self._live = LiveText()
        outer.addWidget(self._live)
        outer.addStretch(1)
        scroll = QScrollArea()
        scroll.setObjectName("session.scroll")
        scroll.setAccessibleName(self.tr("Transcript"))
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        self._bar = scroll.verticalScrollBar()
        self._bar.valueChanged.connect(self._scrolled)
        self._bar.rangeChanged.connect(self._grown)
        return scroll

    def _jump_bar(self) -> QWidget:
        self._jump = Frame("bar", across=True, margin=4)
        self._jump.box.addStretch(1)
        self._jump.box.addWidget(
            Button(
                self.tr("To the end"), kind="quiet", icon_name="arrow-down", name="session.end", pressed=self._to_end
            )
        )
        self._jump.box.addStretch(1)
        self._jump.hide()
        return self._jump

    def _composer(self) -> QWidget:
        self._composer_box = Frame("bar", across=True, margin=12)
        self.field = TextArea(
            "session.message",
            self.tr("Message to the agent"),
            self.tr("Message to the agent, read before its next turn"),
            sends=True,
        )
        self.field.setFixedHeight(self.field.fontMetrics().lineSpacing() * 2 + 16)
        self._composer_box.box.addWidget(self.field, 1)
        self._send = Button(self.tr("Send"), kind="primary", icon_name="send", name="session.send", pressed=self.send)
        self._send.setEnabled(False)
        self.field.submitted.connect(self.send)
        self.field.textChanged.connect(lambda: self._send.setEnabled(bool(self.field.toPlainText().strip())))
        self._composer_box.box.addWidget(self._send, 0, Qt.AlignmentFlag.AlignBottom)
        self._composer_box.hide()
        return self._composer_box

    def send(self) -> None:
        """Send what is written to the agent."""
        text = self.field.toPlainText().strip()
        if text and self.task_id:
            self.field.clear()
            self._to_end()
            self._desk.acts.answer(self.task_id, text)

    # Reading

    async def _read(self, task_id: str) -> None:
        while task_id and task_id == self.task_id:
            page = await self._desk.link.do(commands.ReadSession(task_id, after=self._transcript.last_seq, limit=PAGE))
            if task_id != self.task_id:
                return
            await self._add(page)
            if len(page) < PAGE:
                return

    async def _add(self, page: tuple[SessionEvent, ...]) -> None:
        new, changed = self._transcript.take(page)
        self._refresh(changed)
        keep = max(len(self._transcript.blocks) - MOST_BLOCKS, self._first)
        if keep > self._first:
            new = new[-MOST_BLOCKS:]
            self._drop_before(keep)
        for at in range(0, len(new), AT_ONCE):
            self._append(new[at : at + AT_ONCE])
            await asyncio.sleep(0)
        self._show_question()

    def _append(self, blocks: list[Block]) -> None:
        for block in blocks:
            if not block.discarded:
                widget = self._widget_of(block)
                self._widgets[id(block)] = widget
                self._blocks.addWidget(widget)
        if blocks:
            self._empty.hide()

    def _drop_before(self, first: int) -> None:
        for block in self._transcript.blocks[self._first : first]:
            widget = self._widgets.pop(id(block), None)
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._first = first
        self._earlier.show()

    def _widget_of(self, block: Block) -> QWidget:
        widget = widget_of(block, self._whole)
        if isinstance(widget, NoteLine):
            set_back = self._desk.acts.set_back_requested
            widget.set_back_requested.connect(lambda sha, words: set_back.emit(self.task_id, sha, words))
        return widget

    def _show_earlier(self) -> None:
        start = max(self._first - MOST_BLOCKS, 0)
        self._following = False
        for at, block in enumerate(self._transcript.blocks[start : self._first]):
            widget = self._widget_of(block)
            self._widgets[id(block)] = widget
            self._blocks.insertWidget(at, widget)
        self._first = start
        self._earlier.setVisible(start > 0)

    def _refresh(self, changed: list[Block]) -> None:
        for block in changed:
            widget = self._widgets.get(id(block))
            if widget is not None and block.discarded:
                widget.hide()
            elif isinstance(widget, CallBlock | NoteLine):
                widget.refresh()

    # Events

    def _event(self, event: object) -> None:
        if isinstance(event, events.SessionDelta) and event.task_id == self.task_id:
            self._deltas.append(event)
            self._flush.ask_if_idle()
        elif isinstance(event, events.SessionAppended) and event.task_id == self.task_id:
            self._appended(event.events)

    def _appended(self, added: tuple[SessionEvent, ...]) -> None:
        if any(event.kind in ENDS_LIVE and self._transcript.is_own(event) for event in added):
            self._show_deltas()
            self._live.clear()  # also where a read has brought, or will bring, the block
        if self._job is not None and not self._job.done():
            self._job.add_done_callback(lambda _: self.reload() if self.task_id else None)
            return
        if added and added[0].seq > self._transcript.last_seq + 1:
            self.reload()
            return
        new, changed = self._transcript.take(added)
        if new:
            self._show_deltas()
            self._live.clear()
        self._refresh(changed)
        self._append(new)
        self._show_question()

    def _show_deltas(self) -> None:
        deltas, self._deltas = self._deltas, []
        for delta in deltas:
            if delta.stream != "output":
                self._live.add(delta.stream, delta.text)
            elif (call := self._call(delta.call_id or "")) is not None:
                call.show_live(delta.text)
        self._live.render_now()
        if deltas:
            self._empty.hide()

    # Approvals

    def _approvals_changed(self, task_id: str) -> None:
        if self.task_id and task_id in {"", self.task_id}:
            self._show_approvals()

    def _show_approvals(self) -> None:
        clear(self._asks)
        for approval in self._desk.known.pending(self.task_id):
            self._asks.addWidget(self._ask_card(approval))
        if self._asks.count():
            self._asks.addSpacing(4)

    def _show_question(self) -> None:
        asked = self._transcript.question if self._waits_for_answer else None
        if asked == self._asked:
            return
        self._asked = asked
        clear(self._questions)
        if asked is not None:
            question = QuestionCard(asked.text, asked.options)
            question.answered.connect(self._answered)
            self._questions.addWidget(question)
            self._questions.addSpacing(4)

    def _ask_card(self, approval: Approval) -> QWidget:
        if approval.tool == PLAN_TOOL:
            plan = PlanCard(approval)
            plan.decided.connect(self._plan_decided)
            return plan
        card = ApprovalCard(approval)
        card.decided.connect(self._decided)
        return card

    # What is answered goes from below the keys: they are handed to the field for messages.

    def _answered(self, text: str) -> None:
        self.focus_message()
        self._desk.acts.answer(self.task_id, text)

    def _plan_decided(self, approval: str, allow: bool, message: str, edited: JsonObject | None) -> None:
        self.focus_message()
        self._desk.acts.decide(approval, allow=allow, message=message, edited=edited)

    def _decided(self, approval: str, allow: bool, always: bool, message: str) -> None:
        self.focus_message()
        self._desk.acts.decide(approval, allow=allow, always=always, message=message)

    # Scrolling

    def _grown(self, _: int, most: int) -> None:
        if self._following:
            self._bar.setValue(most)

    def _scrolled(self, value: int) -> None:
        self._following = value >= self._bar.maximum() - NEAR_END
        self._jump.setVisible(not self._following)

    def _to_end(self) -> None:
        self._following = True
        self._bar.setValue(self._bar.maximum())

    def _call(self, call_id: str) -> CallBlock | None:
        """The block of a call, a sub-agent's included."""
        for widget in self._widgets.values():
            found = widget.call_of(call_id) if isinstance(widget, CallBlock) else None
            if found is not None:
                return found
        return None


def _not_begun(error: BaseException) -> bool:
    """A card that was never run has no session, which is nothing to be told of."""
    return isinstance(error, AgentPaneError) and error.code is ErrorCode.SESSION_NOT_FOUND
