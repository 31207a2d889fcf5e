"""The sub-agents of one run that is played: begun by its calls, taken up again by the same calls, ended with it.

A sub-agent has a run and a conversation of its own in its parent's session and worktree, and never more tools than
its parent; `cast` says by what it is judged. When one of them must wait, the others stop at their next safe moment,
and then the parent pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from agentpane.db import agents, runs, sub_runs
from agentpane.domain.agents import Agent
from agentpane.domain.json import JsonValue
from agentpane.domain.policy import Effect, Policy, below, effect_of
from agentpane.domain.projects import ProjectConfig
from agentpane.domain.runs import TURN_LIMITS, PauseReason, RunError, RunStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import RunFailed, RunPaused
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.tools import ToolResult

MAX_DEPTH = 3
SIDE_BY_SIDE = 3
DELEGATE = "Task"
# What is no fault of the sub-agent's work: the whole run stops, and goes on from here when it is resumed.
_SURROUNDINGS = frozenset({ErrorCode.BACKEND_AUTH, ErrorCode.BACKEND_RATE_LIMITED, ErrorCode.BACKEND_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-agent about to play. within: the turn and the call of its parent that wait for it."""

    run: runs.RunRow
    agent: Agent
    tools: tuple[str, ...]
    within: tuple[int, str]
    description: str
    wish: Callable[[], PauseReason | None]


Play = Callable[[Part], Awaitable[str]]  # plays to the end and returns the last words


