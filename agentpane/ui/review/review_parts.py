"""Parts of the review page: its head, the find bar, the outcome of an approval, the list of remarks."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit, QWidget

from agentpane.domain.review import ApproveOutcome, ApproveResult, DiffSummary, ReviewComment
from agentpane.domain.tasks import Task
from agentpane.ui.cards.card_text import run_facts
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import (
    Button,
    Chip,
    ElidedLabel,
    Frame,
    IconButton,
    IconLabel,
    Label,
    clear,
    row,
    stack,
)
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import display_path
from agentpane.ui.parts.sheet import Sheet


class ReviewHead(Frame):
    """What is reviewed: the card, the commit, where it goes, who made it and how large it is."""

    back_requested = Signal()

    def __init__(self) -> None:
        super().__init__("head", across=True, margin=0, spacing=12)
        self.box.setContentsMargins(12, 10, 16, 10)
        back = IconButton(
            "arrow-left", self.tr("Back to the board"), name="review.back", pressed=self.back_requested.emit
        )
        self.box.addWidget(back, 0, Qt.AlignmentFlag.AlignTop)
        self.title = ElidedLabel("", "heading")
        self.title.setObjectName("review.title")
        self._commit = Label("", "fixed", selectable=True)
        self._commit.setObjectName("review.commit")
        self._target = Label("", "muted")
        self._facts = ElidedLabel("", "muted")
        self._facts.setObjectName("review.facts")
        facts = row(
            IconLabel("commit", "muted", 14), self._commit, IconLabel("branch", "muted", 14), self._target,
            IconLabel("agent", "muted", 14), self._facts, spacing=6,
        )  # fmt: skip
        facts.setStretchFactor(self._facts, 1)
        self.box.addLayout(stack(self.title, facts, spacing=4), 1)
        self._recorded = Chip(self.tr("Recorded replies"), "badge")
        self.box.addWidget(self._recorded)
        self._added, self._removed = Label("", "added"), Label("", "removed")
        self.box.addWidget(self._added)
        self.box.addWidget(self._removed)

    def show_task(self, task: Task, *, recorded: bool) -> None:
        self.title.show_text(task.card.title)
        words = [task.card.agent or "", *run_facts(task.card.run)]
        if task.card.rejection_count:
            words.append(self.tr("rejected {0}×").format(figures.count(task.card.rejection_count)))
        self._facts.show_text("  ·  ".join(word for word in words if word))
        self._recorded.setVisible(recorded)

    def show_diff(self, diff: DiffSummary) -> None:
        self._commit.show_text(diff.snapshot[:10])
        self._target.show_text(self.tr("into {0}").format(diff.target))
        self._added.show_text(f"+{figures.count(sum(file.added or 0 for file in diff.files))}")
        self._removed.show_text(f"−{figures.count(sum(file.removed or 0 for file in diff.files))}")


class FindBar(Frame):
    """Words to look for in the diff; Return goes on, Shift+Return goes back, Esc closes."""

    wanted = Signal(str, bool)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__("bar", across=True, margin=6, spacing=6)
        self.setObjectName("review.find")
        self.field = QLineEdit()
        self.field.setObjectName("review.find.field")
        self.field.setAccessibleName(self.tr("Find in the diff"))
        self.field.setPlaceholderText(self.tr("Find in the diff"))
        self.field.installEventFilter(self)
        self.field.textChanged.connect(lambda text: self.wanted.emit(text, True))
        self._none = Label("", "attention")
        self._none.hide()
        self.box.setContentsMargins(12, 6, 8, 6)
        self.box.addWidget(self.field, 1)
        self.box.addWidget(self._none)
        back = IconButton(
            "chevron-left", self.tr("Previous match"), name="review.find.back", pressed=lambda: self._ask(False)
        )
        on = IconButton("chevron-right", self.tr("Next match"), name="review.find.on", pressed=lambda: self._ask(True))
        close = IconButton("x", self.tr("Close"), name="review.find.close", pressed=self.closed.emit)
        for button in (back, on, close):
            self.box.addWidget(button)
        self.hide()

    def show_result(self, found: bool) -> None:
        missing = bool(self.field.text()) and not found
        self._none.show_text(self.tr("Not found") if missing else "")
        self._none.setVisible(missing)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if not isinstance(event, QKeyEvent) or event.type() != QEvent.Type.KeyPress:
            return False
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        if event.key() not in {Qt.Key.Key_Return, Qt.Key.Key_Enter} or control:
            return False
        self._ask(not event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        return True

    def _ask(self, forward: bool) -> None:
        self.wanted.emit(self.field.text(), forward)


class OutcomeBox(Frame):
    """What came of approving, when it was not a merge: which paths, and that nothing has changed."""

    def __init__(self) -> None:
        super().__init__("fault", margin=12, spacing=8)
        self.setObjectName("review.outcome")
        self._title = Label("", "strong", wrap=True)
        self._title.setObjectName("review.outcome.title")
        self._code = Chip("")
        self._code.setObjectName("review.outcome.code")
        close = IconButton("x", self.tr("Close"), name="review.outcome.close", pressed=self.hide)
        head = row(IconLabel("alert", "danger"), self._title, self._code, close)
        head.setStretchFactor(self._title, 1)
        self.box.addLayout(head)
        self._words = Label("", wrap=True)
        self.box.addWidget(self._words)
        self._paths = Label("", "fixed", selectable=True)
        self._paths.setObjectName("review.outcome.paths")
        self.box.addWidget(self._paths)
        self.hide()

    def show_outcome(self, outcome: ApproveOutcome) -> None:
        conflicted = outcome.result is ApproveResult.CONFLICTED
        title = (
            self.tr("The change conflicts with the target branch") if conflicted else self.tr("The merge was refused")
        )
        self._title.show_text(title)
        self._code.show_text(outcome.code or outcome.result.value)
        words = (outcome.message, outcome.hint)
        if conflicted:
            ways = self.tr("Hand it to the agent, resolve it yourself, or leave the card waiting.")
            words = (self.tr("Nothing has been changed; both sides are kept."), ways)
        self._words.show_text(" ".join(part for part in words if part))
        self._paths.show_text("\n".join(display_path(path) for path in outcome.paths[:20]))
        self._paths.setVisible(bool(outcome.paths))
        self.show()


class RemarksSheet(Sheet):
    """The remarks that go with a rejection. Finishes with the ones that are kept."""

    def __init__(self, host: QWidget, comments: list[ReviewComment]) -> None:
        super().__init__(host, self.tr("Comments"), "remarks_sheet", width=620)
        self._comments = list(comments)
        self.add_button(
            self.tr("Close"), lambda: self.finish(tuple(self._comments)), kind="primary", name="remarks.close"
        )
        self._show()

    def _show(self) -> None:
        clear(self.body)
        if not self._comments:
            self.body.addWidget(
                Label(self.tr("No comment is left. Press C on a line of the diff to write one."), "muted")
            )
        for comment in self._comments:
            box = Frame("inset", across=True)
            words = Label(comment.body, wrap=True, selectable=True)
            place = f"{display_path(comment.path)}:{comment.line}" if comment.line else display_path(comment.path)
            box.box.addWidget(Label(place, "fixed"), 0, Qt.AlignmentFlag.AlignTop)
            box.box.addWidget(words, 1)
            box.box.addWidget(
                Button(self.tr("Remove"), kind="quiet", pressed=partial(self._remove, comment)),
                0,
                Qt.AlignmentFlag.AlignTop,
            )
            self.body.addWidget(box)

    def _remove(self, comment: ReviewComment) -> None:
        self._comments.remove(comment)
        self._show()
