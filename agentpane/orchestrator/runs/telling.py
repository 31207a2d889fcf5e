"""A sandbox that tells the session what it has refused to commands, and why it has ended one before its time.

A host is told once, however often and by whichever command it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agentpane.domain.json import JsonObject
from agentpane.domain.sandbox import Tier
from agentpane.sandbox import Outcome, Process, Sandbox, SandboxCommand

HOST_REFUSED = "host_refused"
COMMAND_ENDED = "command_ended"

Tell = Callable[[JsonObject], object]


class TellingSandbox:
    """Implements `Sandbox` by another one. tell: given what is to be noted, on the loop."""

    def __init__(self, sandbox: Sandbox, tell: Tell) -> None:
        self._sandbox = sandbox
        self._tell = tell
        self._told: set[str] = set()

    @property
    def tier(self) -> Tier:
        return self._sandbox.tier

    async def run(self, command: SandboxCommand, on_output: Callable[[bytes], None] | None = None) -> Outcome:
        """See Sandbox.run."""
        outcome = await self._sandbox.run(command, on_output)
        self.look(outcome.refused_hosts, outcome.killed_for)
        return outcome

    async def open(self, command: SandboxCommand) -> Process:
        """See Sandbox.open."""
        return _TellingProcess(await self._sandbox.open(command), self)

    def look(self, refused_hosts: Sequence[str], killed_for: str | None) -> None:
        for host in refused_hosts:
            if host not in self._told:
                self._told.add(host)
                self._tell({"state": HOST_REFUSED, "host": host})
        if killed_for is not None:
            self._tell({"state": COMMAND_ENDED, "message": killed_for})


class _TellingProcess:
    """A process that is looked at when it has ended, and after that no more."""

    def __init__(self, process: Process, sandbox: TellingSandbox) -> None:
        self._process = process
        self._sandbox = sandbox
        self._looked = False

    @property
    def stdin(self) -> asyncio.StreamWriter:
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        return self._process.stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        return self._process.stderr

    @property
    def refused_hosts(self) -> tuple[str, ...]:
        return self._process.refused_hosts

    @property
    def killed_for(self) -> str | None:
        return self._process.killed_for

    async def wait(self) -> int:
        """See Process.wait."""
        try:
            return await self._process.wait()
        finally:
            self._look()

    async def end(self) -> None:
        """See Process.end."""
        try:
            await self._process.end()
        finally:
            self._look()

    def _look(self) -> None:
        if not self._looked:
            self._looked = True
            self._sandbox.look(self._process.refused_hosts, self._process.killed_for)
