"""The board: a head with the project, then four columns. It shows what is known and hands on what is asked."""

from __future__ import annotations

from datetime import UTC, datetime

from PySide6.QtCore import QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from agentpane.domain.board import Column
from agentpane.domain.queueing import places
from agentpane.domain.tasks import TaskCard
from agentpane.ui.board.carry import Carry, Landing, Spot
from agentpane.ui.board.column_frame import ColumnFrame
from agentpane.ui.board.column_view import ColumnView
from agentpane.ui.cards.card_text import places_words
from agentpane.ui.desk.actions import applicable
from agentpane.ui.desk.desk import Desk
from agentpane.ui.look.icons import icon
from agentpane.ui.parts.controls import (
    ActionButton,
    Chip,
    ElidedLabel,
    IconLabel,
    Label,
    Later,
    row,
    set_state,
)
from agentpane.ui.parts.overriding import override

SEARCH_WIDTH = 220
ROOM_FOR_PATH = 860  # a narrower head goes without the path
ROOM_FOR_WORDS = 660  # and an even narrower one without words on its button
EDGE = 16  # beside the outer columns
TICK_MS = 1_000
PLACES_MS = 100
COLUMNS = tuple(Column)


class TitleLabel(ElidedLabel):
    """As wide as its words, until there is no room for them."""

    def __init__(self) -> None:
        super().__init__("", "title")
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)

    @override
    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self.whole) + 2, super().sizeHint().height())


