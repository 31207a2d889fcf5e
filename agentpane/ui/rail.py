"""The left rail: projects with what is happening in each, then the places. It folds to icons."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QScrollArea, QVBoxLayout, QWidget

from agentpane.domain.projects import Project
from agentpane.ui.desk.actions import ACTIONS
from agentpane.ui.desk.desk import Desk
from agentpane.ui.desk.link import LinkState
from agentpane.ui.look.icons import IconStore
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, IconButton, IconLabel, Label, Pressable, clear, row
from agentpane.ui.parts.initials import initials
from agentpane.ui.parts.overriding import override
from agentpane.ui.parts.plain import one_line, plain_tip
from agentpane.ui.worktrees.worktree_words import found_words, wrong

WIDE = 240
NARROW = 56
ROW_HEIGHT = 36
PLACES = (("board", "board"), ("worktrees", "branch"), ("costs", "coin"), ("settings", "settings"))
PLACE_IN_RAIL = {"review": "board"}  # a review is opened from the board and goes back to it


class ProjectRow(Pressable):
    """One project: its name, and how many of its runs work, wait for the person, or have failed."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.setObjectName(f"project.{project.id}")
        self.setCheckable(True)
        self.setProperty("kind", "nav")
        self.setFixedHeight(ROW_HEIGHT)
        self.show_project(project, False)

    def show_project(self, project: Project, chosen: bool, initials: str = "") -> None:
        """initials: what stands for its name where there is no room for it; empty: there is."""
        self.project = project
        self.initials = initials
        self.updateGeometry()
        self.setChecked(chosen)
        words = [words for *_, words in self._marks()]
        self.setAccessibleName(", ".join([one_line(project.name), *words]))
        self.setToolTip(plain_tip("\n".join([project.name, project.path, *words])))
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(NARROW - 16 if self.initials else WIDE - 16, ROW_HEIGHT)

    @override
    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()  # a button's own would not fit the folded rail

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        store = IconStore.current()
        look = store.look
        box = self.rect()
        marks = self._marks()
        if self.initials:
            self._paint_narrow(painter, marks)
            return
        name = "film" if self.project.recorded else "folder"
        token = "accent" if self.isChecked() else "muted"
        store.draw(painter, name, look.colour(token), 10, (box.height() - 16) // 2, 16)
        right = box.right() - 8
        small = look.text_font(0.84, strong=True)
        painter.setFont(small)
        for icon_name, mark_token, number, _ in reversed(marks):
            text = figures.count(number)
            width = painter.fontMetrics().horizontalAdvance(text)
            painter.setPen(look.colour(mark_token))
            painter.drawText(right - width, 0, width, box.height(), Qt.AlignmentFlag.AlignVCenter, text)
            right -= width + 15
            store.draw(painter, icon_name, look.colour(mark_token), right, (box.height() - 13) // 2, 13)
            right -= 8
        painter.setFont(look.text_font(1.0, strong=self.isChecked()))
        painter.setPen(look.colour("text"))
        fitted = painter.fontMetrics().elidedText(one_line(self.project.name), Qt.TextElideMode.ElideRight, right - 38)
        painter.drawText(34, 0, right - 34, box.height(), Qt.AlignmentFlag.AlignVCenter, fitted)

    def _paint_narrow(self, painter: QPainter, marks: list[tuple[str, str, int, str]]) -> None:
        look = IconStore.current().look
        box = self.rect().adjusted(7, 5, -7, -5)
        painter.setPen(QPen(look.colour("accent" if self.isChecked() else "strong"), 1))
        painter.setBrush(look.colour("raised"))
        painter.drawRoundedRect(box, 6, 6)
        painter.setPen(look.colour("text"))
        painter.setFont(look.text_font(0.9, strong=True))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, self.initials)
        if marks:
            painter.setPen(QPen(look.colour("surface"), 2))
            painter.setBrush(look.colour(marks[-1][1]))
            painter.drawEllipse(box.right() - 5, box.top() - 4, 9, 9)

    def _marks(self) -> list[tuple[str, str, int, str]]:
        counts = self.project.counts
        words = (
            ("play", "accent", counts.running, self.tr("{0} running")),
            ("queue", "muted", counts.queued, self.tr("{0} queued")),
            ("user", "attention", counts.waiting, self.tr("{0} waiting for you")),
            ("alert", "danger", counts.failed, self.tr("{0} failed")),
        )
        return [
            (name, token, number, text.format(figures.count(number))) for name, token, number, text in words if number
        ]


class Rail(QFrame):
    """Asks for a project or a place; shows which one is there."""

    project_requested = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("rail")
        self._desk = desk
        self.narrow = False
        self._rows: list[ProjectRow] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 12, 8, 10)
        layout.setSpacing(2)
        layout.addLayout(self._head())
        layout.addSpacing(10)
        layout.addLayout(self._project_head())
        layout.addWidget(self._project_area(), 1)
        self._places = {place: self._place(place, icon_name) for place, icon_name in PLACES}
        for button in self._places.values():
            layout.addWidget(button)
        layout.addSpacing(6)
        layout.addLayout(self._foot())
        desk.known.projects_changed.connect(self.show_projects)
        desk.known.current_changed.connect(self.show_projects)
        desk.known.health_changed.connect(self._name_places)
        desk.link.changed.connect(self.show_link)
        self.show_projects()
        self.show_link(desk.link.state)
        self._fit()

    def fold(self, narrow: bool) -> None:
        if narrow != self.narrow:
            self.narrow = narrow
            self._fit()
            self.show_projects()

    def show_place(self, place: str) -> None:
        for name, button in self._places.items():
            button.setChecked(name == PLACE_IN_RAIL.get(place, place))

    def show_projects(self) -> None:
        known = self._desk.known
        wanted = list(known.projects.values())
        current = known.current.id if known.current else ""
        if [line.project.id for line in self._rows] != [project.id for project in wanted]:
            self._make_rows(wanted)
        short = initials([one_line(project.name) for project in wanted])
        for line, project, letters in zip(self._rows, wanted, short, strict=True):
            line.show_project(project, project.id == current, letters if self.narrow else "")

    def _make_rows(self, projects: list[Project]) -> None:
        clear(self._list)
        self._rows = [ProjectRow(project) for project in projects]
        for line in self._rows:
            line.clicked.connect(partial(self._asked, line))
            self._list.addWidget(line)
        self._list.addStretch(1)

    def show_link(self, state: LinkState) -> None:
        icon_name, token, words = {
            LinkState.CONNECTING: ("clock", "muted", self.tr("Starting the engine")),
            LinkState.READY: ("check-circle", "success", self.tr("Engine ready")),
            LinkState.LOST: ("retry", "attention", self.tr("Engine lost, starting it")),
            LinkState.STOPPED: ("stop", "muted", self.tr("Engine stopped")),
            LinkState.REFUSED: ("error", "danger", self.tr("Engine unavailable")),
        }[state]
        self._state_icon.show_icon(icon_name, token)
        self._state.show_text(words)
        self._state_icon.setToolTip(words)

    def _head(self) -> QHBoxLayout:
        self._name = Label("AgentPane", "heading")
        self._menu_button = IconButton("menu", self.tr("Menu"), name="rail.menu", pressed=self._open_menu)
        self._logo = IconLabel("logo", "accent", 22)
        self._head_row = row(self._logo, self._name, None, self._menu_button, spacing=8)
        return self._head_row

    def _project_head(self) -> QHBoxLayout:
        self._caption = Label(self.tr("Projects"), "caption")
        add = IconButton(
            "plus", self.tr("Add project"), name="rail.add", pressed=self._desk.actions["project.add"].trigger
        )
        self._caption.setContentsMargins(8, 0, 0, 0)
        self._project_row = row(self._caption, None, add, spacing=0)
        return self._project_row

    def _project_area(self) -> QScrollArea:
        inside = QWidget()
        self._list = QVBoxLayout(inside)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(2)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(inside)
        return scroll

    def _place(self, place: str, icon_name: str) -> Button:
        action = self._desk.actions[f"place.{place}"]
        button = Button(action.text(), kind="nav", icon_name=icon_name, name=f"rail.{place}", pressed=action.trigger)
        button.setCheckable(True)
        button.setToolTip(plain_tip(f"{action.text()}  {action.shortcut().toString()}"))
        return button

    def _foot(self) -> QHBoxLayout:
        self._state_icon = IconLabel("clock", "muted", 14)
        self._state = Label("", "small")
        self._state.setObjectName("rail.engine")
        self._foot_row = row(self._state_icon, self._state, None, spacing=8)
        return self._foot_row

    def _fit(self) -> None:
        self.setFixedWidth(NARROW if self.narrow else WIDE)
        for part in (self._name, self._caption, self._state, self._logo):
            part.setVisible(not self.narrow)
        side = (NARROW - 16 - 28) // 2 if self.narrow else 0
        self._head_row.setContentsMargins(0 if self.narrow else 6, 0, side, 0)
        self._project_row.setContentsMargins(0, 0, side, 0)
        self._foot_row.setContentsMargins(13 if self.narrow else 12, 0, 0, 0)
        self._name_places()

    def _name_places(self) -> None:
        """The places by their names; that of the worktrees says how much the doctor found."""
        health = self._desk.known.health
        found = len(wrong(health.findings)) if health is not None else 0
        for place, button in self._places.items():
            text = self._desk.actions[f"place.{place}"].text()
            if place == "worktrees" and found:
                button.describe(f"{text}, {found_words(health.findings)}" if health is not None else text)
                text = f"{text}  ·  {figures.count(found)}"
            else:
                button.describe(text)
            button.setText("" if self.narrow else text)

    def _asked(self, line: ProjectRow, _: bool = False) -> None:
        line.setChecked(True)
        self.project_requested.emit(line.project.id)

    def _open_menu(self) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        group = ACTIONS[0].group
        for action in self._desk.actions:
            if not action.isEnabled() or action.objectName().startswith("review."):
                continue
            if action.property("group") != group:
                group = action.property("group")
                menu.addSeparator()
            menu.addAction(action)
        menu.popup(self._menu_button.mapToGlobal(self._menu_button.rect().bottomLeft()))

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._desk.actions["rail"].trigger()
