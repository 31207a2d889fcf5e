"""One process of a program that speaks the protocol: prompt it and follow it until it says that it is done.

One that has proposed a plan is ended when the plan is approved: until then it cannot write the worktree. The next
process takes its conversation up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from agentpane.domain.acp_presets import AcpPreset
from agentpane.domain.policy import EXIT_PLAN, Effect, Judgement, Use
from agentpane.domain.runs import PauseReason
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import retelling
from agentpane.orchestrator.backends.acp.answers import APPROVED, Answers
from agentpane.orchestrator.backends.acp.calls import AgentCall, shown
from agentpane.orchestrator.backends.acp.inbox import Inbox, Request
from agentpane.orchestrator.backends.acp.memory import Memory
from agentpane.orchestrator.backends.acp.scribe import Scribe
from agentpane.orchestrator.backends.acp.session import Session
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Brief,
    ConversationNamed,
    Ended,
    Host,
    Nudged,
    RunPaused,
    Usage,
)
from agentpane.orchestrator.tools import ToolResult

GO_ON = "Your answer was cut off at its longest length. Go on exactly where it stopped."
GO_ON_WITH_TASK = "Go on with the task. Look at the present state before you repeat anything."
MOST_NUDGES = 4  # in a row


@dataclass(frozen=True, slots=True)
class Opening:
    """How a process begins. conversation: the one to take up, which is told `news`; one that begins is told `whole`."""

    conversation: str | None
    news: str
    whole: str

    @classmethod
    def of(cls, brief: Brief, told: tuple[str, ...]) -> Opening:
        """A run's first. told: what has become of its open calls."""
        whole = f"{brief.system}\n\n{retelling.retold(brief.history, brief.results)}"
        return cls(brief.conversation, _joined(*told, retelling.news(brief.history)), _joined(*told, whole))