class Crew:
    """policy, tools: the parent's. first_turn: calls of earlier turns go on with what they began.

    wish: why it should pause, if it should.
    """

    def __init__(
        self,
        core: Core,
        run: runs.RunRow,
        agent: Agent,
        policy: Policy,
        config: ProjectConfig,
        tools: tuple[str, ...],
        first_turn: int,
        play: Play,
        wish: Callable[[], PauseReason | None],
    ) -> None:
        self._core = core
        self._run = run
        self._agent = agent
        self._policy = policy
        self._config = config
        self._tools = tools
        self._first_turn = first_turn
        self._play = play
        self._parents_wish = wish
        self._pause: RunPaused | None = None
        self._failure: AgentPaneError | None = None
        self._places = asyncio.Semaphore(SIDE_BY_SIDE)
        self._changing = asyncio.Lock()
        self._playing = 0
        self._at_rest = asyncio.Event()

    def wish(self) -> PauseReason | None:
        """Why the sub-agents should pause, if they should."""
        return self._pause.reason if self._pause is not None else self._parents_wish()

    async def delegate(self, turn: int, call_id: str, description: str, prompt: str, agent: str | None) -> ToolResult:
        """See `Host.delegate`."""
        if self._run.depth >= MAX_DEPTH:
            words = f"Sub-agents are at most {MAX_DEPTH} deep. Do this yourself."
            return ToolResult(words, True, "too deep", {}, ErrorCode.AGENT_TOOL_NOT_ALLOWED)
        found = None
        if turn < self._first_turn:
            found = await self._core.db.read(sub_runs.of_call, self._run.id, call_id)
        if found is not None and found.status in {RunStatus.COMPLETED, RunStatus.ERROR, RunStatus.CANCELLED}:
            return _outcome(found)
        chosen = await self._chosen(agent, found)
        tools = self._tools_of(chosen)
        async with self._place(changes=any(effect_of(tool) is not Effect.READ for tool in tools)):
            if found is None:
                found = await self._begin(chosen, call_id, prompt)
            run = await self._core.db.write(sub_runs.go_on, found.id, self._core.clock.now(), self._turn_limit(chosen))
            part = Part(run, chosen, tools, (turn, call_id), description, self.wish)
            return await self._played(part)

    async def _played(self, part: Part) -> ToolResult:
        self._playing += 1
        self._at_rest.clear()
        try:
            return await self._attempt(part)
        except (RunPaused, RunFailed):
            pass  # the others come to rest first
        finally:
            self._playing -= 1
            if not self._playing:
                self._at_rest.set()
        await self._at_rest.wait()
        raise self._stop()

    async def _attempt(self, part: Part) -> ToolResult:
        try:
            text = await self._play(part)
        except RunPaused as pause:
            self._pause = self._pause or pause
            await self._set(part, RunStatus.PAUSED, pause_reason=pause.reason)
            raise
        except RunFailed as failure:
            self._fail(failure.error)
            raise
        except AgentPaneError as error:
            if error.code in _SURROUNDINGS or error.details.get("spend_limit") is True:
                self._fail(error)
                raise RunFailed(error) from error
            stored = RunError(error.code.value, error.message, error.hint)
            return _outcome(await self._set(part, RunStatus.ERROR, error=stored))
        return _outcome(await self._set(part, RunStatus.COMPLETED, result=text))

    def _fail(self, error: AgentPaneError) -> None:
        self._failure = self._failure or error
        self._pause = self._pause or RunPaused(PauseReason.PERSON)

    def _stop(self) -> RunPaused | RunFailed:
        if self._failure is not None:
            return RunFailed(self._failure)
        assert self._pause is not None
        return RunPaused(self._pause.reason, self._pause.error)

    async def _set(self, part: Part, status: RunStatus, **fields: object) -> runs.RunRow:
        def store(connection: runs.Connection) -> runs.RunRow:
            runs.set_status(connection, part.run.id, status, self._core.clock.now(), **fields)
            return runs.row(connection, part.run.id)

        return await self._core.db.write(store)

    @asynccontextmanager
    async def _place(self, changes: bool) -> AsyncIterator[None]:
        """A place among those that play side by side; of those that may change something one plays at a time."""
        async with AsyncExitStack() as held:
            if changes:
                await held.enter_async_context(self._changing)
            await held.enter_async_context(self._places)
            if self._pause is not None:
                raise self._stop()
            yield

    async def _chosen(self, name: str | None, begun: runs.RunRow | None) -> Agent:
        """The agent that plays. Raises AgentPaneError with AGENT_NOT_FOUND."""
        if begun is not None:
            return replace(await self._core.agent(begun.agent_id), model=begun.model)
        if name is None:
            return replace(self._agent, model=self._run.model)
        return await self._core.agent(await self._core.db.read(agents.resolve, name, self._run.project_id))

    def _tools_of(self, agent: Agent) -> tuple[str, ...]:
        own = agent.config.allowed_tools
        deepest = self._run.depth + 1 >= MAX_DEPTH
        return tuple(
            tool for tool in self._tools if (own is None or tool in own) and not (deepest and tool == DELEGATE)
        )

    def _turn_limit(self, agent: Agent) -> int:
        return agent.config.max_turns or self._config.max_turns or TURN_LIMITS[agent.type]

    async def _begin(self, agent: Agent, call_id: str, prompt: str) -> runs.RunRow:
        new = sub_runs.NewSubRun(
            parent=self._run,
            call_id=call_id,
            agent_id=agent.id,
            prompt=prompt,
            model=agent.model,
            turn_limit=self._turn_limit(agent),
            policy=below(self._policy, agent.config.policy),
        )
        return await self._core.db.write(sub_runs.create, new, self._core.clock.now())


def _outcome(run: runs.RunRow) -> ToolResult:
    """What the parent reads of a sub-agent that has ended."""
    data: dict[str, JsonValue] = {"run_id": run.id, "agent": run.agent, "turns": run.turns}
    if run.status is RunStatus.COMPLETED:
        summary = f"{run.agent}, {run.turns} turn{'' if run.turns == 1 else 's'}"
        return ToolResult(run.result or "(The sub-agent ended without a word.)", False, summary, data)
    if run.error is None:
        return ToolResult("The sub-agent was cancelled.", True, "cancelled", data)
    words = f"The sub-agent failed: {run.error.message} {run.error.hint}".strip()
    return ToolResult(words, True, run.error.message, data, ErrorCode(run.error.code))
