"""Cancelling a card, and what was kept of it: what a person is told afterwards, in the window and the terminal."""

from __future__ import annotations

from typing import Protocol, TypeVar

from agentpane.api.command import Command
from agentpane.api.commands import CancelTask, ListRecoveries
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.domain.tasks import Task

R = TypeVar("R")


class Door(Protocol):
    """Whatever carries out a command: the engine, a client, the window's link."""

    async def do(self, command: Command[R]) -> R: ...


async def cancel(door: Door, task: Task, confirmed: bool) -> tuple[Task, RecoverySnapshot | None]:
    """Cancel the card. Also gives the recovery snapshot that this has made, None where there was nothing to keep.

    Raises what CancelTask does.
    """
    before = {each.id for each in await door.do(ListRecoveries(task.card.project_id))}
    cancelled = await door.do(CancelTask(task.card.id, confirmed))
    kept = await door.do(ListRecoveries(task.card.project_id))
    made = (each for each in kept if each.id not in before and each.task_id == task.card.id)
    return cancelled, next(made, None)