class Play:
    """The prompts of one process. follows: how the next one begins, if there is to be one."""

    def __init__(
        self,
        brief: Brief,
        host: Host,
        session: Session,
        inbox: Inbox,
        scribe: Scribe,
        answers: Answers,
        memory: Memory,
    ) -> None:
        self._host = host
        self._brief = brief
        self._session = session
        self._inbox = inbox
        self._scribe = scribe
        self._answers = answers
        self._memory = memory
        self.follows: Opening | None = None
        self._starts_planning = self._planning
        self._nudges = 0
        self._after_plan: str | None = None

    async def events(self, opening: Opening, preset: AcpPreset | None) -> AsyncGenerator[BackendEvent, None]:
        await self._session.start()
        cwd = str(self._brief.context.worktree)
        if opening.conversation and await self._session.take_up(cwd, opening.conversation):
            text = opening.news
        else:
            name = await self._session.open(cwd)
            self._memory.begin(self._session.first_mode)
            yield ConversationNamed(name)
            text = opening.whole
        await self._choose_mode(preset)
        await self._session.choose_model(self._brief.agent.model)
        self._scribe.model = self._session.model()
        following: str | None = text
        while following is not None:
            for event in await self._scribe.begin():
                yield event
            following = _joined(following, *self._memory.take())
            async with aclosing(self._prompted(following or GO_ON_WITH_TASK)) as told:
                async for event in told:
                    yield event
            if self._may_write:
                break
            following = self._next()
            if following is None and self._planning:
                async with aclosing(self._proposed()) as told:
                    async for event in told:
                        yield event
                following = self._after_plan
            elif following is not None:
                yield Nudged(self._scribe.turn, following)
        if self._may_write:
            system, plan = self._brief.system, self._memory.plan
            past = retelling.retold(self._brief.history, self._brief.results)
            whole = _joined(system, past, f"You have proposed a plan:\n\n{plan}")
            self.follows = Opening(self._session.id, "", whole)
        else:
            yield Ended(self._scribe.last_words)

    @property
    def _planning(self) -> bool:
        return self._brief.plan and self._memory.plan is None

    @property
    def _may_write(self) -> bool:
        """Whether its plan has been approved, which this process cannot carry out."""
        return self._starts_planning and not self._planning

    async def _choose_mode(self, preset: AcpPreset | None) -> None:
        if self._planning:
            await self._session.choose_mode(*(preset.plan_modes if preset else ("plan",)))
        else:
            asking = preset.asking_modes if preset else ()
            await self._session.choose_mode(*asking, *([] if asking else [self._memory.mode]))

    async def _proposed(self) -> AsyncGenerator[BackendEvent, None]:
        """A program that has no call for it proposes its plan with its last words: ask about them."""
        plan = self._scribe.last_words
        call = AgentCall(0, "plan", "switch_mode", "a plan", {"plan": plan})
        for event in [*await self._scribe.own_call(call), *self._scribe.settle()]:
            yield event
        use = Use(EXIT_PLAN, Effect.OTHER)
        verdict = await self._host.decide(call.turn, call.as_call(), use, "a plan", shown(plan))
        self._after_plan = None
        if verdict.judgement is Judgement.ALLOW:
            self._memory.approve_plan(plan, verdict.edited)
            for event in [*self._scribe.start(call, verdict.rule), *self._scribe.finish(call, APPROVED)]:
                yield event
        else:
            words = f"The plan is not approved: {verdict.rule}"
            for event in self._scribe.finish(call, ToolResult(words, True, "denied"), verdict.rule):
                yield event
            self._after_plan = f"{words}\n\nPropose another plan; change nothing until it is approved."

    async def _prompted(self, text: str) -> AsyncGenerator[BackendEvent, None]:
        prompting = asyncio.ensure_future(self._session.prompt(text))
        try:
            async with aclosing(self._followed(prompting)) as told:
                async for event in told:
                    yield event
            if self._may_write:
                await self._session.cancel(prompting)
                for event in self._scribe.stopped(_used(prompting)):
                    yield event
                return
            answer = prompting.result()
        except RunPaused:
            await self._session.cancel(prompting)
            used = _used(prompting)
            if used is not None:
                yield self._scribe.cut("cancelled", used)
            raise
        finally:
            prompting.cancel()
            await asyncio.gather(prompting, return_exceptions=True)
        self._stop_reason = str(answer.stop_reason)
        for event in self._scribe.end(self._stop_reason, usage_of(answer)):
            yield event

    async def _followed(self, prompting: asyncio.Future[Any]) -> AsyncGenerator[BackendEvent, None]:
        """Everything that comes until the prompt has its answer or the plan is approved, in order."""
        items = self._inbox.items
        while not self._may_write:
            if not items:
                if prompting.done():
                    return
                await self._either(prompting)
                continue
            async with aclosing(self._told(items.popleft())) as told:
                async for event in told:
                    yield event

    async def _either(self, prompting: asyncio.Future[Any]) -> None:
        """Wait until something has come or the prompt has its answer."""
        coming = asyncio.ensure_future(self._inbox.coming())
        try:
            await asyncio.wait([coming, prompting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()

    async def _told(self, item: Any) -> AsyncGenerator[BackendEvent, None]:
        if isinstance(item, AgentPaneError):
            raise item
        if isinstance(item, Request):
            async with aclosing(self._answers.to(item)) as answering:
                async for event in answering:
                    yield event
        elif isinstance(item, BaseModel):
            for event in await self._scribe.take(item):
                yield event
        else:
            yield item  # an event that one of our terminals has made

    def _next(self) -> str | None:
        """What the program is told next; None when it is done. Raises for an end that a person must look at."""
        denials, self._answers.denials = self._answers.denials, []
        waiting = self._memory.take()
        if waiting:
            self._nudges = 0
            return "\n\n".join(waiting)
        match self._stop_reason:
            case "end_turn" | "cancelled" if denials and self._nudges < MOST_NUDGES:
                self._nudges += 1
                listed = "\n".join(f"- {denial}" for denial in denials)
                return f"These calls were not carried out, for these reasons:\n{listed}\n\nFind another way, or stop."
            case "end_turn":
                return None
            case "max_tokens" if self._nudges < MOST_NUDGES:
                self._nudges += 1
                return GO_ON
            case "max_turn_requests":
                raise RunPaused(PauseReason.TURN_LIMIT, own_limit(self._session.agent))
            case reason:
                raise ended_badly(reason, self._session.agent, self._scribe.last_words)


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _used(prompting: asyncio.Future[Any]) -> Usage | None:
    """What a prompt has used that was broken off, where the program has still said so."""
    answered = prompting.done() and not prompting.cancelled() and prompting.exception() is None
    return usage_of(prompting.result()) if answered else None


def own_limit(agent: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.AGENT_TURN_LIMIT,
        f"{agent} has reached its own limit of requests.",
        "Resume to let it go on, finish here with what is done, or stop.",
    )


def ended_badly(reason: str, agent: str, words: str) -> AgentPaneError:
    kept = "What was done so far is kept."
    if reason == "refusal":
        hint = f"Word the task differently, or give it to another agent. {kept}"
        return AgentPaneError(ErrorCode.BACKEND_REFUSED, f"{agent} refused to go on. {words[:400]}".strip(), hint)
    if reason == "max_tokens":
        hint = f"Start the card afresh with a narrower task. {kept}"
        return AgentPaneError(ErrorCode.BACKEND_CONTEXT_FULL, f"{agent} reached the end of its longest answer.", hint)
    what = f"{agent} gave up in the middle of its turn ({reason})."
    return AgentPaneError(ErrorCode.AGENT_EXECUTION_ERROR, what, f"Resume to go on from the last turn. {kept}")


def usage_of(answer: Any) -> Usage | None:
    """What the program says that the prompt has used; None if it does not say."""
    used = answer.usage
    if used is None:
        return None
    return Usage(used.input_tokens, used.output_tokens, used.cached_read_tokens or 0, used.cached_write_tokens or 0)
