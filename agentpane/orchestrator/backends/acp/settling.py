"""Calls that were open when the run paused or broke off: what became of each, for the session and for the program."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from agentpane.domain.policy import EXIT_PLAN, Effect, Judgement, Use
from agentpane.domain.transcript import UNKNOWN_OUTCOME
from agentpane.orchestrator.backends.acp.calls import shown
from agentpane.orchestrator.backends.acp.memory import Memory
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Host, Pending, ToolFinished
from agentpane.orchestrator.tools import ToolResult


class Settling:
    """told: what the program has to hear of them, when it goes on."""

    def __init__(self, brief: Brief, host: Host, memory: Memory) -> None:
        self.told: list[str] = []
        self._brief = brief
        self._host = host
        self._memory = memory

    async def events(self) -> AsyncGenerator[BackendEvent, None]:
        """Raises RunPaused while a person has still to answer."""
        brief = self._brief
        turn = brief.turns[-1] if brief.turns and brief.turns[-1] else brief.first_turn - 1
        for pending in brief.pending:
            result, denied = await self._result(turn, pending)
            yield ToolFinished(turn, pending.call, result, 0, denied)

    async def _result(self, turn: int, pending: Pending) -> tuple[ToolResult, str | None]:
        call, given = pending.call, pending.call.input
        if call.name == "AskUser":
            options = given.get("options")
            listed = tuple(str(one) for one in options) if isinstance(options, list) else ()
            question = str(given.get("question"))
            answer = await self._host.ask(turn, call, question, listed)
            self.told.append(f"You asked: {question}\nThe person answers: {answer}")
            return ToolResult(f"The person answers: {answer}", False, " ".join(answer.split())[:200]), None
        if call.name == EXIT_PLAN and not pending.started:
            plan = str(given.get("plan", ""))
            verdict = await self._host.decide(turn, call, Use(EXIT_PLAN, Effect.OTHER), "a plan", shown(plan))
            if verdict.judgement is Judgement.DENY:
                self.told.append(f"Your plan is not approved: {verdict.rule}")
                return ToolResult(verdict.rule, True, "denied"), verdict.rule
            self._memory.approve_plan(plan, verdict.edited)
            return ToolResult("approved", False, "approved"), None
        about = ", ".join(str(one)[:200] for one in given.values())
        self.told.append(f"About your call {call.name} ({about}): {UNKNOWN_OUTCOME}")
        return ToolResult(UNKNOWN_OUTCOME, True, "unknown"), None
