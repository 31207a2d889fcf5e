"""The review of one task's snapshot: what it is, its files, its diff, and the verdict."""

from __future__ import annotations

import asyncio

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QSplitter, QVBoxLayout, QWidget

from agentpane.api import commands, events
from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.review import ApproveOutcome, ApproveResult, DiffSummary, ReviewComment
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.desk.actions import REVIEW_ACTIONS
from agentpane.ui.desk.acts import short
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, Frame, Label, row, stack
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.review.diff_view import DiffView
from agentpane.ui.review.file_list import FileList, FileModel
from agentpane.ui.review.review_parts import FindBar, OutcomeBox, RemarksSheet, ReviewHead
from agentpane.ui.review.review_standing import OutputSheet, StandingBox
from agentpane.ui.sheets.ask_sheets import LineSheet, RejectSheet
from agentpane.ui.sheets.merge_words import StrategyPicker, strategy_named

LIST_WIDTH = 300


class ReviewPage(QWidget):
    """A full page. Its keys work while it is shown."""

    back_requested = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("page")
        self._desk = desk
        self.task_id = ""
        self._diff: DiffSummary | None = None
        self._comments: list[ReviewComment] = []
        self._job: asyncio.Task[object] | None = None
        self.files = FileModel(self)
        self.list = FileList(self.files)
        self.diff = DiffView()
        self.find_bar = FindBar()
        self.outcome = OutcomeBox()
        self.standing = StandingBox(desk.actions)
        self._merging = False  # an approval waits for its answer
        self._checked = False  # the card has checks that a merge may wait for
        self._conflicts = False  # it cannot be merged as it stands
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.head = ReviewHead()
        self.head.back_requested.connect(self.back_requested)
        layout.addWidget(self.head)
        self.standing.begin_with(self.outcome)
        layout.addWidget(self.standing)
        layout.addWidget(self._middle(), 1)
        layout.addWidget(self._foot())
        self._connect()

    def show_task(self, task_id: str) -> None:
        """Review another task's snapshot."""
        if task_id != self.task_id:
            self.task_id = task_id
            self._diff = None
            self._comments.clear()
            self._show_remark_count()
            self.outcome.hide()
            self.files.show_files(())
            self.standing.show_commits(())
            self.diff.clear()
        self.reload()

    def reload(self) -> None:
        if self._job is not None:
            self._job.cancel()
        self._job = self._desk.jobs.start(self._read(self.task_id), self.tr("Reading the diff"), self._gone)

    def focus_diff(self) -> None:
        self.diff.setFocus(Qt.FocusReason.OtherFocusReason)

    def open_find(self) -> None:
        self.find_bar.show()
        self.find_bar.field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.find_bar.field.selectAll()

    def back(self) -> bool:
        """Close what is open inside the page. False: nothing was."""
        if self.find_bar.isHidden():
            return False
        self._close_find()
        return True

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._own_keys(True)

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._own_keys(False)

    def _own_keys(self, own: bool) -> None:
        for action_id in REVIEW_ACTIONS:
            self._desk.actions[action_id].setEnabled(own)

    # Parts

    def _middle(self) -> QSplitter:
        left = QWidget()
        self._viewed = Label("", "small")
        self._viewed.setObjectName("review.viewed")
        top = row(Label(self.tr("Files"), "caption"), None, self._viewed, margins=(16, 10, 14, 6))
        left.setLayout(stack(spacing=0))
        box = left.layout()
        assert isinstance(box, QVBoxLayout)
        box.addLayout(top)
        box.addWidget(self.list, 1)
        right = QWidget()
        right.setLayout(stack(self.find_bar, self.diff, spacing=0))
        middle = QSplitter(Qt.Orientation.Horizontal)
        middle.setHandleWidth(1)
        middle.setChildrenCollapsible(False)
        middle.addWidget(left)
        middle.addWidget(right)
        middle.setStretchFactor(0, 0)
        middle.setStretchFactor(1, 1)
        middle.setSizes([LIST_WIDTH, 1000])
        return middle

    def _foot(self) -> QFrame:
        foot = Frame("bar", across=True, margin=12, spacing=10)
        strategy = strategy_named(self._desk.known.settings.merge_strategy)
        self.picker = StrategyPicker("", "", strategy)
        foot.box.addWidget(self.picker, 1)
        self._remarks = Button("", kind="quiet", icon_name="message", name="review.remarks", pressed=self._show_remarks)
        foot.box.addWidget(self._remarks, 0, Qt.AlignmentFlag.AlignBottom)
        self.reject_button = Button(
            self.tr("Reject"), kind="danger", icon_name="x", name="review.reject", pressed=self.reject
        )
        self.approve_button = Button(
            self.tr("Approve and merge"), kind="approve", icon_name="check", name="review.approve", pressed=self.approve
        )
        foot.box.addWidget(self.reject_button, 0, Qt.AlignmentFlag.AlignBottom)
        foot.box.addWidget(self.approve_button, 0, Qt.AlignmentFlag.AlignBottom)
        self._show_remark_count()
        return foot

    def _connect(self) -> None:
        actions, acts = self._desk.actions, self._desk.acts
        for action_id, act in (
            ("review.next_file", lambda: self._step_file(1)),
            ("review.previous_file", lambda: self._step_file(-1)),
            ("review.next_hunk", lambda: self.diff.step_hunk(1)),
            ("review.previous_hunk", lambda: self.diff.step_hunk(-1)),
            ("review.comment", self.diff.comment_here),
        ):
            actions.on(action_id, act)
        self.list.chosen.connect(self._go_to_file)
        self.files.viewed_changed.connect(self._show_viewed)
        self.diff.file_changed.connect(lambda path: self.list.setCurrentIndex(self.files.index_of(path)))
        self.diff.comment_requested.connect(self._comment)
        self.find_bar.wanted.connect(lambda text, on: self.find_bar.show_result(self.diff.search(text, on)))
        self.find_bar.closed.connect(self._close_find)
        acts.answered.connect(self._answered)
        acts.approved.connect(self._approved)
        acts.rejected.connect(self._rejected)
        acts.handed_over.connect(lambda task: self.back_requested.emit() if task == self.task_id else None)
        self.standing.card_requested.connect(acts.open_requested)
        self.standing.place_requested.connect(self._go_to_place)
        self.standing.output_requested.connect(lambda check: OutputSheet(self._desk.window, check).open())
        self._desk.link.published.connect(self._event)

    # The verdict

    def approve(self) -> None:
        """Merge exactly the commit that is shown."""
        if self._diff is not None:
            self._merging = True
            self._busy(True)
            self.outcome.hide()
            self._desk.acts.approve(self.task_id, self._diff.snapshot, self.picker.strategy)

    def reject(self) -> None:
        if self._diff is not None and open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._reject(), self.tr("Sending the card back"))

    async def _reject(self) -> None:
        sheet = RejectSheet(self._desk.window, len(self._comments))
        sheet.open()
        reason = await sheet.answer()
        if isinstance(reason, str):
            self._busy(True)
            self._desk.acts.reject(self.task_id, reason, tuple(self._comments))

    def _approved(self, task_id: str, outcome: ApproveOutcome) -> None:
        if task_id != self.task_id:
            return
        self._busy(False)
        if outcome.result is ApproveResult.MERGED:
            self.back_requested.emit()
        else:
            self.outcome.show_outcome(outcome)

    def _rejected(self, task_id: str) -> None:
        """The comments have gone to the agent with the reason."""
        if task_id == self.task_id:
            self._comments.clear()
            self._comments_changed()
            self.back_requested.emit()

    def _answered(self, task_id: str) -> None:
        if task_id == self.task_id:
            self._merging = False
            self._busy(False)

    def _busy(self, busy: bool) -> None:
        busy = busy or self._merging
        off = busy or self._conflicts  # the ways on from a conflict are beside the diff
        if (off and self.approve_button.hasFocus()) or (busy and self.reject_button.hasFocus()):
            self.focus_diff()  # a button that cannot be pressed any more would hand the keys to anything
        self.approve_button.setEnabled(not off)
        self.reject_button.setEnabled(not busy)
        words = self.tr("Merges when its checks pass") if self._checked else self.tr("Merging…")
        self.approve_button.setText(words if self._merging else self.tr("Approve and merge"))
        self.approve_button.describe(self.approve_button.text())

    # Reading

    async def _read(self, task_id: str) -> None:
        self._busy(True)
        do = self._desk.link.do
        task = await do(commands.GetTask(task_id))
        if task_id != self.task_id:
            return
        self._show_task(task)
        diff = await do(commands.GetDiff(task_id))
        if task_id != self.task_id:
            return
        same = self._diff is not None and self._diff.snapshot == diff.snapshot
        self._diff = diff
        self._show_diff(diff, keep_viewed=same)
        if not same:
            await self._read_patch(task_id, diff.snapshot)
        self._busy(task.card.column is not Column.WAITING_APPROVAL or task.card.resolving is not None)

    async def _read_patch(self, task_id: str, snapshot: str) -> None:
        """Fetch the patch; its first part is shown while the rest is on its way."""
        parts: list[bytes] = []
        offset: int | None = 0
        while offset is not None:
            chunk = await self._desk.link.do(commands.GetPatch(task_id, snapshot, offset))
            if task_id != self.task_id:
                return
            parts.append(chunk.data)
            if chunk.next_offset is not None and len(parts) == 1:
                self.diff.show_patch(chunk.data)
            offset = chunk.next_offset
        self.diff.show_patch(b"".join(parts))

    def _show_task(self, task: Task) -> None:
        self.standing.show_task(task)
        self._checked, self._conflicts = bool(task.card.checks), bool(task.card.conflicts)
        if task.card.resolving is not None:
            self.outcome.hide()  # what it said is being done
        project = self._desk.known.projects.get(task.card.project_id)
        self.head.show_task(task, recorded=project is not None and project.recorded)

    def _show_diff(self, diff: DiffSummary, *, keep_viewed: bool) -> None:
        self.head.show_diff(diff)
        self.standing.show_commits(diff.commits, more=diff.more_commits)
        self.picker.aim(diff.snapshot, diff.target)
        self.files.show_files(diff.files, keep_viewed=keep_viewed)
        self.diff.show_notes(diff.files)
        if diff.files:
            self.list.setCurrentIndex(self.files.index(0))

    def _event(self, event: object) -> None:
        """A snapshot that was replaced while it is looked at is read anew."""
        if isinstance(event, events.TaskChanged) and event.card.id == self.task_id and self.isVisible():
            if event.card.column is Column.WAITING_APPROVAL:
                self.reload()
            elif not self._merging:
                self._left(event.card.column)

    def _left(self, column: Column) -> None:
        """Somebody else has decided: there is nothing to review any more."""
        words = self.tr("{0} is in {1} now.").format(short(self.head.title.whole), COLUMN_TITLES[column])
        self._desk.toasts.say(words, "note")
        self.back_requested.emit()

    def _gone(self, error: BaseException) -> bool:
        """A diff that is no more closes the page."""
        known = {ErrorCode.TASK_NO_DIFF, ErrorCode.TASK_NOT_FOUND}
        if isinstance(error, AgentPaneError) and error.code in known and self.isVisible():
            self._desk.toasts.say(error.message, "note")
            self.back_requested.emit()
            return True
        return False

    # Files, comments, search

    def _step_file(self, by: int) -> None:
        row = self.list.currentIndex().row() + by
        if 0 <= row < self.files.rowCount():
            self.files.mark(self.list.currentIndex().row(), True)
            self._go_to_file(row)

    def _go_to_file(self, number: int) -> None:
        self.diff.go_to_path(self.files.file(number).path)
        self.list.setCurrentIndex(self.files.index(number))

    def _go_to_place(self, path: str, line: int) -> None:
        self.diff.go_to_line(path, line)
        self.focus_diff()

    def _show_viewed(self) -> None:
        self._viewed.show_text(
            self.tr("{0} of {1} looked at").format(
                figures.count(self.files.viewed), figures.count(self.files.rowCount())
            )
        )

    def _comment(self, path: str, line: int, old_side: bool) -> None:
        if open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._write_comment(path, line, old_side), self.tr("Writing a comment"))

    async def _write_comment(self, path: str, line: int, old_side: bool) -> None:
        title = self.tr("Comment on line {0}").format(figures.count(line))
        sheet = LineSheet(
            self._desk.window, title, self.tr("What the agent should change here"), self.tr("Add comment")
        )
        sheet.open()
        body = await sheet.answer()
        if isinstance(body, str):
            self._comments.append(ReviewComment(path, line, body, old_side))
            self._comments_changed()

    def _comments_changed(self) -> None:
        self.diff.show_comments(tuple(self._comments))
        self._show_remark_count()

    def _show_remark_count(self) -> None:
        number = len(self._comments)
        self._remarks.setText(figures.plural(number, self.tr("{0} comment"), self.tr("{0} comments")))
        self._remarks.describe(self._remarks.text())
        self._remarks.setVisible(number > 0)

    def _show_remarks(self) -> None:
        self._desk.jobs.start(self._edit_remarks(), self.tr("Comments"))

    async def _edit_remarks(self) -> None:
        sheet = RemarksSheet(self._desk.window, self._comments)
        sheet.open()
        kept = await sheet.answer()
        if isinstance(kept, tuple):
            self._comments = list(kept)
            self._comments_changed()

    def _close_find(self) -> None:
        self.find_bar.hide()
        self.diff.search("")
        self.focus_diff()
