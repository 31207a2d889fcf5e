"""The program's standard streams as messages: one JSON object a line, and nothing else on its output."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import Process

CHUNK = 64 * 1024
LONGEST_LINE = 64 * 1024 * 1024  # bytes; a message may hold whole files
ERRORS_KEPT = 8_000  # bytes of what it says on its error stream
QUOTED = 200


class Channel:
    """A transport of the protocol's library. Output that is no message ends the conversation and is kept as `fault`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._rest = bytearray()
        self._searched = 0  # of the rest, bytes that hold no end of line
        self._sending = asyncio.Lock()
        self.fault: AgentPaneError | None = None

    async def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        async with self._sending:
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end of the output, or when it holds what is no message."""
        while (line := await self._line()) is not None:
            if not line.strip():
                continue
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict):
                return message
            shown = line[:QUOTED].decode("utf-8", "replace").strip()
            self.fault = protocol_fault(f"It wrote what is no message: {shown!r}.")
            return None
        return None

    async def close(self) -> None:
        """The streams are the process's, which is ended by whoever started it."""

    async def _line(self) -> bytes | None:
        while True:
            end = self._rest.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                self._searched = 0
                return line
            self._searched = len(self._rest)
            if self._searched > LONGEST_LINE:
                self.fault = protocol_fault(f"It wrote a line of more than {LONGEST_LINE:,} bytes.")
                return None
            chunk = await self._process.stdout.read(CHUNK)
            if not chunk:
                return None
            self._rest += chunk


class Complaints:
    """The end of what the program says on its error stream."""

    def __init__(self, process: Process) -> None:
        self._kept = bytearray()
        self._job = asyncio.create_task(self._read(process.stderr))

    async def text(self, within_s: float) -> str:
        """What it has said. The program has ended, so that its last words come within a moment."""
        await asyncio.wait([self._job], timeout=within_s)
        lines = self._kept.decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-20:])

    async def end(self) -> None:
        self._job.cancel()
        await asyncio.gather(self._job, return_exceptions=True)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(CHUNK):
            self._kept += chunk
            del self._kept[:-ERRORS_KEPT]


def protocol_fault(what: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.BACKEND_PROTOCOL,
        f"The agent does not keep to the Agent Client Protocol. {what}",
        "Resume to try again, or update the program. What it changed is kept in the worktree.",
    )
