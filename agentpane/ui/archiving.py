"""Cards that are done with: off the board, seen again, and put back."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject

from agentpane.api import commands, events
from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError
from agentpane.ui.desk.acts import short
from agentpane.ui.desk.desk import Desk
from agentpane.ui.palette_sheet import Entry, PaletteSheet
from agentpane.ui.parts import figures
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.sheets.ask_sheets import ConfirmSheet


class Archiving(QObject):
    """Acts on the cards of the shown project."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.window)
        self._desk = desk

    def archive(self, task_ids: Sequence[str]) -> None:
        """Take cards off the board, without a question: what is said afterwards puts them back."""
        self._start(self._archive(task_ids), self.tr("Archiving"))

    def archive_verified(self) -> None:
        """Take every verified card off the board; more than one after a question."""
        if open_sheet(self._desk.window) is None:
            self._start(self._archive_verified(), self.tr("Archiving"))

    def show(self) -> None:
        """Show what is archived; the chosen card comes back to the board."""
        if open_sheet(self._desk.window) is None:
            self._start(self._show(), self.tr("Reading what is archived"))

    def put_back(self, task_ids: Sequence[str]) -> None:
        self._start(self._put_back(task_ids), self.tr("Putting back on the board"))

    async def _archive(self, task_ids: Sequence[str]) -> None:
        done: list[Task] = []
        try:
            for task_id in reversed(task_ids):  # from below, so that no card moves up for each
                if self._desk.known.board.card(task_id) is None:  # it has left the board meanwhile
                    continue
                try:
                    done.append(await self._desk.link.do(commands.ArchiveTask(task_id)))
                except AgentPaneError as error:
                    if not error.details.get("archived"):  # by somebody else, which is as well
                        raise
        finally:
            if done:
                back = partial(self.put_back, [task.card.id for task in done])
                many = self.tr("Archived: {0} cards")
                self._desk.toasts.say(_which(done, self.tr("Archived: {0}"), many), act=(self.tr("Put back"), back))

    async def _archive_verified(self) -> None:
        cards = [card for card in self._desk.known.board.cards() if card.column is Column.VERIFIED]
        if not cards:
            self._desk.toasts.say(self.tr("No card is verified."), "note")
            return
        if len(cards) == 1:  # as by its own menu
            await self._archive([cards[0].id])
            return
        title = self.tr("Archive {0} verified cards?").format(figures.count(len(cards)))
        words = self.tr(
            "They leave the board; their sessions and costs stay. “Archived tasks” in the menu puts each of them back."
        )
        sheet = ConfirmSheet(self._desk.window, title, words, self.tr("Archive"), kind="primary")
        sheet.open()
        if await sheet.answer() is True:
            await self._archive([card.id for card in sorted(cards, key=lambda card: card.position)])

    async def _show(self) -> None:
        project = self._desk.known.current
        cards = await self._desk.link.do(commands.ListTasks(project.id, archived=True)) if project is not None else ()
        if not cards:
            self._desk.toasts.say(self.tr("No card of this project is archived."), "note")
            return
        if open_sheet(self._desk.window) is not None or self._desk.known.current != project:
            return  # the person has gone on meanwhile
        words = self.tr("Put an archived card back on the board")
        sheet = PaletteSheet(self._desk.window, [self._entry(card) for card in cards], words)
        sheet.open(sheet.field)

    def _entry(self, card: TaskCard) -> Entry:
        since = figures.ago(card.archived_at or card.updated_at)
        where = self.tr("{0}, {1}").format(COLUMN_TITLES[card.column], since)
        return Entry(card.title, where, "archive", partial(self.put_back, [card.id]))

    async def _put_back(self, task_ids: Sequence[str]) -> None:
        done: list[Task] = []
        try:
            for task_id in reversed(task_ids):  # the last that went is the first that comes: it goes where it stood
                done.append(await self._desk.link.do(commands.UnarchiveTask(task_id)))
        finally:
            if done:
                one, many = self.tr("Back on the board: {0}"), self.tr("Back on the board: {0} cards")
                self._desk.toasts.say(_which(done, one, many))
        if len(done) == 1:
            self._desk.known.apply(events.TaskChanged(done[0].card))  # the answer may be here before the announcement
            self._desk.acts.made.emit(done[0].card.id)

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        self._desk.jobs.start(work, what)


def _which(tasks: Sequence[Task], one: str, many: str) -> str:
    """One card is named by its title, several by their number."""
    return one.format(short(tasks[0].card.title)) if len(tasks) == 1 else many.format(figures.count(len(tasks)))
