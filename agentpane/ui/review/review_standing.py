"""What stands around a diff under review: its conflicts and the ways to resolve them, its checks, its neighbours,
and the commits below it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from agentpane.domain.checks import CheckResult, CheckState
from agentpane.domain.conflicts import Conflict, Overlap
from agentpane.domain.resolving import Resolver, Resolving, what_to_do
from agentpane.domain.tasks import Task, TaskCard
from agentpane.ui.cards import standing_words
from agentpane.ui.cards.card_line import Line
from agentpane.ui.desk.actions import Actions
from agentpane.ui.parts import figures
from agentpane.ui.parts.code_box import CodeBox
from agentpane.ui.parts.controls import (
    ActionButton,
    Button,
    ElidedLabel,
    Frame,
    IconButton,
    IconLabel,
    Label,
    clear,
    focus_again,
    focused_within,
    row,
)
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import display_path, one_line
from agentpane.ui.parts.sheet import Sheet

MARGIN = 10
HIGHEST = 200  # of the lists together; they scroll then, so that the diff keeps its room
Offer = tuple[str, str]  # the action, and the kind of its button


class StandingStrip(Frame):
    """One thing that stands around the diff: a line of words, buttons, and a list that unfolds."""

    def __init__(self, name: str, actions: Actions, *, unfolded: bool) -> None:
        super().__init__("inset", margin=0, spacing=0)
        self._actions = actions
        self.setObjectName(f"review.{name}")
        self._name = name
        self.box.setContentsMargins(MARGIN, 6, MARGIN, 6)
        self._fold = IconButton(
            "chevron-right", self.tr("Show the list"), name=f"review.{name}.fold", pressed=self._turn
        )
        self._icon = IconLabel("info", "muted")
        self._words = ElidedLabel("", "strong")
        self._words.setObjectName(f"review.{name}.words")
        self._buttons = row(spacing=8)
        head = row(self._fold, self._icon, self._words, self._buttons, spacing=8)
        head.setStretchFactor(self._words, 1)
        self.box.addLayout(head)
        inside = QWidget()
        self._lines = QVBoxLayout(inside)
        self._lines.setContentsMargins(30, 6, 0, 6)
        self._lines.setSpacing(4)
        self._list = QScrollArea()
        self._list.setObjectName(f"review.{name}.list")
        self._list.setWidgetResizable(True)
        self._list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setWidget(inside)
        self.box.addWidget(self._list)
        self._unfolded = unfolded
        self._shown: object = None
        self._focused = ""
        self.hide()

    def show_standing(self, line: Line | None, offers: Iterable[Offer], key: object) -> bool:
        """Show the line and its buttons. True: `key` is new, so the list has to be filled anew."""
        self.setVisible(line is not None)
        if line is None:
            self._shown = None
            return False
        self._icon.show_icon(line.icon, line.token)
        self._words.show_text(line.text)
        self.setAccessibleName(line.text)
        if key == self._shown:
            return False
        self._shown, self._focused = key, focused_within(self)
        clear(self._buttons)
        for action, kind in offers:
            button = ActionButton(self._actions[action], kind=kind)
            self._buttons.addWidget(button)
            button.show()
        clear(self._lines)
        return True

    def add(self, line: QWidget) -> None:
        self._lines.addWidget(line)
        line.show()

    def fit(self) -> None:
        """Give the list the room that it needs, up to its share; the keys go where they were."""
        self._list.setVisible(self._unfolded and self._lines.count() > 0)
        self._fold.setVisible(self._lines.count() > 0)
        self._fold.show_icon("chevron-down" if self._unfolded else "chevron-right")
        self._fold.describe(self.tr("Hide the list") if self._unfolded else self.tr("Show the list"))
        self._fit_height()
        focus_again(self, self._focused)
        self._focused = ""

    def _fit_height(self) -> None:
        width = self.width() - 2 * MARGIN
        needed = self._lines.heightForWidth(width) if self._lines.hasHeightForWidth() else 0
        self._list.setFixedHeight(min(max(needed, self._lines.minimumSize().height()), HIGHEST))

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_height()

    def _turn(self) -> None:
        self._unfolded = not self._unfolded
        self.fit()


class StandingBox(QWidget):
    """The strips of a card, the gravest first; each is there only while there is something to say."""

    place_requested = Signal(str, int)  # a path, and a line of the card's side or 0
    card_requested = Signal(str)
    output_requested = Signal(object)  # CheckResult

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self.conflicts = StandingStrip("conflicts", actions, unfolded=True)
        self.checks = StandingStrip("checks", actions, unfolded=False)
        self.overlaps = StandingStrip("overlaps", actions, unfolded=False)
        self.commits = StandingStrip("commits", actions, unfolded=False)
        self._first: QWidget | None = None
        self._layout = layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 0)
        layout.setSpacing(6)
        for strip in self._strips():
            layout.addWidget(strip)

    def begin_with(self, box: QWidget) -> None:
        """Have a box of somebody else's above the strips."""
        self._layout.insertWidget(0, box)
        box.installEventFilter(self)
        self._first = box

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in {QEvent.Type.ShowToParent, QEvent.Type.HideToParent}:
            self._fit_margins()
        return False

    def show_task(self, task: Task) -> None:
        card, target = task.card, task.base_branch or ""
        if card.resolving is not None:
            self._show_resolving(card.resolving, task.worktree or "")
        else:
            self._show_conflicts(card.conflicts, target)
        self._show_checks(card)
        self._show_overlaps(card.overlaps)
        self._fit_margins()

    def show_commits(self, commits: tuple[str, ...], *, more: bool = False) -> None:
        """What lies below the snapshot, newest first, which a merge brings in besides what the diff shows."""
        number = figures.count(len(commits)) + ("+" if more else "")
        one = self.tr("{0} commit below the snapshot comes with it, unless it is squashed")
        many = self.tr("{0} commits below the snapshot come with it, unless it is squashed")
        words = (one if len(commits) == 1 and not more else many).format(number)
        if self.commits.show_standing(Line("commit", "muted", words) if commits else None, (), commits):
            for commit in commits:
                sha, _, subject = commit.partition(" ")
                label = Label(f"{sha[:10]}  {one_line(subject)}", "fixed", selectable=True, wrap=True)
                label.setObjectName(f"review.commit.{sha[:10]}")
                self.commits.add(label)
            self.commits.fit()
        self._fit_margins()

    def _strips(self) -> tuple[StandingStrip, ...]:
        return self.conflicts, self.checks, self.overlaps, self.commits

    def _fit_margins(self) -> None:
        first = () if self._first is None else (self._first,)
        shown = any(not part.isHidden() for part in (*first, *self._strips()))
        self._layout.setContentsMargins(16, 8 if shown else 0, 16, 8 if shown else 0)

    def _show_conflicts(self, conflicts: tuple[Conflict, ...], target: str) -> None:
        line = Line("alert", "danger", self._conflict_title(len(conflicts), target)) if conflicts else None
        offers = (("task.hand_over", "primary"), ("task.resolve", ""))
        if self.conflicts.show_standing(line, offers, conflicts):
            for conflict in conflicts:
                at = conflict.card_lines[0].start if conflict.card_lines else 0
                self.conflicts.add(self._place(conflict.path, standing_words.conflict_words(conflict, target), at))
            self.conflicts.fit()

    def _conflict_title(self, number: int, target: str) -> str:
        words = self.tr("Conflicts with {0} in {1} file") if number == 1 else self.tr("Conflicts with {0} in {1} files")
        return words.format(one_line(target), figures.count(number))

    def _show_resolving(self, under_way: Resolving, worktree: str) -> None:
        by_person = under_way.by is Resolver.PERSON
        words = self.tr("The agent resolves the conflict with {0}").format(one_line(under_way.target))
        offers: tuple[Offer, ...] = (("task.abandon", "danger"),)
        if by_person:
            words = self.tr("You resolve the conflict with {0}").format(one_line(under_way.target))
            offers = (
                ("task.folder", ""), ("task.hand_over", ""), ("task.abandon", "danger"), ("task.take", "primary"),
            )  # fmt: skip
        line = Line("edit" if by_person else "merge", "attention" if by_person else "accent", words)
        if self.conflicts.show_standing(line, offers, (under_way, worktree)):
            if by_person:
                self.conflicts.add(self._where(worktree))
            for laid in under_way.paths:
                self.conflicts.add(Label(what_to_do(laid, under_way.target), wrap=True, selectable=True))
            self.conflicts.fit()

    def _where(self, worktree: str) -> Label:
        where = Label(
            self.tr("Edit the files in {0}").format(display_path(worktree)), "fixed", selectable=True, wrap=True
        )
        where.setObjectName("review.conflicts.where")
        return where

    def _show_checks(self, card: TaskCard) -> None:
        line = standing_words.check_line(card.checks)
        running = any(check.state is CheckState.RUNNING for check in card.checks)
        offers = (("task.stop_checks" if running else "task.checks", ""),)
        blocked = bool(card.conflicts) or card.resolving is not None
        if self.checks.show_standing(line, () if blocked else offers, (card.checks, blocked)):
            for check in card.checks:
                self.checks.add(self._check(check))
            self.checks.fit()

    def _check(self, check: CheckResult) -> QWidget:
        state = standing_words.check_state(check)
        name = one_line(check.name)
        words = [name, state.text]
        words += [figures.duration(check.seconds)] if check.seconds is not None else []
        words += [] if check.required else [self.tr("not required")]
        text = "  ·  ".join(words)
        if not check.output:
            line = QWidget()
            line.setLayout(row(IconLabel(state.icon, state.token), Label(text), None, spacing=8, margins=(8, 5, 8, 5)))
            return line
        button = Button(text, kind="line", icon_name=state.icon, name=f"review.check.{name}")
        button.clicked.connect(lambda: self.output_requested.emit(check))
        button.describe(self.tr("{0}: show the output").format(text))
        return button

    def _show_overlaps(self, overlaps: tuple[Overlap, ...]) -> None:
        line = standing_words.overlap_line(overlaps)
        if self.overlaps.show_standing(line, (), overlaps):
            for overlap in overlaps:
                at = overlap.lines[0].start if overlap.lines else 0
                words = f"“{one_line(overlap.title)}”  ·  {standing_words.overlap_words(overlap)}"
                place = self._place(overlap.path, words, at)
                card = Button(self.tr("Open card"), kind="quiet", name=f"review.overlap.{overlap.task_id}")
                card.describe(self.tr("Open the card {0}").format(one_line(overlap.title)))
                card.clicked.connect(partial(self._open_card, overlap.task_id))
                line_ = row(place, card, spacing=8)
                line_.setStretchFactor(place, 1)
                holder = QWidget()
                holder.setLayout(line_)
                self.overlaps.add(holder)
            self.overlaps.fit()

    def _open_card(self, task_id: str, _: bool = False) -> None:
        self.card_requested.emit(task_id)

    def _place(self, path: str, words: str, line: int) -> Button:
        """A path with what is said of it; it leads there."""
        text = f"{display_path(path)}  ·  {words}"
        button = Button(text, kind="line", icon_name="file", name="review.place")
        button.clicked.connect(lambda: self.place_requested.emit(path, line))
        return button


class OutputSheet(Sheet):
    """The end of a check's output."""

    def __init__(self, host: QWidget, check: CheckResult) -> None:
        super().__init__(host, one_line(check.name), "output_sheet", width=720)
        state = standing_words.check_state(check)
        self.body.addLayout(row(IconLabel(state.icon, state.token), Label(state.text), None, spacing=8))
        self.body.addWidget(CodeBox(check.output, self.tr("Output of {0}").format(one_line(check.name)), most_lines=24))
        self.body.addWidget(
            Label(self.tr("This is the end of it; the whole output is in the session."), "muted", wrap=True)
        )
        self.add_button(self.tr("Close"), self.dismiss, kind="primary", name="output_sheet.ok")
