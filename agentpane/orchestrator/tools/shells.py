"""Commands that run in the background: started by one call, looked at by others, and ended with the run.

Each keeps what it printed in bounded memory. Nothing that they started is left when `close` has returned.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from agentpane.errors import AgentPaneError
from agentpane.sandbox import Sandbox, SandboxCommand
from agentpane.sandbox.command import Process
from agentpane.sandbox.ring import Ring

MOST = 8  # at once
KEPT = 1024 * 1024  # bytes of each shell's output
CHUNK = 64 * 1024
GRACE_S = 5.0  # how long the last words of an ended command may take to arrive


class EndedBy(StrEnum):
    ITSELF = "itself"
    AGENT = "agent"
    RUN = "run"  # the run ended or paused


@dataclass(frozen=True, slots=True)
class ShellEnd:
    """How a shell ended. exit_code: None when it was ended. output: its head and tail."""

    id: str
    call_id: str
    turn: int
    command: str
    by: EndedBy
    exit_code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class Look:
    """What came since the last look. lost: bytes of it that were not kept."""

    text: str
    lost: int
    running: bool
    exit_code: int | None


Show = Callable[[int, str, str], None]  # the turn, the call that started the shell, and what it prints
OnEnd = Callable[[ShellEnd], None]


@dataclass(slots=True)
class Shell:
    id: str
    call_id: str
    turn: int
    command: str
    process: Process
    ring: Ring = field(default_factory=lambda: Ring(KEPT))
    unread: bytearray = field(default_factory=bytearray)
    lost: int = 0
    exit_code: int | None = None
    ended_by: EndedBy | None = None
    following: asyncio.Task[None] | None = None
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    @property
    def running(self) -> bool:
        return self.ended_by is None

    def take(self, chunk: bytes) -> None:
        self.ring.add(chunk)
        self.unread += chunk
        excess = len(self.unread) - KEPT
        if excess > 0:
            del self.unread[:excess]
            self.lost += excess

    def look(self) -> Look:
        text, lost = self.decoder.decode(bytes(self.unread), final=not self.running), self.lost
        self.unread.clear()
        self.lost = 0
        return Look(text, lost, self.running, self.exit_code)


class Shells:
    """The shells of one run. first: the number of the next one, so that names are not used twice in a session."""

    def __init__(self, first: int = 1, show: Show | None = None, on_end: OnEnd | None = None) -> None:
        self._next = first
        self._show = show
        self._on_end = on_end
        self._shells: dict[str, Shell] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._shells)

    @property
    def is_full(self) -> bool:
        return sum(shell.running for shell in self._shells.values()) >= MOST

    async def start(self, sandbox: Sandbox, command: SandboxCommand, shown: str, turn: int, call_id: str) -> Shell:
        """Start a command whose output and errors come on one stream. Raises as `Sandbox.open` does."""
        process = await sandbox.open(command)
        shell = Shell(f"bash_{self._next}", call_id, turn, shown, process)
        self._next += 1
        self._shells[shell.id] = shell
        process.stdin.close()
        shell.following = asyncio.create_task(self._follow(shell), name=f"shell-{shell.id}")
        return shell

    def get(self, name: str) -> Shell | None:
        return self._shells.get(name)

    async def kill(self, shell: Shell, by: EndedBy = EndedBy.AGENT) -> None:
        """End everything that a shell has started; what it printed can still be looked at."""
        if shell.running:
            await shell.process.end()
            if shell.running:
                self._ended(shell, by, None)
        if shell.following is not None:
            shell.following.cancel()
            with suppress(asyncio.CancelledError):
                await shell.following

    async def close(self) -> None:
        """End all of them. Nothing is left even if this is cancelled meanwhile."""
        killing = [asyncio.ensure_future(self.kill(shell, EndedBy.RUN)) for shell in self._shells.values()]
        if killing:
            await _uninterrupted(asyncio.gather(*killing, return_exceptions=True))

    async def _follow(self, shell: Shell) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        async def read() -> None:
            while chunk := await shell.process.stdout.read(CHUNK):
                shell.take(chunk)
                if self._show is not None:
                    self._show(shell.turn, shell.call_id, decoder.decode(chunk))

        reading = asyncio.ensure_future(read())
        try:
            code = await shell.process.wait()
            await asyncio.wait([reading], timeout=GRACE_S)
            if shell.running:
                self._ended(shell, EndedBy.ITSELF, code)
            await shell.process.end()
        except AgentPaneError:
            if shell.running:
                self._ended(shell, EndedBy.ITSELF, None)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, AgentPaneError, OSError):
                await reading

    def _ended(self, shell: Shell, by: EndedBy, code: int | None) -> None:
        shell.ended_by, shell.exit_code = by, code
        if self._on_end is not None:
            output = shell.ring.content().decode("utf-8", "replace")
            self._on_end(ShellEnd(shell.id, shell.call_id, shell.turn, shell.command, by, code, output))


async def _uninterrupted(work: asyncio.Future[list[BaseException | None]]) -> None:
    """Await it to its end; a cancellation that comes meanwhile is raised then."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
