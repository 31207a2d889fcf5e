"""The claude-code backend: one program for each run, spoken with over its own control protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Host
from agentpane.orchestrator.backends.claude_code.calls import Calls
from agentpane.orchestrator.backends.claude_code.launching import prepare
from agentpane.orchestrator.backends.claude_code.link import Link
from agentpane.orchestrator.backends.claude_code.own_tools import OwnTools
from agentpane.orchestrator.backends.claude_code.play import ConversationLost, Play
from agentpane.orchestrator.backends.claude_code.program import find_program, sign_in
from agentpane.orchestrator.backends.claude_code.turns import Prices, Turns
from agentpane.temporary import TemporaryFolder

SILENCE_S = 1_800.0  # longer than the program itself waits for a server that says nothing


class ClaudeCodeBackend:
    """Serves many runs at once, each with a program of its own."""

    name: str = BackendName.CLAUDE_CODE.value

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self._silence_s = silence_s
        self._loading: asyncio.Task[Prices] | None = None

    def check(self, config: AgentConfig) -> None:
        """Raises AgentPaneError with AGENT_BACKEND_MISSING if the program is not installed. Blocks."""
        find_program()

    async def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        """See `Backend.play`."""
        program = await asyncio.to_thread(find_program)
        async with AsyncExitStack() as stack:
            state = brief.state
            if state is None:  # nothing of this conversation is to be kept
                state = stack.enter_context(TemporaryFolder("claude"))
            try:
                async with aclosing(self._converse(program, brief, host, state, brief.conversation)) as events:
                    async for event in events:
                        yield event
            except ConversationLost:
                async with aclosing(self._converse(program, brief, host, state, None)) as events:
                    async for event in events:
                        yield event

    async def close(self) -> None:
        """Nothing is held between runs."""
        if self._loading is not None:
            await asyncio.wait([self._loading])

    async def _converse(
        self, program: Path, brief: Brief, host: Host, state: Path, resume: str | None
    ) -> AsyncGenerator[BackendEvent, None]:
        prices = await self._prices()
        endpoint = brief.endpoint
        account = None if endpoint.api_key or endpoint.auth_token else await asyncio.to_thread(sign_in)
        command = await asyncio.to_thread(prepare, program, brief, state, account, resume)
        secrets = [endpoint.api_key or "", endpoint.auth_token or "", account.token if account else ""]
        async with AsyncExitStack() as stack:
            link = Link(await brief.context.sandbox.open(command), secrets)
            stack.push_async_callback(link.close)
            own = OwnTools(brief.tools, brief.extra_tools, brief.context, link.inbox)
            stack.push_async_callback(own.close)
            turns = Turns(brief.first_turn, brief.model, prices)
            calls = Calls(brief, host, state)
            play = Play(brief, host, link, own, turns, calls, resume is not None, self._silence_s)
            async with aclosing(play.events()) as events:
                async for event in events:
                    yield event

    async def _prices(self) -> Prices:
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_load))
        return await asyncio.shield(self._loading)


def _load() -> Prices:
    """Runs in a thread: the price list takes a few tenths of a second."""
    try:
        from agentpane.orchestrator.backends.messages_api import prices
    except ImportError as error:
        raise AgentPaneError(
            ErrorCode.AGENT_BACKEND_MISSING,
            f"The price list cannot be loaded: {error}.",
            "Install AgentPane again with its dependencies, stop the engine, then resume. Nothing was lost.",
        ) from error
    return Prices(prices.cost_of, prices.window_of)
