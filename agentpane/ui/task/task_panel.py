"""The panel beside the board: one task, whole, with the actions that apply to it."""

from __future__ import annotations

import asyncio

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QEnterEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from agentpane.api import commands, events
from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.runs import ACTIVE
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.cards.card_text import run_facts, state_line
from agentpane.ui.cards.standing_lines import StandingLines
from agentpane.ui.desk.actions import applicable
from agentpane.ui.desk.desk import Desk
from agentpane.ui.look.theme import Look
from agentpane.ui.look.tokens import COLUMN_ICONS, COLUMN_TOKENS
from agentpane.ui.parts.controls import ActionButton, ElidedLabel, Frame, IconButton, IconLabel, Label, Later, row
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.tabs import Tabs
from agentpane.ui.session.session_view import SessionView
from agentpane.ui.task.description_tab import DescriptionTab
from agentpane.ui.task.kept_line import KeptLine
from agentpane.ui.task.task_parts import ChangesTab, RunsTab

SMALLEST = 380
TICK_MS = 1_000

# In their order from the left; the last one is the main one.
FOOT: tuple[tuple[str, str], ...] = (
    ("task.delete", "danger"),
    ("task.archive", ""),
    ("task.stop", "danger"),
    ("task.edit", ""),
    ("task.pause", ""),
    ("task.afresh", ""),
    ("task.finish", ""),
    ("task.message", ""),
    ("task.undo", ""),
    ("task.reject", ""),
    ("task.approve", "approve"),
    ("task.resume", "primary"),
    ("task.review", "primary"),
    ("task.plan", ""),
    ("task.run", "primary"),
)
WAYS = ("task.resolve", "task.hand_over")  # on from a conflict; in a line of their own above the foot's
ICON_ONLY = frozenset({"task.plan"})  # there is no room for its words beside the others
GIVE_WAY = ("task.message", "task.afresh", "task.finish", "task.edit")  # lose their words in turn where it is narrow
FIRST_TAB = {
    Column.BACKLOG: "description",
    Column.IN_PROGRESS: "session",
    Column.WAITING_APPROVAL: "changes",
    Column.VERIFIED: "session",
}


