"""The workbench over the engine's socket: the same commands and events, from another process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import agentpane
from agentpane.api.codec import decode, encode
from agentpane.api.command import Command, result_type
from agentpane.api.events import CatchUp, Published
from agentpane.api.framing import MAX_ANSWER, MAX_FRAME, READ_AHEAD, FrameError, pack, read_message
from agentpane.api.peers import check_folder, peer_of
from agentpane.api.protocol import (
    EVENT,
    GREETING_S,
    ClientKind,
    Greeting,
    Hello,
    error_from_json,
    unreachable,
)
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder

R = TypeVar("R")

WATCH_LIMIT = 50_000  # events that may wait for whoever watches; more, and it catches up instead


class Watch(AsyncIterator[Published | CatchUp]):
    """The events of one watch, from the moment on at which it was made.

    Ends when it or its client is closed; raises ENGINE_UNREACHABLE, after what had arrived, when the engine is gone.
    """

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        self._number = number
        self._waiting: deque[Any] = deque()
        self._news = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Published | CatchUp:
        while not self._waiting:
            if self._closed or self._client.closed:
                raise StopAsyncIteration
            if self._client.failure is not None:
                raise self._client.failure
            self._news.clear()
            await self._news.wait()
        message = self._waiting.popleft()
        if "catch_up" in message:
            return CatchUp(message["catch_up"])
        return Published(message["seq"], decode(EVENT, message["event"], ErrorCode.INTERNAL))

    @property
    def waiting(self) -> int:
        """How many events have arrived and were not fetched yet."""
        return len(self._waiting)

    async def aclose(self) -> None:
        """Watch no longer."""
        if not self._closed:
            self._closed = True
            self._waiting.clear()
            self._news.set()
            self._client.forget(self._number)

    def put(self, message: Any) -> None:
        """Take what the engine sent. Whoever does not fetch it in time is told to catch up."""
        if len(self._waiting) >= WATCH_LIMIT:
            self._waiting.clear()
            message = {"catch_up": message.get("seq", message.get("catch_up"))}
        self._waiting.append(message)
        self._news.set()

    def wake(self) -> None:
        self._news.set()


class Client:
    """A connection to a running engine. Made by `Client.connect`, or by `launcher.connect_or_start`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, engine: Greeting) -> None:
        self.engine = engine
        self.closed = False
        self.failure: AgentPaneError | None = None  # why the engine cannot be reached any more
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._watches: dict[int, Watch] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(
        cls,
        folder: DataFolder,
        kind: ClientKind | str = ClientKind.COMMAND,
        name: str = "",
        version: str = agentpane.__version__,
    ) -> Client:
        """Greet the running engine.

        Raises AgentPaneError with ENGINE_UNREACHABLE when none answers, ENGINE_VERSION when it is of another version.
        """
        reader, writer = await _open(folder)
        try:
            answer = await _greet(reader, writer, Hello(version, ClientKind(kind), name, os.getpid()))
            return cls(reader, writer, decode(Greeting, answer.get("welcome"), ErrorCode.ENGINE_VERSION))
        except BaseException:
            writer.close()
            raise

    async def do(self, command: Command[R]) -> R:
        """Carry out a command. Raises what the engine raises, and ENGINE_UNREACHABLE when it is gone."""
        self._check()
        kind = type(command)
        number = next(self._numbers)
        message = pack({"id": number, "do": kind.__name__, "with": encode(kind, command)})
        if len(message) > MAX_FRAME:
            raise AgentPaneError(ErrorCode.VALIDATION_ERROR, "The request is too long for the engine.")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._writer.write(message)
            await self._writer.drain()
            raw = await answer
        except OSError:
            raise self._lost() from None
        finally:
            self._answers.pop(number, None)
        result: R = decode(result_type(kind), raw, ErrorCode.INTERNAL)
        return result

    def events(self, after: int | None = None, epoch: str | None = None) -> Watch:
        """The engine's events from number `after` on; None: from this very moment on.

        epoch: the engine's life that `after` belongs to; a CatchUp comes first if this is another one.
        """
        self._check()
        number = next(self._numbers)
        watch = self._watches[number] = Watch(self, number)
        self._writer.write(pack({"watch": number, "after": after, "epoch": epoch}))
        return watch

    async def close(self) -> None:
        """Leave. Commands that are under way are carried out all the same."""
        if self.closed:
            return
        self.closed = True
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._settle(unreachable("The connection to the engine was closed."))
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def forget(self, number: int) -> None:
        """Tell the engine that a watch has ended."""
        if self._watches.pop(number, None) and not self.closed and self.failure is None:
            self._writer.write(pack({"unwatch": number}))

    async def _read(self) -> None:
        try:
            while True:
                self._take(await read_message(self._reader, MAX_ANSWER))
        except (EOFError, OSError):
            self.failure = self._lost()
        except FrameError as error:
            self.failure = unreachable(f"The engine sent something that is no message: {error}.")
        if self.failure is not None:
            self._settle(self.failure)
            self._writer.close()

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise FrameError("a message that is no object")
        if (watched := message.get("w")) is not None:
            if watch := self._watches.get(watched):
                watch.put(message)
            return
        answer = self._answers.get(message.get("id", 0))
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(error_from_json(message["error"]))
        else:
            answer.set_result(message.get("ok"))

    def _settle(self, failure: AgentPaneError) -> None:
        """Let nobody wait for an engine that is gone."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(failure)
        for watch in self._watches.values():
            watch.wake()

    def _check(self) -> None:
        if self.closed:
            raise unreachable("The connection to the engine was closed.")
        if self.failure is not None:
            raise self.failure

    def _lost(self) -> AgentPaneError:
        return unreachable(
            "The engine has ended.",
            "What was stored is kept; runs that were under way show as interrupted. Try again: it is started anew.",
            pid=self.engine.pid,
        )


async def ask_to_make_room(folder: DataFolder, version: str = agentpane.__version__) -> None:
    """Ask an engine of another version to end. Raises ENGINE_VERSION if it is busy, ENGINE_UNREACHABLE if gone."""
    reader, writer = await _open(folder)
    try:
        await _greet(reader, writer, Hello(version, ClientKind.REPLACE, "", os.getpid()))
    finally:
        writer.close()


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello) -> dict[str, Any]:
    try:
        async with asyncio.timeout(2 * GREETING_S):
            writer.write(pack({"hello": encode(Hello, hello)}))
            await writer.drain()
            answer = await read_message(reader)
    except (EOFError, FrameError, OSError, TimeoutError) as error:
        raise unreachable("The engine took the connection but does not answer.") from error
    if not isinstance(answer, dict):
        raise unreachable("What answers at the engine's socket is no engine.")
    if "error" in answer:
        raise error_from_json(answer["error"])
    return answer


async def _open(folder: DataFolder) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    problem: Exception | None = None
    for path in _places(folder):
        try:
            check_folder(path.parent)
            reader, writer = await asyncio.open_unix_connection(os.fspath(path), limit=READ_AHEAD)
        except (OSError, AgentPaneError) as error:
            problem = problem or error
            continue
        if peer_of(writer.get_extra_info("socket")).uid == os.getuid():
            return reader, writer
        writer.close()
        raise unreachable(f"The process at {path} belongs to another user.", "Remove that socket, then try again.")
    raise unreachable("No engine is running.") from problem


def _places(folder: DataFolder) -> tuple[Path, ...]:
    """Where the engine's socket may be: its usual place, then where the running engine says it is."""
    usual = folder.socket
    try:
        written = Path(json.loads(folder.door.read_bytes())["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return (usual,)
    return (usual,) if written == usual else (usual, written)
