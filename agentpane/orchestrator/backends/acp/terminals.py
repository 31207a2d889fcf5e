"""The commands that the program asks us to run: each in the sandbox on its own, with the project's network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends.acp.calls import NAME
from agentpane.orchestrator.backends.acp.library import Library
from agentpane.orchestrator.tools import ToolContext, refusals
from agentpane.orchestrator.tools.base import Refusal
from agentpane.sandbox import Outcome, SandboxCommand

LONGEST_S = 3_600.0
KEPT = 1024 * 1024  # bytes of output at most, whatever the program asks for
MOST = 32  # terminals at once


@dataclass(slots=True)
class Terminal:
    job: asyncio.Task[Outcome]
    limit: int
    output: bytearray = field(default_factory=bytearray)
    truncated: bool = False
    killed: bool = False

    def take(self, chunk: bytes) -> None:
        self.output += chunk
        if len(self.output) > self.limit:
            self.truncated = True
            del self.output[: len(self.output) - self.limit]

    def status(self) -> dict[str, Any] | None:
        """How it ended, in the protocol's words; None while it runs."""
        if not self.job.done():
            return None
        if self.killed or self.job.cancelled():
            return {"exitCode": None, "signal": "SIGKILL"}
        if self.job.exception() is not None:
            return {"exitCode": 127, "signal": None}
        code = self.job.result().exit_code
        return {"exitCode": code, "signal": "SIGKILL" if code is None else None}

    def text(self) -> str:
        """What it has printed; half a character at the cut is left out."""
        if self.job.done() and not self.job.cancelled() and isinstance(self.job.exception(), AgentPaneError):
            return str(self.job.exception())
        data = bytes(self.output)
        while self.truncated and data and data[0] & 0xC0 == 0x80:
            data = data[1:]
        return data.decode("utf-8", "replace") + self._refused()

    def _refused(self) -> str:
        """What the sandbox refused it or ended it for, behind its output."""
        if not self.job.done() or self.job.cancelled() or self.job.exception() is not None:
            return ""
        outcome = self.job.result()
        said = refusals.words(outcome.refused_hosts, outcome.killed_for)
        return f"\n[{said}]\n" if said else ""


class Terminals:
    """All terminals of one run. `close` ends them."""

    def __init__(self, library: Library, context: ToolContext) -> None:
        self._library = library
        self._context = context
        self._terminals: dict[str, Terminal] = {}
        self._made = 0
        self.immediate: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
            "terminal/output": self._output,
            "terminal/wait_for_exit": self._wait,
            "terminal/kill": self._kill,
            "terminal/release": self._release,
        }

    def create(
        self,
        script: str,
        environment: Mapping[str, str],
        cwd: str | None,
        limit: int | None,
        on_output: Callable[[bytes], None],
    ) -> tuple[str, Terminal]:
        """Start a command that has been allowed."""
        if len(self._terminals) >= MOST:
            raise self._library.error.invalid_params({"details": f"{MOST} terminals are open; release some first."})
        context = self._context
        worktree = context.worktree
        command = SandboxCommand(
            script=script,
            worktree=worktree,
            readable=context.readable,
            environment={**context.environment, **environment},
            timeout_s=LONGEST_S,
            network=context.network,
            cwd=worktree / cwd if cwd else None,
        )
        taking: list[Terminal] = []

        def take(chunk: bytes) -> None:
            taking[0].take(chunk)
            on_output(chunk)

        job = asyncio.create_task(context.sandbox.run(command, take), name="acp-terminal")
        terminal = Terminal(job, min(limit if limit is not None else KEPT, KEPT))
        taking.append(terminal)
        self._made += 1
        name = f"terminal-{self._made}"
        self._terminals[name] = terminal
        return name, terminal

    async def close(self) -> None:
        """End every command, and wait until nothing is left."""
        for terminal in self._terminals.values():
            terminal.job.cancel()
        await asyncio.gather(*(terminal.job for terminal in self._terminals.values()), return_exceptions=True)
        self._terminals.clear()

    async def _output(self, params: Mapping[str, Any]) -> dict[str, Any]:
        terminal = self._named(params)
        answer: dict[str, Any] = {"output": terminal.text(), "truncated": terminal.truncated}
        status = terminal.status()
        return answer if status is None else {**answer, "exitStatus": status}

    async def _wait(self, params: Mapping[str, Any]) -> dict[str, Any]:
        terminal = self._named(params)
        await asyncio.wait([terminal.job])
        return terminal.status() or {}

    async def _kill(self, params: Mapping[str, Any]) -> dict[str, Any]:
        await _end(self._named(params))
        return {}

    async def _release(self, params: Mapping[str, Any]) -> dict[str, Any]:
        await _end(self._named(params))
        self._terminals.pop(str(params.get("terminalId")), None)
        return {}

    def _named(self, params: Mapping[str, Any]) -> Terminal:
        name = str(params.get("terminalId"))
        if name not in self._terminals:
            raise self._library.error.resource_not_found(name)
        return self._terminals[name]


def check_names(variables: Mapping[str, str]) -> None:
    """Raises Refusal for a name that no shell would take for a variable's."""
    wrong = next((name for name in variables if NAME.fullmatch(name) is None), None)
    if wrong is not None:
        raise Refusal(f"No variable can be called {wrong!r}.")


async def _end(terminal: Terminal) -> None:
    if not terminal.job.done():
        terminal.killed = True
        terminal.job.cancel()
        with suppress(asyncio.CancelledError, AgentPaneError):
            await asyncio.wait([terminal.job])
