"""The protocol that the orchestrator implements, and the client over the socket too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from agentpane.api.command import Command
from agentpane.api.events import CatchUp, Published

R = TypeVar("R")


class Workbench(Protocol):
    """Everything that AgentPane can do for a person."""

    async def do(self, command: Command[R]) -> R:
        """Carry out a command. Raises AgentPaneError; then nothing has changed unless the error says otherwise."""
        ...

    def events(self, after: int | None = None) -> AsyncIterator[Published | CatchUp]:
        """The stream of events from number `after` on; None: from this moment on.

        Whoever reads too slowly, or asks for a number that is gone, gets a CatchUp.
        """
        ...
