"""The line of a card whose worktree is gone: what it held is in the recovery bin, and can be had back."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QWidget

from agentpane.api import commands
from agentpane.domain.board import Column
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.domain.tasks import Task, TaskCard
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts import figures
from agentpane.ui.parts.controls import Button, IconLabel, Label, focused_within, row
from agentpane.ui.parts.plain import one_line


class KeptLine(QWidget):
    """Shows the newest recovery of a card in the backlog. It asks; the engine lays it out."""

    keys_left = Signal()  # the button that had the keys is gone

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("task.kept")
        self._desk = desk
        self._kept: RecoverySnapshot | None = None
        self._restoring: set[str] = set()  # those of any card that are being laid out
        self._words = Label("", "small", wrap=True)
        self._back = Button(self.tr("Restore"), icon_name="undo", name="task.kept.restore", pressed=self._pressed)
        line = row(IconLabel("clock", "muted", 14), self._words, self._back, spacing=8)
        line.setStretchFactor(self._words, 1)
        self.setLayout(line)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self.hide()

    async def read(self, task: Task) -> None:
        """Look for what is kept of the card."""
        kept: tuple[RecoverySnapshot, ...] = ()
        if _may_have(task.card) and task.card.run is not None:
            kept = await self._desk.link.do(commands.ListRecoveries(task.card.project_id))
        self._kept = next((one for one in kept if one.task_id == task.card.id), None)
        self._show_restoring()
        if self._kept is not None:
            words = self.tr("What it held is in the recovery bin, kept {0}.")
            self._words.show_text(words.format(figures.ago(self._kept.created_at)))
        self.show_card(task.card)

    def show_card(self, card: TaskCard) -> None:
        """Be there only while it is about this card, and the card has a use for it."""
        wanted = self._kept is not None and self._kept.task_id == card.id and _may_have(card)
        had_keys = not wanted and bool(focused_within(self))
        self.setVisible(wanted)
        if had_keys:
            self.keys_left.emit()

    def _pressed(self) -> None:
        """Restore it once: a second time it would be laid out beside the first.

        The button is not disabled: then it would lose the keys.
        """
        if self._kept is not None and self._kept.id not in self._restoring:
            self._restoring.add(self._kept.id)
            self._show_restoring()
            self._desk.jobs.start(self._restore(self._kept), self.tr("Restoring"))

    def _show_restoring(self) -> None:
        works = self._kept is not None and self._kept.id in self._restoring
        words = self.tr("Restoring …") if works else self.tr("Restore")
        self._back.setText(words)
        self._back.describe(words)

    async def _restore(self, kept: RecoverySnapshot) -> None:
        try:
            work = await self._desk.link.do(commands.RestoreRecovery(kept.id))
        finally:
            self._restoring.discard(kept.id)
            self._show_restoring()
        if work.task_id is not None:
            self._desk.toasts.say(self.tr("Restored. The card goes on with it."))
        else:
            opens = partial(self._desk.acts.show_folder, work.path)
            said = self.tr("Restored on {0}.").format(one_line(work.branch))
            self._desk.toasts.say(said, "good", (self.tr("Open the folder"), opens))


def _may_have(card: TaskCard) -> bool:
    return card.column is Column.BACKLOG and not card.restored
