"""One server, from its start to its end: a job of its own holds the SDK's session, since it must end where it began.

Whatever the server does, `open` comes back in bounded time and `close` leaves nothing of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp.types as types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter

from agentpane import __version__
from agentpane.domain.mcp import MOST_TOOLS, shown_text, without_secrets
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.mcp.launch import Launch, ServerFailedError
from agentpane.orchestrator.mcp.streams import Incoming, LastWords, Outgoing, emptied
from agentpane.sandbox.command import Process

START_SECONDS = 10.0
FAREWELL_SECONDS = 1.0  # for a server to end by itself when it is no longer spoken with
MOST_PAGES = 20
REASON_LIMIT = 500  # characters

Listed = tuple[tuple[str, str | None, object], ...]
_ANSWER: TypeAdapter[Any] = TypeAdapter(types.CallToolResult | types.InputRequiredResult)


class Connection:
    """A running server. `open` it, `call` it from any job, `close` it."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._closing = asyncio.Event()
        self._job: asyncio.Task[None] | None = None
        self._session: ClientSession | None = None
        self._words: LastWords | None = None
        self._exit: int | None = None

    async def open(self, seconds: float = START_SECONDS) -> Listed:
        """Start it and ask for its tools: (name, description, input schema). Raises ServerFailedError."""
        listed: asyncio.Future[Listed] = asyncio.get_running_loop().create_future()
        self._job = asyncio.create_task(self._serve(listed), name=f"tool server {self._launch.server.name}")
        try:
            async with asyncio.timeout(seconds):
                waiting: list[asyncio.Future[Any]] = [listed, self._job]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self.close()
            raise ServerFailedError(await self._reason(f"it did not answer within {seconds:g} s")) from None
        except BaseException:
            await self.close()
            raise
        if listed.done():
            return listed.result()
        fault = self._job.exception()
        raise ServerFailedError(await self._reason(_words_of(fault)))

    async def call(self, tool: str, arguments: Mapping[str, object], seconds: float) -> types.CallToolResult:
        """Call a tool by the server's own name for it. Raises ServerFailedError."""
        if self._session is None or self._job is None or self._job.done():
            raise ServerFailedError(await self._reason("it has ended"))
        # Asked for as a plain request: the SDK's own verb checks the answer against the server's schema, whose patterns
        # may take for ever.
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=dict(arguments)))
        try:
            async with asyncio.timeout(seconds):
                answer = await self._session.send_request(request, _ANSWER)
        except TimeoutError:
            raise ServerFailedError(
                f"it did not answer within {seconds:g} s; the call may have had its effect"
            ) from None
        except Exception as fault:
            raise ServerFailedError(await self._reason(_words_of(fault))) from fault
        if not isinstance(answer, types.CallToolResult):
            raise ServerFailedError("it asks for something in return, which cannot be given")
        return answer

    async def close(self) -> None:
        """End it and everything that it started. May be called at any time, often."""
        self._closing.set()
        if self._job is None:
            return
        await asyncio.wait([self._job], timeout=FAREWELL_SECONDS if self._session is not None else 0)
        self._job.cancel()
        await asyncio.gather(self._job, return_exceptions=True)

    async def _serve(self, listed: asyncio.Future[Listed]) -> None:
        info = types.Implementation(name="agentpane", version=__version__)
        async with (
            self._streams() as (incoming, outgoing),
            ClientSession(incoming, outgoing, client_info=info) as session,
        ):
            try:
                await session.initialize()
            except MCPError:
                await session.discover()
            found = await _tools(session)
            self._session = session
            if not listed.done():
                listed.set_result(found)
            await self._closing.wait()

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[tuple[Any, Any]]:
        if self._launch.server.url is not None:
            async with (
                create_mcp_http_client(headers=dict(self._launch.headers)) as client,
                streamable_http_client(self._launch.server.url, http_client=client) as streams,
            ):
                yield streams
            return
        process = await self._launch.sandbox.open(self._launch.command())
        self._words = LastWords(process)
        watching = asyncio.create_task(self._watch(process))
        try:
            yield Incoming(process.stdout), Outgoing(process.stdin)
        finally:
            process.stdin.close()
            emptying = asyncio.create_task(emptied(process.stdout))  # its end is not seen before the end of its output
            await asyncio.wait([watching], timeout=FAREWELL_SECONDS / 2)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await process.end()
            emptying.cancel()
            await asyncio.gather(emptying, return_exceptions=True)
            await self._words.stop()

    async def _watch(self, process: Process) -> None:
        self._exit = await process.wait()

    async def _reason(self, what: str) -> str:
        """Why it cannot be used, with its own last words and without its secrets."""
        if self._exit is not None:
            what = f"it ended with exit code {self._exit}"
        said = await self._words.text() if self._words is not None and self._exit is not None else ""
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
        whole = f"{what}; it said: {last}" if last else what
        return shown_text(without_secrets(whole, self._launch.secrets), REASON_LIMIT)


async def _tools(session: ClientSession) -> Listed:
    found: list[tuple[str, str | None, object]] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        found += [(tool.name, tool.description, tool.input_schema) for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None or len(found) > 2 * MOST_TOOLS:
            break
    return tuple(found)


def _words_of(fault: BaseException | None) -> str:
    """What went wrong, of a fault that may hold others."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if isinstance(fault, AgentPaneError | MCPError):
        return str(fault)
    if isinstance(fault, OSError) and fault.errno is not None:
        return os.strerror(fault.errno)
    if fault is None:
        return "it has ended"
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
