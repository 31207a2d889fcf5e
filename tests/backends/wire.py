"""A server on loopback that speaks the Messages API, well or badly, for the tests of the whole program.

`ScriptedServer(turns=[…])` answers like a model: the turn is chosen by the number of assistant messages
in the request, so that a resumed or repeated run gets the right one. `ScriptedServer(script=…)` answers by request
and may misbehave in every way that a wire allows. It lives in a thread of its own, so that tests with and without
a loop, and other processes, can use it:

    with ScriptedServer([[say("On it."), use("Write", file_path="a.txt", content="x")], [say("Done.")]]) as server:
        environment = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": server.key}
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from agentpane.orchestrator.backends.recorded.wire import (
    LAST_CHUNK,
    STREAM_HEAD,
    BadRequestError,
    Block,
    chunk,
    error_body,
    message_events,
    read_request,
    response,
    sse,
)

MODEL = "claude-sonnet-5-5"
USAGE: Mapping[str, int] = {"input_tokens": 100, "output_tokens": 20}

_call_numbers = itertools.count(1)


def say(text: str) -> Block:
    return {"type": "text", "text": text}


def think(text: str, signature: str = "sig") -> Block:
    return {"type": "thinking", "thinking": text, "signature": signature}


def use(tool: str, **arguments: object) -> Block:
    return {"type": "tool_use", "id": f"toolu_{next(_call_numbers):04d}", "name": tool, "input": arguments}


def use_raw(tool: str, raw: str) -> Block:
    """A call whose input is sent as this exact text, whole JSON or not."""
    return {"type": "tool_use", "id": f"toolu_{next(_call_numbers):04d}", "name": tool, "input": {}, "raw": raw}


@dataclass(frozen=True, slots=True)
class Answer:
    """A streamed answer. stop_reason None means: as the blocks suggest; `no_reason` sends none at all."""

    blocks: Sequence[Block]
    stop_reason: str | None = None
    usage: Mapping[str, int] = field(default_factory=lambda: dict(USAGE))
    model: str = MODEL
    piece: int = 24
    no_reason: bool = False

    def events(self) -> list[bytes]:
        """Its server-sent events, encoded, one an item."""
        deduced = "tool_use" if any(block["type"] == "tool_use" for block in self.blocks) else "end_turn"
        reason = None if self.no_reason else self.stop_reason or deduced
        return [sse(event) for event in message_events(self.blocks, reason, self.model, self.usage, self.piece)]

    def stream(self) -> bytes:
        return b"".join(self.events())


@dataclass(frozen=True, slots=True)
class Failure:
    """A response with an error status."""

    status: int
    kind: str = "api_error"
    message: str = "it failed"
    headers: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)


End = Literal["close", "cut", "reset", "hang", "ping"]


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes of an event stream, sent as they are, and what happens then.

    end: "close" ends the response properly; "cut" closes the connection before the last chunk; "reset" resets it;
        "hang" stays silent; "ping" sends pings for ever.
    """

    data: bytes
    end: End = "close"
    content_type: str = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Whole:
    """A response of exactly these bytes, head and all; then the connection is closed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ragged:
    """A reply whose bytes come in pieces of any size, with pauses between them; chunks and events end anywhere."""

    reply: Answer | Failure | Stream | Whole
    chance: random.Random
    pieces: int = 8
    longest_pause_s: float = 0.003

    def raw(self) -> bytes:
        """The response from its head on, without what ends it."""
        match self.reply:
            case Failure():
                body = error_body(self.reply.kind, self.reply.message, **self.reply.details)
                return response(self.reply.status, body, self.reply.headers)
            case Whole():
                return self.reply.data
            case Answer():
                return stream_head() + b"".join(chunk(part) for part in self.cut(self.reply.stream()))
            case Stream():
                head = stream_head(self.reply.content_type)
                return head + b"".join(chunk(part) for part in self.cut(self.reply.data))

    def cut(self, data: bytes) -> list[bytes]:
        """`data` cut at random places."""
        places = sorted({0, len(data), *(self.chance.randrange(len(data) + 1) for _ in range(self.pieces))})
        return [data[start:end] for start, end in itertools.pairwise(places)]

    def pause(self) -> float:
        return self.chance.uniform(0, self.longest_pause_s) if self.chance.random() < 0.5 else 0.0


Reply = Answer | Failure | Stream | Whole | Ragged
Script = Callable[[int, Mapping[str, object]], Reply]  # the request's number from 0, and its body


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, object]

    @property
    def messages(self) -> list[dict[str, object]]:
        messages = self.body["messages"]
        assert isinstance(messages, list)
        return messages


def stream_head(content_type: str = "text/event-stream; charset=utf-8") -> bytes:
    head = STREAM_HEAD.replace(b"text/event-stream; charset=utf-8", content_type.encode())
    return head % b"req_scripted"


def in_order(*replies: Reply) -> Script:
    """One reply after the other, the last one again and again."""
    return lambda number, body: replies[min(number, len(replies) - 1)]


class ScriptedServer:
    """See the module. `requests` holds what came in; `delay` waits before each event, in seconds."""

    def __init__(
        self,
        turns: Sequence[Sequence[Block] | Reply] = (),
        *,
        script: Script | None = None,
        key: str = "test-key",
        delay: float = 0.0,
    ) -> None:
        self.turns = list(turns)
        self.key = key
        self.delay = delay
        self.requests: list[Seen] = []
        self._script = script
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-server", daemon=True)
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a program at this server."""
        return {"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": self.key}

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for handler in tuple(self._handlers):
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        with contextlib.suppress(ConnectionError, BadRequestError, asyncio.CancelledError):
            while await self._serve(reader, writer):
                pass
        self._handlers.discard(handler)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is over."""
        request = await read_request(reader)
        if request is None:
            return False
        body = request.json()
        number = len(self.requests)
        self.requests.append(Seen(request.path, request.headers, body))
        if self.key not in (request.headers.get("x-api-key"), request.headers.get("authorization", "").split(" ")[-1]):
            reply: Reply = Failure(401, "authentication_error", "invalid x-api-key")
        elif not request.path.startswith("/v1/messages"):
            reply = Failure(404, "not_found_error", f"no such address: {request.path}")
        else:
            reply = self._reply(number, body)
        return await self._send(reply, writer)

    def _reply(self, number: int, body: Mapping[str, object]) -> Reply:
        if self._script is not None:
            return self._script(number, body)
        messages = body["messages"]
        assert isinstance(messages, list)
        turn = sum(message["role"] == "assistant" for message in messages)
        if turn >= len(self.turns):
            return Answer([say("There is nothing more to do.")])
        chosen = self.turns[turn]
        return chosen if isinstance(chosen, Answer | Failure | Stream | Whole | Ragged) else Answer(chosen)

    async def _send(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        match reply:
            case Ragged():
                return await self._send_ragged(reply, writer)
            case Failure():
                body = error_body(reply.kind, reply.message, **reply.details)
                writer.write(response(reply.status, body, reply.headers))
            case Answer():
                writer.write(STREAM_HEAD % b"req_scripted")
                for event in reply.events():
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    writer.write(chunk(event))
                    await writer.drain()
                writer.write(LAST_CHUNK)
            case Whole():
                writer.write(reply.data)
            case Stream():
                return await self._misbehave(reply, writer)
        await writer.drain()
        return not isinstance(reply, Whole)

    async def _send_ragged(self, ragged: Ragged, writer: asyncio.StreamWriter) -> bool:
        for piece in ragged.cut(ragged.raw()):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(ragged.pause())
        match ragged.reply:
            case Stream(end=end):
                return await self._end(end, writer)
            case Answer():
                return await self._end("close", writer)
            case other:
                return not isinstance(other, Whole)

    async def _misbehave(self, reply: Stream, writer: asyncio.StreamWriter) -> bool:
        writer.write(stream_head(reply.content_type))
        if reply.data:
            writer.write(chunk(reply.data))
        await writer.drain()
        return await self._end(reply.end, writer)

    async def _end(self, end: End, writer: asyncio.StreamWriter) -> bool:
        match end:
            case "close":
                writer.write(LAST_CHUNK)
                await writer.drain()
                return True
            case "cut":
                return False
            case "reset":
                handle: socket.socket = writer.get_extra_info("socket")
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case "hang":
                await asyncio.Event().wait()
                return False
            case "ping":
                while True:
                    writer.write(chunk(sse({"type": "ping"})))
                    await writer.drain()
                    await asyncio.sleep(0.01)
