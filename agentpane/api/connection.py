"""One client at the engine's door: its greeting, its requests side by side, and the events that it watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from agentpane.api.codec import decode, dumps, encode
from agentpane.api.command import Command, result_type
from agentpane.api.events import CatchUp, Published
from agentpane.api.framing import FrameError, frames, pack, read_message
from agentpane.api.protocol import COMMANDS, EVENT, GREETING_S, Hello, error_to_json
from agentpane.api.workbench import Workbench
from agentpane.errors import AgentPaneError, ErrorCode

log = logging.getLogger(__name__)

MOST_AT_ONCE = 64  # requests of one client that are under way; the next is read when one of them is done
FLUSH_S = 2.0
NEVER = 2**62  # a number that no event has: asking for what follows it means to catch up


class Host(Protocol):
    """What a connection needs of the server that it belongs to."""

    workbench: Workbench
    epoch: str

    def start_job(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, whatever becomes of the client that asked for it."""
        ...

    def event_json(self, published: Published) -> bytes:
        """The event as JSON; encoded once for all clients."""
        ...


class Connection:
    """Serves one client until it leaves, is rude, or the server closes."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._watches: dict[int, asyncio.Task[None]] = {}

    async def greeting(self) -> Hello:
        """How the client introduces itself. Raises TimeoutError, FrameError, EOFError, OSError or AgentPaneError."""
        async with asyncio.timeout(GREETING_S):
            message = await read_message(self._reader, limit=64 * 1024)
        if not isinstance(message, dict):
            raise FrameError("no greeting")
        hello: Hello = decode(Hello, message.get("hello"))
        return hello

    def send(self, message: Any) -> None:
        self._writer.write(pack(message))

    async def serve(self) -> None:
        """Read requests until the client leaves or is rude."""
        try:
            while True:
                self._take(await read_message(self._reader))
                await self._places.acquire()  # whoever asks for more than can be done waits
                self._places.release()
        except (EOFError, OSError):
            return
        except FrameError as error:
            log.warning("a client was dropped: %s", error)
        finally:
            for watch in self._watches.values():
                watch.cancel()

    async def close(self) -> None:
        """End the connection; what was sent gets a moment to arrive."""
        watches = tuple(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        with contextlib.suppress(OSError, TimeoutError):
            self._writer.close()
            async with asyncio.timeout(FLUSH_S):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise FrameError("a message that is no object")
        number = message.get("id", message.get("watch", message.get("unwatch")))
        if type(number) is not int:
            raise FrameError("a message without a number")
        if "do" in message:
            self._host.start_job(self._carry_out(number, message["do"], message.get("with")))
        elif "watch" in message:
            self._watch(number, message.get("after"), message.get("epoch"))
        elif watch := self._watches.pop(number, None):
            watch.cancel()

    async def _carry_out(self, number: int, name: object, fields: object) -> None:
        async with self._places:
            try:
                answer = {"id": number, "ok": await self._answer(name, fields)}
                payload = dumps(answer)
            except AgentPaneError as error:
                payload = dumps({"id": number, "error": _as_json(error)})
            except Exception as error:
                log.exception("%s failed in a way that nobody foresaw", name)
                payload = dumps({"id": number, "error": error_to_json(_internal(name, error))})
            with contextlib.suppress(OSError):  # the client may have left; the work is done all the same
                for piece in frames(payload):
                    self._writer.write(piece)
                    await self._writer.drain()

    async def _answer(self, name: object, fields: object) -> Any:
        kind = COMMANDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise AgentPaneError(ErrorCode.VALIDATION_ERROR, f"{name!r} is no command.", details={"field": "command"})
        command: Command[Any] = decode(kind, fields)
        return encode(result_type(kind), await self._host.workbench.do(command))

    def _watch(self, number: int, after: object, epoch: object) -> None:
        if number in self._watches or not (after is None or type(after) is int):
            raise FrameError("a watch that cannot be kept")
        if after is not None and epoch not in (None, self._host.epoch):
            after = NEVER  # a number of another engine's life
        self._watches[number] = asyncio.create_task(self._pump(number, after))

    async def _pump(self, number: int, after: int | None) -> None:
        """Send events as fast as the client reads; the workbench tells it to catch up when that is too slow."""
        try:
            async for item in self._host.workbench.events(after):
                if isinstance(item, CatchUp):
                    self.send({"w": number, "catch_up": item.seq})
                else:
                    head = b'{"w":%d,"seq":%d,"event":' % (number, item.seq)
                    self._writer.writelines(frames(b"".join((head, self._host.event_json(item), b"}"))))
                await self._writer.drain()
        except OSError:
            return
        except Exception:
            log.exception("the events of a client ended in a way that nobody foresaw")
            self._writer.transport.abort()


class EventCache:
    """The newest events as JSON, so that each is encoded once, however many clients there are."""

    def __init__(self, keep: int = 256) -> None:
        self._keep = keep
        self._encoded: dict[int, bytes] = {}

    def json(self, published: Published) -> bytes:
        found = self._encoded.get(published.seq)
        if found is None:
            found = self._encoded[published.seq] = dumps(encode(EVENT, published.event))
            if len(self._encoded) > self._keep:
                del self._encoded[next(iter(self._encoded))]
        return found


ClientsChanged = Callable[[], None]


def _as_json(error: AgentPaneError) -> dict[str, Any]:
    """The error as it crosses the door; details that are no JSON are shown as text."""
    raw = error_to_json(error)
    try:
        dumps(raw)
    except (TypeError, ValueError):
        raw["details"] = {key: repr(value) for key, value in error.details.items()}
    return raw


def _internal(name: object, error: Exception) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.INTERNAL,
        f"{name} failed because of an error in AgentPane: {type(error).__name__}: {error}",
        "The engine goes on. Its log has the report: logs/engine.log in the data folder.",
        {"type": type(error).__name__},
    )
