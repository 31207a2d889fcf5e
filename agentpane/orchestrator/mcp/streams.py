"""A started program as the SDK's pair of streams: one JSON-RPC message a line, in both directions.

Whatever is no message is passed over, since servers print to their output too. A line that does not end is the end of
the conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

import mcp.types as types
from mcp.shared.message import SessionMessage

from agentpane.sandbox.command import Process

CHUNK = 64 * 1024
MESSAGE_LIMIT = 8 * 1024 * 1024  # bytes
WORDS_KEPT = 2_000  # bytes of what a server says on its error stream


class _Ends:
    """What the SDK asks of both streams beside their one verb."""

    async def aclose(self) -> None:
        """The process is ended by whoever opened it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Incoming(_Ends):
    """Messages of the server, until it has no more to say."""

    def __init__(self, source: asyncio.StreamReader) -> None:
        self._source = source
        self._lines: list[bytes] = []
        self._rest = bytearray()

    async def receive(self) -> SessionMessage | Exception:
        return await self.__anext__()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        while True:
            while self._lines:
                message = _message(self._lines.pop())
                if message is not None:
                    return message
            chunk = await self._source.read(CHUNK)
            if not chunk or len(self._rest) > MESSAGE_LIMIT:
                raise StopAsyncIteration
            whole, newline, rest = chunk.rpartition(b"\n")
            if newline:
                self._lines = (bytes(self._rest) + whole).split(b"\n")[::-1]
                self._rest = bytearray()
            self._rest += rest
            await asyncio.sleep(0)  # a flood must not take the loop


class Outgoing(_Ends):
    """Messages to the server."""

    def __init__(self, target: asyncio.StreamWriter) -> None:
        self._target = target

    async def send(self, item: SessionMessage, /) -> None:
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        with contextlib.suppress(ConnectionError):  # that the server has gone is seen where its answers are read
            self._target.write(text.encode() + b"\n")
            await self._target.drain()


class LastWords:
    """Reads a server's error stream for as long as it lives, and keeps the end of it."""

    def __init__(self, process: Process) -> None:
        self._tail = b""
        self._reading = asyncio.create_task(self._read(process.stderr))

    async def text(self) -> str:
        """What it said last; to be asked when the process has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.wait([self._reading])
        return self._tail.decode("utf-8", "replace")

    async def stop(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, source: asyncio.StreamReader) -> None:
        while chunk := await source.read(CHUNK):
            self._tail = (self._tail + chunk)[-WORDS_KEPT:]
            await asyncio.sleep(0)


async def emptied(source: asyncio.StreamReader) -> None:
    """Read and forget what is left of a stream."""
    while await source.read(CHUNK):  # noqa: ASYNC110 - the pause is for others, not for the stream
        await asyncio.sleep(0)


def _message(line: bytes) -> SessionMessage | None:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None
