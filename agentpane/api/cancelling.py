"""Cancelling a card, and what was kept of it: what a person is told afterwards, in the window and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from agentpane.api.command import Command
from agentpane.api.commands import CancelTask, ForeseeCancel, ListRecoveries
from agentpane.domain.keeping import Going
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.domain.tasks import Task

R = TypeVar("R")


class Door(Protocol):
    """Whatever carries out a command: the engine, a client, the window's link."""

    async def do(self, command: Command[R]) -> R: ...


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The card afterwards, the recovery snapshot that was made if there was anything to keep, and what else became."""

    task: Task
    kept: RecoverySnapshot | None
    going: Going


async def cancel(door: Door, task: Task, confirmed: bool) -> Cancelled:
    """Cancel the card. Raises what CancelTask does."""
    before = {each.id for each in await door.do(ListRecoveries(task.card.project_id))}
    going = await door.do(ForeseeCancel(task.card.id))
    cancelled = await door.do(CancelTask(task.card.id, confirmed))
    kept = await door.do(ListRecoveries(task.card.project_id))
    made = (each for each in kept if each.id not in before and each.task_id == task.card.id)
    return Cancelled(cancelled, next(made, None), going)
