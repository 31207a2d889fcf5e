"""The in-process backend: any server that speaks the Messages API, by way of the anthropic SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from agentpane.domain.agents import BackendName
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Host
from agentpane.orchestrator.backends.messages_api.asking import Asker, Request
from agentpane.orchestrator.backends.messages_api.clients import Clients
from agentpane.orchestrator.backends.messages_api.conversation import system_blocks, tool_definitions
from agentpane.orchestrator.backends.messages_api.faults import Patience
from agentpane.orchestrator.backends.messages_api.play import Play
from agentpane.orchestrator.tools import Tool, toolbox

Tools = Callable[[Sequence[str]], Mapping[str, Tool]]  # the tools of these names


class MessagesApiBackend:
    """Serves many runs at once over shared connections."""

    name: str = BackendName.ANTHROPIC.value

    def __init__(self, patience: Patience | None = None, tools: Tools = toolbox) -> None:
        self._patience = patience or Patience()
        self._tools = tools
        self._clients = Clients()

    async def warm_up(self) -> None:
        """Import what is slow to import, in a thread; the first run does so otherwise."""
        await self._clients.heavy()

    async def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        """See `Backend.play`. Raises AgentPaneError with BACKEND_AUTH before anything else if there is no key."""
        client = await self._clients.get(brief.endpoint)
        heavy = await self._clients.heavy()
        tools = {**self._tools(brief.tools), **{tool.name: tool for tool in brief.extra_tools}}
        request = Request(brief.model, system_blocks(brief.system), tool_definitions(tools.values()))
        asker = Asker(client, heavy, brief.endpoint, request, self._patience, brief.call_ids)
        async with aclosing(Play(brief, host, tools, asker).events()) as events:
            async for event in events:
                yield event

    async def close(self) -> None:
        await self._clients.close()
