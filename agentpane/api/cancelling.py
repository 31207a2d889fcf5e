"""What a person is told before a card is put back. Whatever cannot be found out about it keeps nobody from it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from agentpane.api.command import Command
from agentpane.api.commands import ForeseeCancel
from agentpane.domain.keeping import NOT_KNOWN, Going
from agentpane.errors import AgentPaneError

R = TypeVar("R")


class Door(Protocol):
    """Whatever carries out a command: the engine, a client, the window's link."""

    async def do(self, command: Command[R]) -> R: ...


async def foresee(door: Door, task_id: str) -> Going:
    """What would become of the card. Never raises AgentPaneError: then it is not known."""
    try:
        return await door.do(ForeseeCancel(task_id))
    except AgentPaneError:
        return NOT_KNOWN
