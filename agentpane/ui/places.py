"""Which page is shown. Those beside the board are made when first wanted: the window starts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QSplitter, QStackedWidget

from agentpane.ui.desk.desk import Desk

if TYPE_CHECKING:
    from agentpane.ui.costs.costs_page import CostsPage
    from agentpane.ui.review.review_page import ReviewPage
    from agentpane.ui.settings.settings_page import SettingsPage
    from agentpane.ui.task.task_panel import TaskPanel
    from agentpane.ui.worktrees.worktrees_page import WorktreesPage

PANEL_WIDTH = 480


class Places(QObject):
    """The board with the task's panel beside it, the review, the worktrees, the costs, the settings."""

    changed = Signal(str)  # board, review, worktrees, costs or settings
    closed = Signal(bool)  # the panel; whether it had the keys

    def __init__(self, desk: Desk, pages: QStackedWidget, side: QSplitter) -> None:
        super().__init__(pages)
        self._desk = desk
        self._pages = pages
        self._side = side
        self._open = False  # the panel is beside the board
        self._project = ""
        self._width = PANEL_WIDTH
        self.panel: TaskPanel | None = None
        self.review: ReviewPage | None = None
        self.worktrees: WorktreesPage | None = None
        self.costs: CostsPage | None = None
        self.settings: SettingsPage | None = None
        desk.known.current_changed.connect(self._project_changed)

    @property
    def task_shown(self) -> str:
        """The task in the panel or under review."""
        if self.review is not None and self._pages.currentWidget() is self.review:
            return self.review.task_id
        return self.panel.task_id if self.panel is not None and self._open else ""

    @property
    def review_shown(self) -> ReviewPage | None:
        """The review, while it is the page that is shown."""
        return self.review if self.review is not None and self._pages.currentWidget() is self.review else None

    @property
    def worktrees_shown(self) -> WorktreesPage | None:
        """The worktrees, while they are the page that is shown."""
        shown = self._pages.currentWidget() is self.worktrees
        return self.worktrees if self.worktrees is not None and shown else None

    @property
    def on_board(self) -> bool:
        """The board is the page that is shown."""
        return self._pages.currentWidget() is self._side

    def _project_changed(self) -> None:
        """Let go of what belongs to the project that was shown before."""
        project = self._desk.known.current
        shown, self._project = self._project, project.id if project is not None else ""
        if shown and shown != self._project:
            self.close_task()
            if self.review_shown is not None:
                self.show_board()

    def show_board(self) -> None:
        self._pages.setCurrentWidget(self._side)
        self.changed.emit("board")

    def show_worktrees(self) -> None:
        if self.worktrees is None:
            from agentpane.ui.worktrees.worktrees_page import WorktreesPage  # made when first wanted

            self.worktrees = WorktreesPage(self._desk)
            self._pages.addWidget(self.worktrees)
        self._desk.toasts.clear()
        self.worktrees.enter()
        self._pages.setCurrentWidget(self.worktrees)
        self.worktrees.focus_first()
        self.changed.emit("worktrees")

    def show_costs(self) -> None:
        if self.costs is None:
            from agentpane.ui.costs.costs_page import CostsPage  # made when first wanted

            self.costs = CostsPage(self._desk)
            self._pages.addWidget(self.costs)
        self.costs.refresh()
        self._pages.setCurrentWidget(self.costs)
        self.costs.focus_first()
        self.changed.emit("costs")

    def show_settings(self) -> None:
        if self.settings is None:
            from agentpane.ui.settings.settings_page import SettingsPage  # made when first wanted

            self.settings = SettingsPage(self._desk)
            self._pages.addWidget(self.settings)
        self.settings.refresh()
        self._pages.setCurrentWidget(self.settings)
        self.settings.focus_first()
        self.changed.emit("settings")

    def show_task(self, task_id: str) -> None:
        """Open a task in the panel beside the board."""
        if self.panel is None:
            from agentpane.ui.task.task_panel import TaskPanel  # made when first wanted

            self.panel = TaskPanel(self._desk)
            self.panel.close_requested.connect(self.close_task)
            self._side.addWidget(self.panel)
            self._side.setStretchFactor(0, 1)
            self._side.setStretchFactor(1, 0)
        if not self._open:
            self._open = True
            self.panel.show()
            self._side.setSizes([max(self._side.width() - self._width, 0), self._width])
        self.panel.show_task(task_id)
        self.show_board()

    def show_review(self, task_id: str) -> None:
        """Open the review of a task's diff."""
        if self.review is None:
            from agentpane.ui.review.review_page import ReviewPage  # made when first wanted

            self.review = ReviewPage(self._desk)
            self.review.back_requested.connect(self.show_board)
            self._pages.addWidget(self.review)
        self._desk.acts.take(task_id)
        self._desk.toasts.clear()
        self.review.show_task(task_id)
        self._pages.setCurrentWidget(self.review)
        self.review.focus_diff()
        self.changed.emit("review")

    def close_task(self) -> None:
        if self.panel is not None:
            if self._open:
                self._width = max(self.panel.width(), PANEL_WIDTH)
            self._open = False
            focused = QApplication.focusWidget()
            had_keys = focused is not None and self.panel.isAncestorOf(focused)
            self.panel.leave()
            self.panel.hide()
            self._desk.acts.refresh()
            self.closed.emit(had_keys)

    def focus_panel(self) -> None:
        if self.panel is not None and self._open:
            self.panel.focus_tab()

    def focus_message(self) -> None:
        if self.panel is not None:
            self.panel.focus_message()

    def refresh(self) -> None:
        """Read what is shown anew, after a gap in the events."""
        if self.panel is not None and self._open:
            self.panel.reload()
        if self.review is not None and self._pages.currentWidget() is self.review:
            self.review.reload()
        if self.settings is not None:
            self.settings.refresh()
        if self.costs is not None and self.costs.isVisible():
            self.costs.refresh()
        if self.worktrees is not None and self.worktrees.isVisible():
            self.worktrees.refresh()

    def back(self) -> bool:
        """Go a step back. False: there was none."""
        if self._pages.currentWidget() is not self._side:
            if self.review is not None and self._pages.currentWidget() is self.review and self.review.back():
                return True
            self.show_board()
            return True
        if self._open:
            self.close_task()
            return True
        return False

    def find(self) -> bool:
        """Open the search of the page that is shown. False: it has none of its own."""
        if self.review is not None and self._pages.currentWidget() is self.review:
            self.review.open_find()
            return True
        return self._pages.currentWidget() is not self._side
