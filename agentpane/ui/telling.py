"""What the window says of itself as things happen: a card to review, findings of the doctor, what expires soon."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject

from agentpane.api import events
from agentpane.domain.board import Column
from agentpane.domain.tasks import TaskCard
from agentpane.ui.desk.acts import short
from agentpane.ui.desk.desk import Desk
from agentpane.ui.worktrees.worktree_words import expiring_words, found_words, wrong


class Telling(QObject):
    """Says each thing once, and not where the person sees it already.

    shown: the task in the panel or under review. at_worktrees: whether the page of the worktrees is shown.
    """

    def __init__(self, desk: Desk, shown: Callable[[], str], at_worktrees: Callable[[], bool]) -> None:
        super().__init__(desk.window)
        self._desk, self._shown, self._at_worktrees = desk, shown, at_worktrees
        self._told: frozenset[str] = frozenset()  # findings of the doctor that were spoken of
        desk.link.published.connect(self._event)
        desk.known.card_moved.connect(self._moved)
        desk.known.health_changed.connect(self._health_changed)

    def _event(self, event: object) -> None:
        if isinstance(event, events.RecoveriesExpiring):
            self._desk.toasts.say(expiring_words(event.recoveries), "note", self._look())

    def _moved(self, card: TaskCard, was: Column) -> None:
        if card.column is Column.WAITING_APPROVAL and self._shown() != card.id:
            words = self.tr("Ready for review: {0}").format(short(card.title))
            review = (self.tr("Review"), lambda: self._desk.acts.review_requested.emit(card.id))
            self._desk.toasts.say(words, "review", review, card.id)
        elif was is Column.WAITING_APPROVAL:
            self._desk.toasts.drop(card.id)

    def _health_changed(self) -> None:
        health = self._desk.known.health
        found = frozenset(one.id for one in wrong(health.findings)) if health is not None else frozenset()
        if health is not None and found - self._told and not self._at_worktrees():
            self._desk.toasts.say(f"{found_words(health.findings)}.", "note", self._look())
        self._told |= found

    def _look(self) -> tuple[str, Callable[[], object]]:
        return self.tr("Look"), self._desk.acts.bin_requested.emit
