"""A card in the person's hand, by mouse or by keyboard: where it may land, and what a landing means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import QObject, Signal

from agentpane.domain.board import Column, drag_refusal
from agentpane.domain.tasks import TaskCard
from agentpane.ui.cards.board_model import BoardModel


class Landing(StrEnum):
    ALLOWED = "allowed"
    REVIEW = "review"  # lets go over Verified: the review opens
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Spot:
    """A place between cards: `gap` 0 is above the first shown card of the column."""

    column: Column
    gap: int


class Carry(QObject):
    """One for a board. `spot` is where the card would land now."""

    changed = Signal()
    move_requested = Signal(str, object, int)  # task, column, position
    review_requested = Signal(str)
    refused = Signal(str)  # the reason, when the card is let go where it may not be

    def __init__(self, model: BoardModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.card: TaskCard | None = None
        self.spot: Spot | None = None
        self.by_keyboard = False

    def begin(self, card: TaskCard, *, by_keyboard: bool = False) -> None:
        if self.card is None or self.card.id != card.id:
            self.card, self.spot, self.by_keyboard = card, None, by_keyboard
            self.changed.emit()

    def over(self, spot: Spot | None) -> None:
        if spot != self.spot:
            self.spot = spot
            self.changed.emit()

    def end(self) -> None:
        if self.card is not None:
            self.card, self.spot, self.by_keyboard = None, None, False
            self.changed.emit()

    def landing(self, column: Column) -> Landing:
        """What letting go over `column` would mean."""
        if self.card is None:
            return Landing.REFUSED
        if column is Column.VERIFIED and self.card.column is Column.WAITING_APPROVAL:
            return Landing.REVIEW
        return Landing.ALLOWED if drag_refusal(self.card.column, column) is None else Landing.REFUSED

    def reason(self, column: Column) -> str:
        """Why the card may not land in `column`; empty if it may."""
        if self.card is None:
            return ""
        return drag_refusal(self.card.column, column) or ""

    def let_go(self, spot: Spot, shown: list[TaskCard]) -> None:
        """Put the card down at a spot. `shown`: the cards that the column shows, from the top."""
        card = self.card
        if card is None:
            return
        landing, reason = self.landing(spot.column), self.reason(spot.column)
        self.end()
        if landing is Landing.REVIEW:
            self.review_requested.emit(card.id)
        elif landing is Landing.REFUSED:
            self.refused.emit(reason)
        else:
            position = self._position(card, spot, shown)
            if spot.column is not card.column or position != self._rank(card):
                self.move_requested.emit(card.id, spot.column, position)

    def _position(self, card: TaskCard, spot: Spot, shown: list[TaskCard]) -> int:
        """The position in the whole column that a gap between shown cards stands for, the carried card taken out."""
        whole = [other.id for other in self._model.in_column(spot.column) if other.id != card.id]
        below = next((other.id for other in shown[spot.gap :] if other.id != card.id), None)
        if below is not None:
            return whole.index(below)
        above = next((other.id for other in reversed(shown[: spot.gap]) if other.id != card.id), None)
        return whole.index(above) + 1 if above is not None else len(whole)

    def _rank(self, card: TaskCard) -> int:
        return [other.id for other in self._model.in_column(card.column)].index(card.id)
