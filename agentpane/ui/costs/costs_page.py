"""Costs: what models have read, written and cost, summed by day, project, agent, task, run or model.

The engine adds up; the page asks anew when another period, project or group is chosen, and while runs go on.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from agentpane.api import commands, events
from agentpane.domain.costs import CostGroup, CostLine
from agentpane.errors import AgentPaneError
from agentpane.ui.costs import cost_words
from agentpane.ui.costs.costs_model import CostRole, CostsModel
from agentpane.ui.costs.costs_table import CostsTable
from agentpane.ui.costs.day_bars import DayBars
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Frame, Label, Later, row, stack
from agentpane.ui.parts.fields import ChoiceBox
from agentpane.ui.parts.one_of import OneOf
from agentpane.ui.parts.plain import one_line
from agentpane.ui.parts.state_card import StateCard
from agentpane.ui.settings.settings_parts import choice_row

PERIODS: dict[str, int | None] = {"today": 1, "week": 7, "month": 30, "all": None}
REFRESH_MS = 1_000
MARGIN = 24


class Tile(Frame):
    """One figure with its name, and a word about it."""

    def __init__(self, name: str, title: str) -> None:
        super().__init__("inset", margin=12, spacing=2)
        self.setObjectName(f"costs.{name}")
        self._title = title
        self._value, self._about = Label("", "heading"), Label("", "small")
        self.box.addWidget(Label(title, "caption"))
        self.box.addWidget(self._value)
        self.box.addWidget(self._about)

    def show_figure(self, value: str, about: str = "") -> None:
        self._value.show_text(value)
        self._about.show_text(about)
        self.setAccessibleName(", ".join(part for part in (f"{self._title}: {value}", about) if part))


class CostsPage(QWidget):
    """A full page. It keeps what was chosen for as long as the window is open."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("page")
        self._desk = desk
        self._job: asyncio.Task[object] | None = None
        self._model = CostsModel(self)
        self.period = OneOf(
            self,
            "costs.period",
            (
                ("today", self.tr("Today")),
                ("week", self.tr("7 days")),
                ("month", self.tr("30 days")),
                ("all", self.tr("All")),
            ),
            "segment",
        )
        self.period.show_choice("month")
        self.group = OneOf(
            self, "costs.group", tuple((one.value, cost_words.group_title(one)) for one in cost_words.GROUPS), "segment"
        )
        self.project = ChoiceBox()
        self.project.setObjectName("costs.project")
        self.project.setAccessibleName(self.tr("Project"))
        self.project.setMinimumWidth(180)
        self._fill_projects()
        self._compose()
        self._connect()

    def _compose(self) -> None:
        self._tiles = {
            "cost": Tile("cost", self.tr("Cost")),
            "calls": Tile("calls", self.tr("Requests")),
            "read": Tile("read", self.tr("Tokens read")),
            "written": Tile("written", self.tr("Tokens written")),
            "wait": Tile("wait", self.tr("Latency")),
        }
        tiles = row(*self._tiles.values(), spacing=12)
        for at in range(len(self._tiles)):
            tiles.setStretch(at, 1)
        self.bars = DayBars()
        self.table = CostsTable(self._model)
        self.empty = StateCard("costs.empty")
        content = QWidget()
        content.setLayout(
            stack(tiles, self.bars, choice_row(self.group), self.table, spacing=16, margins=(MARGIN, 8, MARGIN, 20))
        )
        self._stack = QStackedWidget()
        self._stack.addWidget(content)
        self._stack.addWidget(self.empty)
        head = row(
            Label(self.tr("Costs"), "title"), None, self.project, choice_row(self.period),
            spacing=12, margins=(MARGIN, 16, MARGIN, 12),
        )  # fmt: skip
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(self._stack, 1)

    def _connect(self) -> None:
        self.period.chosen.connect(lambda _: self.refresh())
        self.group.chosen.connect(lambda _: self.refresh())
        self.project.currentIndexChanged.connect(lambda _: self.refresh())
        self.table.activated.connect(self._open)
        self._later = Later(self, REFRESH_MS, self._follow)
        self._desk.link.published.connect(self._event)
        self._desk.known.projects_changed.connect(self._fill_projects)

    def refresh(self) -> None:
        """Ask the engine for the sums of what is chosen."""
        if self._job is not None:
            self._job.cancel()
        self._job = self._desk.jobs.start(self._read(), self.tr("Adding up the costs"), self._failed)

    def focus_first(self) -> None:
        self.period.buttons[self.period.current].setFocus(Qt.FocusReason.OtherFocusReason)

    def _event(self, event: object) -> None:
        if isinstance(event, events.TaskChanged) and self.isVisible():
            self._later.ask_if_idle()

    def _follow(self) -> None:
        if self.isVisible():
            self.refresh()

    def _fill_projects(self) -> None:
        wanted = [(self.tr("All projects"), "")]
        wanted += [(one_line(one.name), one.id) for one in self._desk.known.projects.values()]
        if wanted == [(self.project.itemText(at), self.project.itemData(at)) for at in range(self.project.count())]:
            return
        chosen = self.project.currentData()
        self.project.blockSignals(True)
        self.project.clear()
        for words, project in wanted:
            self.project.addItem(words, project)
        self.project.setCurrentIndex(max(self.project.findData(chosen), 0))
        self.project.blockSignals(False)

    async def _read(self) -> None:
        group, days = CostGroup(self.group.current), PERIODS[self.period.current]
        project = self.project.currentData() or None
        by_day = await self._desk.link.do(commands.ListCosts(CostGroup.DAY, project, days))
        lines = by_day
        if group is not CostGroup.DAY:
            lines = await self._desk.link.do(commands.ListCosts(group, project, days))
        if not by_day:
            self._show_nothing(everywhere=project is None and days is None)
            return
        self._show_totals(cost_words.add_up(by_day))
        today = date.today()
        self.bars.show_lines(by_day, None if days is None else today - timedelta(days=days - 1), today)
        regrouped = group is not self._model.group or not self._model.rowCount()
        key = self.table.current_key()
        self._model.show_lines(lines, group)
        if regrouped:
            self.table.sort_for(group)
        else:
            self.table.select_key(key)
        self._stack.setCurrentIndex(0)

    def _show_totals(self, whole: CostLine) -> None:
        unknown = figures.plural(
            whole.unpriced, self.tr("and {0} request of unknown cost"), self.tr("and {0} requests of unknown cost")
        )
        cost = cost_words.tr("unknown") if cost_words.is_unknown(whole) else figures.money(whole.cost_usd)
        self._tiles["cost"].show_figure(cost, unknown if whole.unpriced and whole.cost_usd else "")
        self._tiles["calls"].show_figure(figures.count(whole.calls))
        self._tiles["read"].show_figure(
            figures.tokens(cost_words.read_tokens(whole)),
            self.tr("{0} from the cache").format(cost_words.cached_words(whole)),
        )
        self._tiles["written"].show_figure(figures.tokens(whole.output_tokens))
        self._tiles["wait"].show_figure(cost_words.wait_words(whole), self.tr("for a request, on the average"))

    def _show_nothing(self, *, everywhere: bool) -> None:
        """Say what would be here, or that the choice leaves nothing."""
        self._model.show_lines((), CostGroup(self.group.current))
        if everywhere:
            self.empty.say(
                "coin",
                "muted",
                self.tr("Nothing has been used yet"),
                self.tr(
                    "Each request to a model is counted here: what it read and wrote, what the cache saved, how long it"
                    " took and what it cost. Run a card; a budget keeps it from spending more than you mean it to."
                ),
            )
            self.empty.offer(
                (self.tr("To the board"), "costs.board", self._desk.actions["place.board"].trigger),
                (self.tr("Set budgets"), "costs.budgets", self._desk.actions["place.settings"].trigger),
            )
        else:
            self.empty.say(
                "coin",
                "muted",
                self.tr("Nothing was used in this time"),
                self.tr("Choose a longer time or another project."),
            )
            self.empty.offer((self.tr("Show everything"), "costs.everything", self._show_everything))
        self._stack.setCurrentWidget(self.empty)

    def _show_everything(self) -> None:
        self.project.blockSignals(True)
        self.project.setCurrentIndex(0)
        self.project.blockSignals(False)
        self.period.choose("all")
        self.focus_first()

    def _failed(self, error: BaseException) -> bool:
        if not isinstance(error, AgentPaneError):
            return False
        self.empty.say(
            "alert", "attention", self.tr("The costs cannot be read"), f"{error.message} {error.hint}".strip()
        )
        self.empty.offer((self.tr("Try again"), "costs.again", self.refresh))
        self._stack.setCurrentWidget(self.empty)
        return True

    def _open(self, index: QModelIndex) -> None:
        """Open the task of a line, where the shown project has it."""
        key = str(index.data(CostRole.KEY))
        if self._model.group is CostGroup.TASK and self._desk.known.board.card(key) is not None:
            self._desk.acts.open_requested.emit(key)
