"""The recorded backend: the in-process harness, pointed at a server of our own that plays recordings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from agentpane.domain.agents import BackendName
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Brief,
    Endpoint,
    Host,
    ModelCalled,
    ToolFinished,
    TurnFinished,
)
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend, Patience
from agentpane.orchestrator.backends.messages_api.backend import Tools
from agentpane.orchestrator.backends.recorded import sample
from agentpane.orchestrator.backends.recorded.recording import Recording
from agentpane.orchestrator.backends.recorded.server import RecordedServer
from agentpane.orchestrator.tools import toolbox

NO_OTHER_WAY = (
    "A recording knows no other way. Cancel the card and run it afresh, or give it to an agent that has a key. "
    "What was done so far is kept."
)
PACE_S = 0.006  # before each piece of 24 characters: quick, and slow enough to be seen streaming


class RecordedBackend:
    """Needs no key and no network. The server starts with the first run."""

    name: str = BackendName.RECORDED.value

    def __init__(
        self,
        pace_s: float = PACE_S,
        load: Callable[[], Sequence[Recording]] = sample.recordings,
        patience: Patience | None = None,
        tools: Tools = toolbox,
    ) -> None:
        self._pace_s = pace_s
        self._load = load
        self._harness = MessagesApiBackend(patience, tools)
        self._server: RecordedServer | None = None
        self._endpoint: Endpoint | None = None
        self._starting = asyncio.Lock()

    async def warm_up(self) -> None:
        """Import what is slow to import, in a thread; the first run does so otherwise."""
        await self._harness.warm_up()

    async def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        """See `Backend.play`. The brief's endpoint is ignored.

        Raises AGENT_TOOL_NOT_ALLOWED once a call was denied: a recording cannot find another way.
        """
        server, endpoint = await self._running()
        server.folders.append(str(brief.context.worktree))
        denied: ToolFinished | None = None
        try:
            own = replace(brief, endpoint=endpoint)
            async with aclosing(self._harness.play(own, host)) as events:
                async for event in events:
                    if isinstance(event, ToolFinished) and event.denied is not None:
                        denied = event
                    yield replace(event, cost_usd=0.0) if isinstance(event, TurnFinished | ModelCalled) else event
        except AgentPaneError as error:
            if error.code is not ErrorCode.BACKEND_PROTOCOL:
                raise
            raise _stuck(error, denied) from error
        finally:
            server.folders.remove(str(brief.context.worktree))

    async def close(self) -> None:
        await self._harness.close()
        if self._server is not None:
            await self._server.close()

    async def _running(self) -> tuple[RecordedServer, Endpoint]:
        async with self._starting:
            if self._server is None or self._endpoint is None:
                self._server = RecordedServer(await asyncio.to_thread(self._load), self._pace_s)
                self._endpoint = await self._server.start()
            return self._server, self._endpoint


def _stuck(error: AgentPaneError, denied: ToolFinished | None) -> AgentPaneError:
    """The recording does not fit what has happened; in words for the person who made it so, if one did."""
    if denied is None:
        return AgentPaneError(error.code, error.message, NO_OTHER_WAY, error.details)
    return AgentPaneError(
        ErrorCode.AGENT_TOOL_NOT_ALLOWED,
        f"This agent is recorded and goes on only as it was recorded; its call {denied.call.name} was denied: "
        f"{denied.denied}",
        NO_OTHER_WAY,
        error.details,
    )