class TaskPanel(QFrame):
    """Shows one task and follows it."""

    close_requested = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setMinimumWidth(SMALLEST)
        self._desk = desk
        self.task_id = ""
        self._column_shown: Column | None = None
        self._job: asyncio.Task[object] | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(1, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._head())
        self.tabs = Tabs(
            "tabs",
            (
                ("description", self.tr("Description")),
                ("session", self.tr("Session")),
                ("changes", self.tr("Changes")),
                ("runs", self.tr("Runs")),
            ),
        )
        layout.addWidget(self.tabs)
        self.description, self.session = DescriptionTab(), SessionView(desk)
        self.changes, self.runs = ChangesTab(), RunsTab()
        self._pages: dict[str, QWidget] = {
            "description": self.description, "session": self.session, "changes": self.changes, "runs": self.runs,
        }  # fmt: skip
        self._stack = QStackedWidget()
        for page in self._pages.values():
            self._stack.addWidget(page)
        layout.addWidget(self._stack, 1)
        layout.addWidget(self._foot())
        self.tabs.chosen.connect(self._choose)
        self.changes.file_requested.connect(lambda _: desk.acts.review_requested.emit(self.task_id))
        desk.link.published.connect(self._event)
        desk.known.board.touched.connect(self._touched)
        Look.current().application.focusChanged.connect(self._focus_moved)
        self._reload_later = Later(self, 60, self.reload)
        self._clock = QTimer(self)
        self._clock.setInterval(TICK_MS)
        self._clock.timeout.connect(self._tick)
        self._clock.start()

    def show_task(self, task_id: str) -> None:
        """Show another task, at the tab that matters most for it."""
        card = self._desk.known.board.card(task_id)
        if card is None:
            return
        if task_id != self.task_id:
            self.task_id = task_id
            self._column_shown = card.column
            self.description.show_standings(())
            self._show_card(card)
            self.tabs.choose(FIRST_TAB[card.column])
            self.session.show_task(task_id)
            self.reload()

    def _choose(self, tab: str) -> None:
        self._stack.setCurrentWidget(self._pages[tab])
        if tab == "description" and self.task_id:
            self._desk.jobs.start(self._read_budgets(self.task_id), self.tr("Reading the budgets"), self._gone)

    @override
    def enterEvent(self, event: QEnterEvent) -> None:
        self._take()
        super().enterEvent(event)

    def _focus_moved(self, _: QWidget | None, now: QWidget | None) -> None:
        if now is not None and self.isAncestorOf(now):
            self._take()

    def _take(self) -> None:
        """Whoever comes in here acts on the task that is shown here, whichever card was walked to meanwhile."""
        if self.task_id:
            self._desk.acts.take(self.task_id)

    def leave(self) -> None:
        self.task_id = ""
        self.session.leave()

    def reload(self) -> None:
        """Read the whole task anew."""
        if self.task_id:
            if self._job is not None:
                self._job.cancel()
            self._job = self._desk.jobs.start(self._read(self.task_id), self.tr("Reading the task"), self._gone)

    def focus_tab(self) -> None:
        """Give the keys to the tab that is shown."""
        self.tabs.focus()

    def focus_message(self) -> None:
        self.tabs.choose("session")
        self.session.focus_message()

    def _head(self) -> QWidget:
        head = Frame("bar", margin=0, spacing=6)
        head.setProperty("kind", "plain")
        head.box.setContentsMargins(16, 14, 10, 8)
        self._title = Label("", "heading", wrap=True, selectable=True)
        self._title.setObjectName("task.title")
        close = IconButton("x", self.tr("Close the panel"), name="task.close", pressed=self.close_requested.emit)
        top = row(self._title, close)
        top.setStretchFactor(self._title, 1)
        head.box.addLayout(top)
        self._column_icon = IconLabel("ring", "muted", 14)
        self._column = Label("", "muted")
        self._column.setObjectName("task.column")
        self._facts = ElidedLabel("", "small")
        line = row(self._column_icon, self._column, 4, self._facts, spacing=6)
        line.setStretchFactor(self._facts, 1)
        head.box.addLayout(line)
        self._state_icon = IconLabel("dot", "accent", 14)
        self._state = Label("", wrap=True)
        self._state.setObjectName("task.state")
        self._state_row = QWidget()
        state = row(self._state_icon, self._state, spacing=8)
        state.setStretchFactor(self._state, 1)
        self._state_row.setLayout(state)
        self._state_row.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        head.box.addWidget(self._state_row)
        self._standing = StandingLines()
        head.box.addWidget(self._standing)
        self._kept = KeptLine(self._desk)
        self._kept.keys_left.connect(self.focus_tab)
        head.box.addWidget(self._kept)
        return head

    def _foot(self) -> QWidget:
        self._foot_bar = Frame("bar", margin=12)
        self._buttons = {}
        short = {"task.hand_over": self.tr("Hand it to the agent")}
        for line in (tuple((action_id, "") for action_id in WAYS), FOOT):
            across = row(None)
            self._foot_bar.box.addLayout(across)
            for action_id, kind in line:
                action, icon_only = self._desk.actions[action_id], action_id in ICON_ONLY
                button = ActionButton(action, kind=kind, icon_only=icon_only, text=short.get(action_id, ""))
                button.keys_lost.connect(self.focus_tab)  # the next in line is in another part of the window
                self._buttons[action_id] = button
                across.addWidget(button)
        return self._foot_bar

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        """Let the foot's buttons have their words as far as there is room."""
        shown = [self._buttons[action_id] for action_id, _ in FOOT if not self._buttons[action_id].isHidden()]
        for action_id in GIVE_WAY:
            self._buttons[action_id].show_icon_only(False)
        for action_id in GIVE_WAY:
            if sum(button.sizeHint().width() + 8 for button in shown) + 16 <= self.width():
                return
            self._buttons[action_id].show_icon_only(True)

    def _show_card(self, card: TaskCard) -> None:
        if card.column is not self._column_shown:
            self._column_shown = card.column
            if card.column is Column.IN_PROGRESS:
                self.tabs.choose("session")  # an agent is at work: sent back or run anew
        self._title.show_text(card.title)
        self._column_icon.show_icon(COLUMN_ICONS[card.column], COLUMN_TOKENS[card.column])
        self._column.show_text(COLUMN_TITLES[card.column])
        self._facts.show_text("  ·  ".join([*run_facts(card.run), *((card.agent,) if card.agent else ())]))
        activity = self._desk.known.board.activity(card.id)
        held = self._desk.known.board.held
        line = state_line(card, activity.line if activity else None, activity.retry_in if activity else None, held=held)
        self._state_row.setVisible(line is not None)
        if line is not None:
            self._state_icon.show_icon(line.icon, line.token)
            self._state.show_text(line.text)
        self._standing.show_card(card)
        self._kept.show_card(card)
        wanted = applicable(card)
        if "task.resolve" in wanted:
            wanted |= {"task.approve"}  # shown, and off: the ways on are above it
        elif card.resolving is not None:
            wanted -= set(WAYS)
        for action_id, button in self._buttons.items():
            button.setVisible(action_id in wanted)
        self._foot_bar.setVisible(any(action_id in wanted for action_id in self._buttons))
        self._make_room()
        self.session.show_card(card)

    def _touched(self, task_id: str) -> None:
        card = self._desk.known.board.card(task_id)
        if task_id == self.task_id and card is not None:
            self._show_card(card)

    def _tick(self) -> None:
        """Let the time of a run that works go on, and a countdown count."""
        card = self._desk.known.board.card(self.task_id) if self.task_id and self.isVisible() else None
        if card is not None and card.run is not None and card.run.status in ACTIVE:
            self._show_card(card)

    def _event(self, event: object) -> None:
        if isinstance(event, events.TaskChanged) and event.card.id == self.task_id:
            self._show_card(event.card)
            self._reload_later.ask()
        elif isinstance(event, events.TaskRemoved) and event.task_id == self.task_id:
            self.close_requested.emit()

    async def _read(self, task_id: str) -> None:
        task = await self._desk.link.do(commands.GetTask(task_id))
        if task_id != self.task_id:
            return
        if task.card.archived_at is not None:  # while nothing was heard of it
            self.close_requested.emit()
            return
        self._show_card(task.card)
        self.description.show_task(task)
        self.runs.show_runs(task.runs)
        self.session.reload()
        await self._kept.read(task)
        if task_id != self.task_id:
            return
        if self.tabs.current == "description":
            await self._read_budgets(task_id)
        await self._read_diff(task)

    async def _read_budgets(self, task_id: str) -> None:
        standings = await self._desk.link.do(commands.ListBudgets(task_id))
        if task_id == self.task_id:
            self.description.show_standings(standings)

    async def _read_diff(self, task: Task) -> None:
        if task.snapshot is None or task.card.column in {Column.BACKLOG, Column.IN_PROGRESS}:
            self.changes.show_nothing(task.card.column)
            return
        try:
            diff = await self._desk.link.do(commands.GetDiff(task.card.id))
        except AgentPaneError as error:
            if error.code not in {ErrorCode.TASK_NO_DIFF, ErrorCode.WORKTREE_NOT_FOUND}:
                raise
            self.changes.show_nothing(task.card.column)
        else:
            if task.card.id == self.task_id:
                self.changes.show_diff(diff)

    def _gone(self, error: BaseException) -> bool:
        """A card that was deleted elsewhere closes the panel."""
        if isinstance(error, AgentPaneError) and error.code is ErrorCode.TASK_NOT_FOUND:
            self.close_requested.emit()
            return True
        return False
