"""The acp backend: any program that speaks the Agent Client Protocol, confined, with its requests answered by us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.orchestrator.backends.acp.answers import Answers
from agentpane.orchestrator.backends.acp.inbox import Inbox
from agentpane.orchestrator.backends.acp.launching import prepare, program_of
from agentpane.orchestrator.backends.acp.library import Loader
from agentpane.orchestrator.backends.acp.memory import Memory
from agentpane.orchestrator.backends.acp.play import Play
from agentpane.orchestrator.backends.acp.scribe import Scribe
from agentpane.orchestrator.backends.acp.session import Session
from agentpane.orchestrator.backends.acp.terminals import Terminals
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Host
from agentpane.temporary import TemporaryFolder

HOME = "home"  # the program's home folder, in the folder of its state


class AcpBackend:
    """Serves many runs at once, each with a program of its own."""

    name: str = BackendName.ACP.value

    def __init__(self) -> None:
        self._loader = Loader()

    def check(self, config: AgentConfig) -> None:
        """Raises AgentPaneError with AGENT_BACKEND_MISSING if the program is not named or not installed. Blocks."""
        program_of(config)

    async def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        """See `Backend.play`."""
        program = await asyncio.to_thread(program_of, brief.agent)
        library = await self._loader.get()
        async with AsyncExitStack() as stack:
            state = brief.state
            if state is None:  # nothing of this conversation is to be kept
                state = stack.enter_context(TemporaryFolder("acp"))
            command = await asyncio.to_thread(prepare, program, brief, state / HOME)
            memory = await asyncio.to_thread(Memory.of, state)
            terminals = Terminals(library, brief.context)
            stack.push_async_callback(terminals.close)
            inbox = Inbox(library, terminals.immediate)
            session = Session(await brief.context.sandbox.open(command), program, library, inbox)
            stack.push_async_callback(session.close)

            async def may_start(turn: int) -> None:
                memory.note(await host.may_start_turn(turn))

            scribe = Scribe(brief.context.worktree, brief.first_turn, may_start, memory.spent)
            answers = Answers(brief, host, library, scribe, terminals, inbox, memory)
            stack.push_async_callback(answers.close)
            play = Play(brief, host, session, inbox, scribe, answers, memory)
            modes = program.preset.plan_modes if program.preset else ("plan",)
            async with aclosing(play.events(modes)) as events:
                async for event in events:
                    yield event

    async def close(self) -> None:
        """Nothing is held between runs."""
