"""Tier C: no confinement, and still an end to everything that a command starts.

Listed hosts are only named to the command there: it is told of the proxy and may go past it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox.command import Outcome, Process, SandboxCommand
from agentpane.sandbox.conversation import converse
from agentpane.sandbox.mounts import make_writable
from agentpane.sandbox.supervise import supervise
from agentpane.sandbox.swept import Swept
from agentpane.sandbox.watchdog import Appetite, Watchdog


class BareSandbox:
    """Runs commands as the person. One instance serves many runs at once."""

    tier = Tier.NONE

    def __init__(self, appetite: Appetite | None = None) -> None:
        self._watchdog = Watchdog(appetite)

    async def run(self, command: SandboxCommand, on_output: Callable[[bytes], None] | None = None) -> Outcome:
        """See Sandbox.run."""
        await _ready(command)
        child = Swept(self._watchdog.appetite.tasks)
        outcome = await supervise(lambda: child.start(command), command, on_output, self._watchdog)
        return child.told(outcome)

    async def open(self, command: SandboxCommand) -> Process:
        """See Sandbox.open."""
        await _ready(command)
        return await converse(
            lambda: Swept(self._watchdog.appetite.tasks).start(command, spoken_with=True), command, self._watchdog
        )


async def _ready(command: SandboxCommand) -> None:
    """Raises AgentPaneError for a command that is to be kept from writing its worktree, which nothing here can do."""
    if command.read_only:
        raise AgentPaneError(
            ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
            "There is no sandbox here that could keep the command from changing its worktree. It was not run.",
            "Install bubblewrap; `agentpane doctor` says what this machine offers.",
        )
    await asyncio.to_thread(make_writable, command)
