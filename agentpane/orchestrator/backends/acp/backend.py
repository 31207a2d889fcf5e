"""The acp backend: any program that speaks the Agent Client Protocol, confined, with its requests answered by us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.orchestrator.backends.acp.answers import Answers
from agentpane.orchestrator.backends.acp.inbox import Inbox
from agentpane.orchestrator.backends.acp.launching import Program, prepare, program_of
from agentpane.orchestrator.backends.acp.library import Library, Loader
from agentpane.orchestrator.backends.acp.memory import Memory
from agentpane.orchestrator.backends.acp.play import Opening, Play
from agentpane.orchestrator.backends.acp.scribe import Scribe
from agentpane.orchestrator.backends.acp.session import Session
from agentpane.orchestrator.backends.acp.settling import Settling
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
            memory = await asyncio.to_thread(Memory.of, state)
            settling = Settling(brief, host, memory)
            async for event in settling.events():
                yield event

            async def may_start(turn: int) -> None:
                memory.note(await host.may_start_turn(turn))

            scribe = Scribe(brief.context.worktree, brief.first_turn, may_start, memory.spent)
            opening: Opening | None = Opening.of(brief, tuple(settling.told))
            while opening is not None:
                async with AsyncExitStack() as alive:
                    terminals = Terminals(library, brief.context)
                    alive.push_async_callback(terminals.close)
                    inbox = Inbox(library, terminals.immediate)
                    session = await _started(program, library, brief, state / HOME, memory, inbox)
                    alive.push_async_callback(session.close)
                    answers = Answers(brief, host, library, scribe, terminals, inbox, memory)
                    alive.push_async_callback(answers.close)
                    play = Play(brief, host, session, inbox, scribe, answers, memory)
                    async with aclosing(play.events(opening, program.preset)) as events:
                        async for event in events:
                            yield event
                opening = play.follows

    async def close(self) -> None:
        """Nothing is held between runs."""


async def _started(
    program: Program, library: Library, brief: Brief, home: Path, memory: Memory, inbox: Inbox
) -> Session:
    """A process of the program, which may write the worktree where the run may and no plan is still to be approved."""
    read_only = brief.read_only or (brief.plan and memory.plan is None)
    command = await asyncio.to_thread(prepare, program, brief, home, read_only)
    return Session(await brief.context.sandbox.open(command), program, library, inbox)