class BoardPage(QWidget):
    """The board of the shown project."""

    new_requested = Signal(object)  # the column
    entered = Signal(str)  # a card is opened by key: its task gets the keys
    primary_requested = Signal(str, str)  # task, action id

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("page")
        self._desk = desk
        self._model = desk.known.board
        self.carry = Carry(self._model, self)
        self.columns = {column: ColumnFrame(ColumnView(self._model, column, self.carry)) for column in COLUMNS}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(self._head())
        self.banners = QVBoxLayout()
        self.banners.setContentsMargins(16, 0, 16, 0)
        self.banners.setSpacing(8)
        layout.addLayout(self.banners)
        layout.addWidget(self._area(), 1)
        self._connect()
        self.show_project()

    def view(self, column: Column) -> ColumnView:
        return self.columns[column].view

    def is_current(self, task_id: str) -> bool:
        """Whether a card is the current one, and no filter hides it."""
        return any(frame.view.is_current(task_id) for frame in self.columns.values())

    def select(self, task_id: str) -> None:
        """Make a card the current one of the board."""
        for frame in self.columns.values():
            if not frame.view.select(task_id):
                frame.view.clearSelection()
        QTimer.singleShot(0, self, self._show_current)  # when a panel beside the board has taken its room

    def _show_current(self) -> None:
        for frame in self.columns.values():
            if frame.view.current_card() is not None:
                self._scroll.ensureWidgetVisible(frame, 16, 0)
                self._snap()

    def _snap(self) -> None:
        """Begin with a whole column: one that is cut at the left cannot be read."""
        bar = self._scroll.horizontalScrollBar()
        edges = (frame.x() for frame in self.columns.values())
        bar.setValue(next((edge - EDGE for edge in edges if edge >= bar.value()), bar.value()))

    def focus_board(self) -> None:
        """Give the keys to the column that has the current card, or to the first one that has cards."""
        views = [frame.view for frame in self.columns.values()]
        current = next((view for view in views if view.current_card() is not None), None)
        target = current or next((view for view in views if view.cards.rowCount()), views[0])
        target.setFocus(Qt.FocusReason.OtherFocusReason)
        if current is None and target.cards.rowCount():
            target.select_row(0)

    def open_find(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def show_project(self) -> None:
        project = self._desk.known.current
        self.title.show_text(project.name if project else "")
        self.branch.show_text(project.base_branch if project else "")
        self.branch_icon.setVisible(project is not None)
        self.path.show_text(project.path if project else "")
        self._fit_recorded()
        self._show_counts()

    def _head(self) -> QHBoxLayout:
        self.title = TitleLabel()
        self.title.setObjectName("board.title")
        self.branch_icon = IconLabel("branch", "muted")
        self.branch = Label("", "muted")
        self.path = ElidedLabel("", "small", Qt.TextElideMode.ElideMiddle)
        self.recorded = Chip(self.tr("Recorded replies"), "badge")
        self.recorded.setObjectName("board.recorded")
        self.recorded.setToolTip(
            self.tr("The sample project: its agent's replies are recorded, and no model is called.")
        )
        self.search = QLineEdit()
        self.search.setObjectName("board.search")
        self.search.setProperty("kind", "search")
        self.search.setPlaceholderText(self.tr("Filter cards"))
        self.search.setAccessibleName(self.tr("Filter cards"))
        self.search.setClearButtonEnabled(False)
        self.search.addAction(icon("search", "muted"), QLineEdit.ActionPosition.LeadingPosition)
        self.search.setFixedWidth(SEARCH_WIDTH)
        self._new = ActionButton(self._desk.actions["task.new"], kind="primary")
        head = row(
            self.title, 4, self.branch_icon, self.branch, 4, self.recorded, 4, self.path, None, self.search, self._new,
            margins=(16, 14, 16, 12),
        )  # fmt: skip
        head.setStretchFactor(self.path, 1_000)
        return head

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        width = event.size().width()
        self.path.setVisible(width >= ROOM_FOR_PATH)
        self._new.show_icon_only(width < ROOM_FOR_WORDS)
        self.search.setFixedWidth(SEARCH_WIDTH if width >= ROOM_FOR_WORDS else SEARCH_WIDTH * 2 // 3)
        self._fit_recorded()

    def _fit_recorded(self) -> None:
        """Where there is no room for the badge, the banner below says the same."""
        project = self._desk.known.current
        self.recorded.setVisible(project is not None and project.recorded and self.width() >= ROOM_FOR_WORDS)

    def _area(self) -> QScrollArea:
        inside = QWidget()
        across = QHBoxLayout(inside)
        across.setContentsMargins(EDGE, 4, EDGE, 16)
        across.setSpacing(12)
        for frame in self.columns.values():
            across.addWidget(frame, 1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(inside)
        self._scroll = scroll
        return scroll

    def _connect(self) -> None:
        for column, words in (
            (Column.BACKLOG, self.tr("Nothing is planned. Write down a piece of work with New task.")),
            (Column.IN_PROGRESS, self.tr("Drag a card here to give it to an agent.")),
            (Column.WAITING_APPROVAL, self.tr("Finished work comes here for your review.")),
            (Column.VERIFIED, self.tr("Merged work ends up here.")),
        ):
            frame = self.columns[column]
            frame.view.empty_text = words
            frame.new_requested.connect(self.new_requested)
            frame.archive_requested.connect(self._desk.actions["archive.all"].trigger)
            frame.view.opened.connect(self.entered)
            frame.view.chosen.connect(self._desk.acts.open_requested)
            frame.view.primary_requested.connect(self.primary_requested)
            frame.view.walked.connect(lambda step, column=column: self._walk(column, step))
            frame.view.menu_requested.connect(self._menu)
            frame.view.steered.connect(self._steer)
            frame.view.selectionModel().selectionChanged.connect(lambda *_, column=column: self._chosen(column))
        self._search_later = Later(self, 120, self._search)
        self.search.textChanged.connect(lambda: self._search_later.ask())
        self.search.returnPressed.connect(self._go_to_match)
        known = self._desk.known
        self._desk.acts.task_changed.connect(self._taken)
        self._desk.acts.made.connect(self._made)
        known.current_changed.connect(self.show_project)
        known.projects_changed.connect(self._show_counts)
        self._model.touched.connect(self._touched)
        self._follow = ""
        self._model.leaving.connect(self._leaving)
        known.card_moved.connect(self._arrived)
        known.board_loaded.connect(self._select_again)
        self._counts_later = Later(self, 0, self._show_counts)
        self._places_later = Later(self, PLACES_MS, self._show_places)
        self._model.counted.connect(self._counts_later.ask_if_idle)
        self._model.touched.connect(lambda _: self._places_later.ask_if_idle())
        self.carry.changed.connect(self._carry_changed)
        self._clock = QTimer(self)
        self._clock.setInterval(TICK_MS)
        self._clock.timeout.connect(self._tick)
        self._clock.start()

    def _search(self) -> None:
        for frame in self.columns.values():
            frame.view.cards.search(self.search.text())
        first = self._first_match()
        if first is not None:
            self._scroll.ensureWidgetVisible(first, 16, 0)
            first.view.scrollToTop()

    def _first_match(self) -> ColumnFrame | None:
        """The first column that has cards, while they are filtered."""
        searching = bool(self.search.text().strip())
        return next((frame for frame in self.columns.values() if searching and frame.view.cards.rowCount()), None)

    def _go_to_match(self) -> None:
        self._search_later.stop()
        self._search()
        frame = self._first_match()
        if frame is not None:
            frame.view.select_row(0)
            frame.view.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _made(self, task_id: str) -> None:
        """A new card is the current one, and has the keys if a card had them."""
        card = self._model.card(task_id)
        if not self.isVisible() or card is None or not self.view(card.column).index_of(task_id).isValid():
            return
        self.select(task_id)
        if not isinstance(QApplication.focusWidget(), QLineEdit | QPlainTextEdit):
            self.view(card.column).setFocus(Qt.FocusReason.OtherFocusReason)

    def _touched(self, task_id: str) -> None:
        card = self._model.card(task_id)
        if card is not None:
            self.view(card.column).repaint_card(task_id)

    def _select_again(self) -> None:
        """A board that was read anew keeps its current card."""
        task_id = self._desk.acts.task_id
        if task_id and self._model.card(task_id) is not None:
            self.select(task_id)

    def _taken(self, task_id: str) -> None:
        """The task at hand is the current card, wherever it was taken up. Nothing scrolls sideways for it."""
        card = self._model.card(task_id)
        if card is not None and not self.view(card.column).is_current(task_id):
            self.view(card.column).select(task_id)

    def _leaving(self, task_id: str) -> None:
        if self._desk.acts.task_id == task_id:
            self._follow = task_id

    def _arrived(self, card: TaskCard, was: Column) -> None:
        """The current card stays the current one when it changes its column."""
        if self._follow == card.id:
            had_keys = self.view(was).hasFocus()
            self.select(card.id)
            if had_keys:
                self.view(card.column).setFocus(Qt.FocusReason.OtherFocusReason)
        self._follow = ""

    def _tick(self) -> None:
        self._show_places()
        if self.isVisible():
            for task_id in self._model.working():
                self._touched(task_id)

    def _show_counts(self) -> None:
        counts = self._model.counts()
        for column, frame in self.columns.items():
            frame.show_count(counts[column])
        self._show_places()

    def _show_places(self) -> None:
        """A paused run keeps its place for a while, so that time alone may change what is shown."""
        project = self._desk.known.current
        if project is not None:
            runs = (card.run for card in self._model.cards() if card.run is not None)
            taken = places(runs, project.max_concurrent_agents, datetime.now(UTC))
            self.columns[Column.IN_PROGRESS].limit.show_any(places_words(taken))
            self._model.hold(taken.held_by_paused)

    def _chosen(self, column: Column) -> None:
        card = self.view(column).current_card()
        if card is None:
            self._desk.acts.refresh()
            return
        for other, frame in self.columns.items():
            if other is not column:
                frame.view.clearSelection()
        self._desk.acts.take(card.id)

    def _walk(self, column: Column, step: int) -> None:
        """Go to the next column that has cards, at about the same height."""
        at = COLUMNS.index(column)
        row_now = self.view(column).currentIndex().row()
        for other in COLUMNS[at + 1 :] if step > 0 else COLUMNS[:at][::-1]:
            view = self.view(other)
            if view.cards.rowCount():
                view.setFocus(Qt.FocusReason.OtherFocusReason)
                view.select_row(row_now)
                self._scroll.ensureWidgetVisible(self.columns[other], 0, 0)
                return

    def _steer(self, key: int) -> None:
        """Carry the picked-up card with the arrows."""
        spot, card = self.carry.spot, self.carry.card
        if spot is None or card is None:
            return
        at = COLUMNS.index(spot.column)
        if key in {Qt.Key.Key_Left, Qt.Key.Key_Right}:
            target = COLUMNS[min(max(at + (1 if key == Qt.Key.Key_Right else -1), 0), len(COLUMNS) - 1)]
            gap = min(spot.gap, self.view(target).cards.rowCount())
            self.carry.over(Spot(target, gap))
            self._scroll.ensureWidgetVisible(self.columns[target], 0, 0)
        elif key in {Qt.Key.Key_Up, Qt.Key.Key_Down}:
            gap = spot.gap + (1 if key == Qt.Key.Key_Down else -1)
            self.carry.over(Spot(spot.column, min(max(gap, 0), self.view(spot.column).cards.rowCount())))
        elif key in {Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.carry.let_go(spot, self.view(spot.column).shown())
        elif key == Qt.Key.Key_Escape:
            self.carry.end()

    def _carry_changed(self) -> None:
        spot = self.carry.spot
        for column, frame in self.columns.items():
            state = ""
            if self.carry.card is not None and self.carry.landing(column) is not Landing.REFUSED:
                state = "target" if spot is not None and spot.column is column else "allowed"
            set_state(frame, "state", state)

    def _menu(self, task_id: str, at: QPoint) -> None:
        card = self._model.card(task_id)
        if card is None:
            return
        self._desk.acts.take(task_id)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        wanted = applicable(card)
        for action in self._desk.actions:
            if action.objectName() in wanted:
                menu.addAction(action)
        menu.popup(at)
