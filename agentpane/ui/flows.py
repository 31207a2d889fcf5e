"""What takes a question: a sheet is opened, its answer becomes a command. One coroutine a flow."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QDir, QObject
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QAbstractButton, QDialogButtonBox, QFileDialog

from agentpane.api import commands, events
from agentpane.api.cancelling import foresee
from agentpane.domain.board import Column
from agentpane.domain.budgets import Budget
from agentpane.domain.review import MergeStrategy
from agentpane.domain.runs import ACTIVE, LIVE, RunStatus
from agentpane.domain.tasks import TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.ui.archiving import Archiving
from agentpane.ui.cards.going_words import going_words
from agentpane.ui.cards.standing_words import what_keeps
from agentpane.ui.desk.acts import short
from agentpane.ui.desk.desk import Desk
from agentpane.ui.desk.link import LinkState, model_environment
from agentpane.ui.look.icons import icon
from agentpane.ui.palette_sheet import Entry, KeysSheet, PaletteSheet, action_entries
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.settings.budget_sheet import BudgetSheet
from agentpane.ui.sheets.ask_sheets import ApproveSheet, CloseSheet, ConfirmSheet, ErrorSheet, KeySheet, RejectSheet
from agentpane.ui.sheets.merge_words import strategy_named
from agentpane.ui.sheets.task_sheet import TaskDraft, TaskForm, TaskSheet

# Our drawings for the tools of Qt's own folder dialog, by their names there.
DIALOG_ICONS = {
    "backButton": "chevron-left",
    "forwardButton": "chevron-right",
    "toParentButton": "arrow-left",
    "newFolderButton": "folder-plus",
    "listModeButton": "board",
    "detailModeButton": "menu",
}


class Flows(QObject):
    """Takes up those actions that ask something first."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.window)
        self._desk = desk
        self.archiving = Archiving(desk)
        self._drafts: dict[str, TaskDraft] = {}  # what was typed for a project's next task and not made
        self._folder = ""  # where a project was last chosen

    # Tasks

    def new_task(self, column: Column) -> None:
        if self._free() and self._desk.known.current is not None:
            self._start(self._new_task(column is Column.IN_PROGRESS), self.tr("Creating the task"))

    def edit_task(self, task_id: str) -> None:
        if self._free():
            self._start(self._edit_task(task_id), self.tr("Saving the task"))

    def delete(self, task_id: str) -> None:
        if self._free():
            self._start(self._delete(task_id), self.tr("Deleting the task"))

    def stop(self, task_id: str) -> None:
        self._put_back(task_id, None)

    def afresh(self, task_id: str) -> None:
        if self._free():
            self._start(self._afresh(task_id), self.tr("Starting afresh"))

    def set_back(self, task_id: str, sha: str, what: str) -> None:
        """Ask before a worktree is set back to what a turn left."""
        if self._free():
            self._start(self._set_back(task_id, sha, what), self.tr("Setting the worktree back"))

    def move(self, task_id: str, column: Column, position: int) -> None:
        """Carry out a drag; one that takes a worktree away is asked about first, as a stop is."""
        card = self._desk.known.board.card(task_id)
        if card is not None and card.column is not column and column is Column.BACKLOG:
            self._put_back(task_id, position)
        else:
            self._desk.acts.move(task_id, column, position)

    def _put_back(self, task_id: str, position: int | None) -> None:
        card = self._desk.known.board.card(task_id)
        if card is not None and self._free():
            self._start(self._ask_to_put_back(card, position), self.tr("Putting the card back"))

    def approve(self, task_id: str) -> None:
        sheet = open_sheet(self._desk.window)
        if sheet is not None:
            sheet.accept()
        else:
            self._start(self._approve(task_id), self.tr("Merging"))

    def reject(self, task_id: str) -> None:
        sheet = open_sheet(self._desk.window)
        if sheet is not None:
            sheet.accept()
        else:
            self._start(self._reject(task_id), self.tr("Sending the card back"))

    def give_more(self, task_id: str) -> None:
        """Ask how much more a run may use whose budget is used up."""
        if open_sheet(self._desk.window) is None:
            self._start(self._give_more(task_id), self.tr("Resuming the run"))

    # The rest

    def add_project(self) -> None:
        dialog = QFileDialog(self._desk.window, self.tr("Choose a repository's folder"))
        dialog.setObjectName("choose_folder")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.setDirectory(self._folder or QDir.homePath())
        for button in dialog.findChildren(QAbstractButton):  # those of Qt's own dialog; the system's has none
            if isinstance(button.parent(), QDialogButtonBox):
                button.setIcon(QIcon())
            elif button.objectName() in DIALOG_ICONS:
                button.setIcon(icon(DIALOG_ICONS[button.objectName()]))
        dialog.fileSelected.connect(self._chosen)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _chosen(self, path: str) -> None:
        self._folder = str(Path(path).parent)
        self._desk.acts.add_project(path)

    def ask_key(self) -> None:
        if self._free():
            self._start(self._ask_key(), self.tr("Storing the key"))

    def trust(self, project_id: str, digest: str) -> None:
        """Trust the content that the person was shown."""
        self._start(self._trust(project_id, digest), self.tr("Trusting the configuration"))

    def theme(self, theme: str) -> None:
        self._start(self._theme(theme), self.tr("Changing the theme"))

    def palette(self) -> None:
        if not self._free():
            return
        entries = [*action_entries(self._desk.actions), *self._project_entries(), *self._card_entries()]
        sheet = PaletteSheet(self._desk.window, entries, self.tr("Type a command, a project or a card"))
        sheet.open(sheet.field)

    def projects(self) -> None:
        if self._free():
            sheet = PaletteSheet(self._desk.window, self._project_entries(), self.tr("Go to project"))
            sheet.open(sheet.field)

    def keys(self) -> None:
        if self._free():
            KeysSheet(self._desk.window, self._desk.actions).open()

    def show_error(self, error: BaseException, what: str) -> None:
        """Tell the person. An engine that is gone has its banner already."""
        gone = isinstance(error, AgentPaneError) and error.code is ErrorCode.ENGINE_UNREACHABLE
        if gone and self._desk.link.state is not LinkState.READY:
            self._desk.toasts.say(self.tr("{0}: the engine is not there yet.").format(what), "fault")
            return
        ErrorSheet(self._desk.window, error, what).open()

    async def leave(self, runs: int) -> bool:
        """Ask what becomes of the runs when the window closes. False: the window stays."""
        sheet = CloseSheet(self._desk.window, runs)
        sheet.open()
        answer = await sheet.answer()
        if answer in {"pause", "stop"}:
            for project in list(self._desk.known.projects):
                for card in await self._desk.link.do(commands.ListTasks(project, Column.IN_PROGRESS)):
                    if card.run is not None and card.run.status in LIVE:
                        await self._end(card, str(answer))
        return answer is not None

    async def _end(self, card: TaskCard, how: str) -> None:
        try:
            if how == "pause":
                await self._desk.link.do(commands.PauseRun(card.id))
            else:
                await self._desk.link.do(commands.CancelTask(card.id))
        except AgentPaneError as error:
            # A run that has come to its end meanwhile needs no ending, and its diff is not given up unasked.
            if error.code not in {
                ErrorCode.AGENT_NOT_RUNNING, ErrorCode.TASK_NOT_IN_COLUMN, ErrorCode.VALIDATION_ERROR,
            }:  # fmt: skip
                raise

    async def _new_task(self, start: bool) -> None:
        project = self._desk.known.current
        if project is None:
            return
        agents = await self._desk.link.do(commands.ListAgents(project.id))
        sheet = TaskSheet(self._desk.window, list(agents), start=start)
        sheet.fill(self._drafts.get(project.id, TaskDraft()))
        sheet.finished.connect(lambda _: self._drafts.update({project.id: sheet.draft()}))
        sheet.open()
        form = await sheet.answer()
        if not isinstance(form, TaskForm):
            return
        command = commands.AddTask(
            project.id, form.title, form.description, form.labels, form.agent, form.start,
            environment=model_environment() if form.start else {},
        )  # fmt: skip
        task = await self._desk.link.do(command)
        self._drafts.pop(project.id, None)
        self._desk.known.apply(events.TaskChanged(task.card))  # the answer may be here before the announcement
        self._desk.acts.made.emit(task.card.id)
        self._desk.toasts.say(self.tr("Created: {0}").format(short(task.card.title)))

    async def _edit_task(self, task_id: str) -> None:
        task = await self._desk.link.do(commands.GetTask(task_id))
        agents = await self._desk.link.do(commands.ListAgents(task.card.project_id))
        sheet = TaskSheet(self._desk.window, list(agents), task=task)
        sheet.open()
        form = await sheet.answer()
        if isinstance(form, TaskForm):
            await self._desk.link.do(commands.EditTask(task_id, form.title, form.description, form.labels, form.agent))

    async def _delete(self, task_id: str) -> None:
        card = self._desk.known.board.card(task_id)
        if card is not None and await self._sure(
            self.tr("Delete this task?"),
            self.tr("“{0}” was never run, so nothing else is kept of it.").format(short(card.title)),
            self.tr("Delete"),
        ):
            self._desk.acts.delete(task_id)

    async def _ask_to_put_back(self, card: TaskCard, position: int | None) -> None:
        waits = card.column is Column.WAITING_APPROVAL
        title, act = self.tr("Stop and put the card back?"), self.tr("Stop")
        words = self.tr(
            "The run and everything it started ends, and “{0}” goes to the backlog."
            " What the agent changed is kept in the recovery bin for 30 days."
        )
        if waits:
            title, act = self.tr("Put the card back in the backlog?"), self.tr("Put back")
            words = self.tr(
                "“{0}” loses its place for review and its worktree is removed."
                " What it held beyond its branch is kept in the recovery bin for 30 days."
            )
        going = await foresee(self._desk.link, card.id)
        if await self._sure(title, words.format(short(card.title)) + going_words(going), act):
            self._desk.acts.put_back(card.id, position, confirmed=waits)

    async def _afresh(self, task_id: str) -> None:
        card = self._desk.known.board.card(task_id)
        if card is not None and await self._sure(
            self.tr("Start afresh?"),
            self.tr(
                "The worktree of “{0}” is set back to its base, and the agent begins anew."
                " What the worktree holds now is kept in the recovery bin for 30 days."
            ).format(short(card.title)),
            self.tr("Start afresh"),
        ):
            self._desk.acts.resume(task_id, afresh=True)

    async def _set_back(self, task_id: str, sha: str, what: str) -> None:
        card = self._desk.known.board.card(task_id)
        if card is None:
            return
        if card.column is not Column.IN_PROGRESS:
            self._desk.toasts.say(self.tr("Only a card in progress can be set back."), "note")
        elif card.run is not None and card.run.status in {RunStatus.QUEUED, *ACTIVE}:
            self._desk.toasts.say(self.tr("Pause the run first: its agent works in this worktree."), "note")
        elif await self._sure(
            self.tr("Set the worktree back?"),
            self.tr(
                "It becomes what it was after “{0}”, and the agent is told so."
                " What it holds now is kept in the recovery bin for 30 days."
            ).format(what),
            self.tr("Set back"),
        ):
            self._desk.acts.reset_worktree(task_id, sha)

    async def _approve(self, task_id: str) -> None:
        task = await self._desk.link.do(commands.GetTask(task_id))
        target = task.base_branch or (self._desk.known.current.base_branch if self._desk.known.current else "")
        strategy = strategy_named(self._desk.known.settings.merge_strategy)
        keeps = what_keeps(task.card, target)
        title, sha, conflicts = short(task.card.title), task.snapshot or "", bool(task.card.conflicts)
        sheet = ApproveSheet(self._desk.window, title, sha, target, strategy, keeps, conflicts=conflicts)
        sheet.open()
        answer = await sheet.answer()
        if isinstance(answer, MergeStrategy):
            self._desk.acts.approve(task_id, task.snapshot, answer)

    async def _reject(self, task_id: str) -> None:
        sheet = RejectSheet(self._desk.window)
        sheet.open()
        reason = await sheet.answer()
        if isinstance(reason, str):
            self._desk.acts.reject(task_id, reason, ())

    async def _give_more(self, task_id: str) -> None:
        standings = await self._desk.link.do(commands.ListBudgets(task_id))
        if not any(one.is_reached for one in standings):  # it was raised meanwhile, or a cost is unknown
            self._desk.acts.resume(task_id)
            return
        sheet = BudgetSheet(self._desk.window, standings)
        sheet.open()
        more = await sheet.answer()
        if isinstance(more, Budget):
            self._desk.acts.resume(task_id, budget=more)

    async def _ask_key(self) -> None:
        sheet = KeySheet(self._desk.window)
        sheet.open()
        key = await sheet.answer()
        if isinstance(key, str):
            status = await self._desk.link.do(commands.StoreKey(key))
            warned = self.tr("Key stored. {0}").format(status.warning)
            self._desk.toasts.say(warned if status.warning else self.tr("Key stored in the system keyring."))

    async def _trust(self, project_id: str, digest: str) -> None:
        await self._desk.link.do(commands.TrustProject(project_id, digest))
        self._desk.toasts.say(self.tr("Trusted, until that content changes."))

    async def _theme(self, theme: str) -> None:
        settings = await self._desk.link.do(commands.GetSettings())
        await self._desk.link.do(commands.ChangeSettings(replace(settings, theme=theme)))

    async def _sure(self, title: str, words: str, act: str) -> bool:
        sheet = ConfirmSheet(self._desk.window, title, words, act)
        sheet.open()
        return await sheet.answer() is True

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        self._desk.jobs.start(work, what)

    def _free(self) -> bool:
        """No other sheet is open: one question at a time."""
        return open_sheet(self._desk.window) is None

    def _project_entries(self) -> list[Entry]:
        return [
            Entry(project.name, self.tr("Project"), "folder", partial(self._desk.acts.show_project, project.id))
            for project in self._desk.known.projects.values()
        ]

    def _card_entries(self) -> list[Entry]:
        return [
            Entry(card.title, self.tr("Card"), "file", partial(self._desk.acts.open_requested.emit, card.id))
            for card in self._desk.known.board.cards()
        ]
