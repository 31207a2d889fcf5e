"""Cancelling a card, and what was kept of it: what a person is told afterwards, in the window and the terminal.

Whatever cannot be found out about a stop keeps nobody from it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from agentpane.api.command import Command
from agentpane.api.commands import CancelTask, ForeseeCancel, ListRecoveries
from agentpane.domain.keeping import NOT_KNOWN, Going
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.domain.runs import ACTIVE
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError

R = TypeVar("R")


class Door(Protocol):
    """Whatever carries out a command: the engine, a client, the window's link."""

    async def do(self, command: Command[R]) -> R: ...


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The card afterwards, the recovery snapshot that was made if there was anything to keep, and what else became.

    going: where its commits are by now, and what git ignored in its worktree when that was looked at last, if it went.
    """

    task: Task
    kept: RecoverySnapshot | None
    going: Going


async def foresee(door: Door, task_id: str) -> Going:
    """What would become of the card. Never raises AgentPaneError: then it is not known."""
    try:
        return await door.do(ForeseeCancel(task_id))
    except AgentPaneError:
        return NOT_KNOWN


async def cancel(door: Door, task: Task, confirmed: bool) -> Cancelled:
    """Cancel the card; one whose agent is at work at once, without a look at its worktree. Raises what CancelTask does.

    task: as it is.
    """
    before = {each.id for each in await door.do(ListRecoveries(task.card.project_id))}
    at_work = any(run.status in ACTIVE for run in task.runs)
    ahead = NOT_KNOWN if at_work else await foresee(door, task.card.id)
    cancelled = await door.do(CancelTask(task.card.id, confirmed))
    kept = await door.do(ListRecoveries(task.card.project_id))
    made = (each for each in kept if each.id not in before and each.task_id == task.card.id)
    now = await foresee(door, task.card.id)
    if task.worktree is not None and await asyncio.to_thread(os.path.lexists, task.worktree):
        ahead = Going()  # the card has let go of it, as of one that is not ours: its files stay
    elif not now.branch_known:
        ahead = now
    return Cancelled(cancelled, next(made, None), replace(ahead, branch=now.branch, branch_known=now.branch_known))
