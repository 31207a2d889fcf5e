"""The window: it puts the pages together, shows one of them, and stays responsive whatever the engine does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QSettings, QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QSplitter, QStackedWidget, QWidget

from agentpane.api import events
from agentpane.domain.board import Column
from agentpane.ui.board.board_page import BoardPage
from agentpane.ui.connecting import ConnectingPage
from agentpane.ui.desk.actions import REVIEW_ACTIONS, Actions
from agentpane.ui.desk.acts import Acts, local_folder, short
from agentpane.ui.desk.desk import Desk
from agentpane.ui.desk.jobs import Jobs
from agentpane.ui.desk.known import Known
from agentpane.ui.desk.link import Connection, Link, LinkState
from agentpane.ui.desk.notices import Toasts
from agentpane.ui.drop_veil import DropVeil
from agentpane.ui.look.theme import Look
from agentpane.ui.parts.controls import stack
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.places import Places
from agentpane.ui.rail import Rail
from agentpane.ui.strips import Strips
from agentpane.ui.telling import Telling

if TYPE_CHECKING:
    from agentpane.ui.flows import Flows

SMALLEST = (960, 600)
USUAL = (1440, 900)
FRAME = (2, 40)  # what a window manager puts around a window
FOLD_BELOW = 1400


class MainWindow(QMainWindow):
    """One window of AgentPane. `connect` gives it the engine."""

    closed = Signal()

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connect: Callable[[], Awaitable[Connection]],
        memory: QSettings | None = None,
    ) -> None:
        super().__init__()
        self.setObjectName("window")
        self.setWindowTitle("AgentPane")
        self.setMinimumSize(*SMALLEST)
        self.setAcceptDrops(True)
        self._memory = memory
        self._fold_wish: bool | None = None
        self._leaving = False
        self._place = ""
        self._flows: Flows | None = None
        self._loading: asyncio.Task[object] | None = None
        self.jobs = Jobs(loop, self)
        link = Link(connect, self)
        known = Known(link, self)
        actions = Actions(self)
        toasts = Toasts(self)
        acts = Acts(self, link, self.jobs, known, actions, toasts)
        self.desk = Desk(self, link, self.jobs, known, actions, toasts, acts)
        self._compose()
        self._connect()
        self._restore()

    def start(self) -> None:
        """Connect to the engine, and keep connected."""
        self.jobs.start(self.desk.link.run(), "link")

    async def stop(self) -> None:
        """End the window's own jobs; the engine and its runs go on."""
        await self.jobs.join()

    def _compose(self) -> None:
        desk = self.desk
        self.rail = Rail(desk)
        self.board = BoardPage(desk)
        self.strips = Strips(desk)
        self.board.banners.addWidget(self.strips)
        self.connecting = ConnectingPage()
        self.side = QSplitter(Qt.Orientation.Horizontal)
        self.side.setHandleWidth(1)
        self.side.setChildrenCollapsible(False)
        self.side.addWidget(self.board)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.connecting)
        self.pages.addWidget(self.side)
        self.places = Places(desk, self.pages, self.side)
        body = QWidget()
        across = QHBoxLayout(body)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(0)
        across.addWidget(self.rail)
        across.addLayout(stack(self.pages, spacing=0), 1)
        self.setCentralWidget(body)
        self._veil = DropVeil(self)
        self._telling = Telling(desk, lambda: self.places.task_shown, lambda: self.places.worktrees_shown is not None)

    def _connect(self) -> None:
        desk, actions, acts = self.desk, self.desk.actions, self.desk.acts
        desk.link.changed.connect(self._link_changed)
        desk.link.stale.connect(self._load)
        desk.link.published.connect(self._event)
        desk.known.loaded.connect(self._loaded)
        desk.known.current_changed.connect(self._name)
        desk.known.settings_changed.connect(lambda: Look.current().choose(desk.known.settings.theme))
        self.jobs.failed.connect(lambda error, what: self.flows.show_error(error, what))
        self.connecting.again_requested.connect(desk.link.try_again)
        self.rail.project_requested.connect(self._show_project)
        self.board.new_requested.connect(lambda column: self.flows.new_task(column))
        self.board.primary_requested.connect(self._primary)
        self.board.entered.connect(self._enter_task)
        carry = self.board.carry
        carry.move_requested.connect(lambda *asked: self.flows.move(*asked))
        carry.review_requested.connect(acts.review_requested)
        carry.refused.connect(lambda reason: desk.toasts.say(reason, "note"))
        acts.sees = self._sees
        acts.open_requested.connect(self._open_task)
        acts.review_requested.connect(self.places.show_review)
        acts.message_requested.connect(self._message)
        acts.approve_requested.connect(lambda task: self._verdict(task, approve=True))
        acts.approved.connect(lambda task, _: self._decided(task))
        acts.rejected.connect(self._decided)
        acts.reject_requested.connect(lambda task: self._verdict(task, approve=False))
        acts.bin_requested.connect(self.places.show_worktrees)
        acts.more_requested.connect(lambda task: self.flows.give_more(task))
        self.places.changed.connect(self._place_changed)
        self.places.closed.connect(self._panel_closed)
        self.strips.key_requested.connect(lambda: self.flows.ask_key())
        self.strips.trust_requested.connect(lambda project, digest: self.flows.trust(project, digest))
        self._connect_flows()
        for action_id, act in (
            ("place.board", self.places.show_board),
            ("place.worktrees", self.places.show_worktrees),
            ("place.costs", self.places.show_costs),
            ("place.settings", self.places.show_settings),
            ("rail", self._fold_or_unfold),
            ("back", self._back),
            ("find", self._find),
            ("quit", self.close),
        ):
            actions.on(action_id, act)
        for action_id in REVIEW_ACTIONS:
            actions[action_id].setEnabled(False)

    def _connect_flows(self) -> None:
        """Those actions that ask something first. Their sheets are made, and imported, when they are first wanted."""
        actions, acts = self.desk.actions, self.desk.acts
        acts.edit_requested.connect(lambda task: self.flows.edit_task(task))
        acts.stop_requested.connect(lambda task: self.flows.stop(task))
        acts.delete_requested.connect(lambda task: self.flows.delete(task))
        acts.archive_requested.connect(lambda task: self.flows.archiving.archive([task]))
        acts.afresh_requested.connect(lambda task: self.flows.afresh(task))
        acts.set_back_requested.connect(lambda *asked: self.flows.set_back(*asked))
        actions.on("task.new", lambda: self.flows.new_task(Column.BACKLOG))
        actions.on("archive.all", lambda: self.flows.archiving.archive_verified())
        actions.on("archive.open", lambda: self.flows.archiving.show())
        actions.on("project.add", lambda: self.flows.add_project())
        actions.on("palette", lambda: self.flows.palette())
        actions.on("projects", lambda: self.flows.projects())
        actions.on("keys", lambda: self.flows.keys())
        actions.on("key", lambda: self.flows.ask_key())
        actions.on("theme.system", lambda: self.flows.theme("system"))
        actions.on("theme.light", lambda: self.flows.theme("light"))
        actions.on("theme.dark", lambda: self.flows.theme("dark"))

    @property
    def flows(self) -> Flows:
        if self._flows is None:
            from agentpane.ui.flows import Flows  # made when first wanted

            self._flows = Flows(self.desk)
        return self._flows

    # The engine

    def _link_changed(self, state: LinkState) -> None:
        if state is LinkState.READY:
            self._load()
        if not self.desk.known.ready:
            self.connecting.show_link(state, self.desk.link.error)

    def _load(self) -> None:
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
        self._loading = self.jobs.start(self.desk.known.load(), self.tr("Reading the board"), self._load_failed)

    def _load_failed(self, error: BaseException) -> bool:
        """A load that the engine's end cut short is done again when it is back."""
        return self.desk.link.state is not LinkState.READY

    def _loaded(self) -> None:
        if self.pages.currentWidget() is self.connecting:
            self.places.show_board()
            self.board.focus_board()
        self.places.refresh()

    def _event(self, event: object) -> None:
        if isinstance(event, events.WindowRaised):
            self.come_to_front()

    def come_to_front(self) -> None:
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    # Places

    def _show_project(self, project_id: str) -> None:
        self.places.close_task()
        self.places.show_board()
        self.desk.acts.show_project(project_id)

    def _open_task(self, task_id: str) -> None:
        if not task_id:
            return
        self.desk.acts.take(task_id)
        self.desk.toasts.drop(task_id)
        self.places.show_task(task_id)
        self.board.select(task_id)

    def _sees(self, task_id: str) -> bool:
        """Whether a card is before the person: current on the board, in its panel, or under review."""
        review = self.places.review_shown
        if review is not None:
            return review.task_id == task_id
        return self.places.on_board and (self.places.task_shown == task_id or self.board.is_current(task_id))

    def _message(self, task_id: str) -> None:
        self._open_task(task_id)
        self.places.focus_message()

    def _verdict(self, task_id: str, *, approve: bool) -> None:
        """Approve or reject: in the review where it is open, else after a question."""
        review = self.places.review_shown
        if review is not None and review.task_id == task_id and open_sheet(self) is None:
            (review.approve if approve else review.reject)()
        elif approve:
            self.flows.approve(task_id)
        else:
            self.flows.reject(task_id)

    def _primary(self, task_id: str, action_id: str) -> None:
        self.desk.acts.take(task_id)
        self.desk.actions[action_id].trigger()

    def _decided(self, task_id: str) -> None:
        """After a verdict the keys are on the board, at the card."""
        if self.places.on_board and open_sheet(self) is None:
            self.board.select(task_id)
            self.board.focus_board()

    def _enter_task(self, task_id: str) -> None:
        self.desk.acts.open_requested.emit(task_id)
        self.places.focus_panel()

    def _place_changed(self, place: str) -> None:
        self.rail.show_place(place)
        self._place_toasts()
        self.desk.acts.refresh()
        if place == "board" and self._place != "board":
            if self.desk.acts.task_id:
                self.board.select(self.desk.acts.task_id)
            self.board.focus_board()
        self._place = place

    def _place_toasts(self) -> None:
        """Where they cover neither the buttons of lines nor a foot."""
        places = self.places
        left = self.rail if places.worktrees_shown is not None else None
        foot = places.review_shown is not None or (places.on_board and bool(places.task_shown))
        self.desk.toasts.stand(beside=left, over_foot=foot)

    def _panel_closed(self, had_keys: bool) -> None:
        self._place_toasts()
        if had_keys:
            self.board.focus_board()

    def _back(self) -> None:
        sheet = open_sheet(self)
        if sheet is not None:
            sheet.dismiss()
        elif self.board.carry.card is not None:
            self.board.carry.end()
        elif not self.places.back():
            self.board.search.clear()
            self.board.focus_board()

    def _find(self) -> None:
        if not self.places.find():
            self.board.open_find()

    def _name(self) -> None:
        project = self.desk.known.current
        self.setWindowTitle(f"{short(project.name)} – AgentPane" if project else "AgentPane")

    # The window itself

    def _fold_or_unfold(self) -> None:
        self._fold_wish = not self.rail.narrow
        self.rail.fold(self._fold_wish)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fold_wish is None:
            self.rail.fold(event.size().width() < FOLD_BELOW)

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if folder_of(event) is not None:
            event.acceptProposedAction()
            self._veil.cover()

    @override
    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._veil.hide()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        self._veil.hide()
        folder = folder_of(event)
        if folder is not None:
            event.acceptProposedAction()
            self.desk.acts.add_project(folder)

    @override
    def closeEvent(self, event: QCloseEvent) -> None:
        if not self._leaving and self._alive() and self.desk.link.state is LinkState.READY:
            event.ignore()
            self.jobs.start(self._ask_to_leave(), self.tr("Closing"))
            return
        self._remember()
        super().closeEvent(event)
        self.closed.emit()

    async def _ask_to_leave(self) -> None:
        if await self.flows.leave(self._alive()):
            self._leaving = True
            self.close()

    def _alive(self) -> int:
        return sum(project.counts.running + project.counts.queued for project in self.desk.known.projects.values())

    def _restore(self) -> None:
        room = self.screen().availableSize() - QSize(*FRAME)
        self.resize(QSize(*USUAL).boundedTo(room).expandedTo(self.minimumSize()))
        if self._memory is not None:
            geometry = self._memory.value("geometry")
            if isinstance(geometry, QByteArray):
                self.restoreGeometry(geometry)
            self.desk.known.preferred = str(self._memory.value("project", ""))

    def _remember(self) -> None:
        if self._memory is not None:
            self._memory.setValue("geometry", self.saveGeometry())
            if self.desk.known.current is not None:
                self._memory.setValue("project", self.desk.known.current.id)


def folder_of(event: QDropEvent) -> str | None:
    """The local folder that is being dropped, if it is one."""
    for url in event.mimeData().urls():
        if url.isLocalFile():
            return local_folder(url.toLocalFile())
    return None
