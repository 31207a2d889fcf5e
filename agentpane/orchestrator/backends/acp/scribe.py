"""Turns the program's updates into the session's events.

A prompt of the protocol holds many requests to a model. It is told as turns: words and the calls that they end in
are one, and what follows the calls' outcomes is the next, as with every other backend.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from agentpane.domain.tasks import Todo, TodoState
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.acp.calls import SILENT_END, AgentCall
from agentpane.orchestrator.tools import ToolResult

UNASKED = "the agent did not ask: the sandbox alone confines it"
SILENCE = "The agent has ended without a further word."
Events = list[base.BackendEvent]


class Scribe:
    """One run's story.

    may_start: asks the host before each turn, and keeps what a person has said. spent: from what the agent says that
    the conversation has cost, what is new of it.
    """

    def __init__(
        self,
        worktree: Path,
        first_turn: int,
        may_start: Callable[[int], Awaitable[None]],
        spent: Callable[[float | None], float | None],
    ) -> None:
        self.model = ""
        self.turn = first_turn - 1
        self.last_words = ""
        self.context_used: int | None = None
        self.context_window: int | None = None
        self.cost: float | None = None  # of the whole conversation, as the agent counts it
        self._worktree = worktree
        self._may_start = may_start
        self._spent = spent
        self._open = False
        self._began = 0.0
        self._words: list[str] = []
        self._thoughts: list[str] = []
        self._announced: dict[str, AgentCall] = {}  # calls of the open turn
        self._calls: dict[str, AgentCall] = {}  # calls of turns that are closed

    async def begin(self) -> Events:
        """Start a turn, unless one is open. Raises RunPaused when the host says so."""
        if self._open:
            return []
        await self._may_start(self.turn + 1)
        return self._opened()

    async def take(self, update: Any) -> Events:
        """What an update tells."""
        match update.session_update:
            case "agent_message_chunk":
                return await self._chunk(self._words, update, base.TextDelta)
            case "agent_thought_chunk":
                return await self._chunk(self._thoughts, update, base.ThinkingDelta)
            case "tool_call" | "tool_call_update":
                events, call = await self.announce(update)
                return events + self._progress(call, update.status)
            case "plan":
                return [base.TodosChanged(self.turn, _todos(update.entries))]
            case "plan_update" if update.plan.type == "items":
                return [base.TodosChanged(self.turn, _todos(update.plan.entries))]
            case "usage_update":
                self.context_used, self.context_window = update.used, update.size
                if update.cost is not None and update.cost.currency == "USD":
                    self.cost = update.cost.amount
                return []
            case _:
                return []

    async def announce(self, update: Any) -> tuple[Events, AgentCall]:
        """The call that an update speaks of, with what is new of it."""
        known = self._announced.get(update.tool_call_id) or self._calls.get(update.tool_call_id)
        anew = known is not None and known.finished and getattr(update, "session_update", None) == "tool_call"
        if known is not None and not anew:
            known.merge(update)
            return [], known
        call = AgentCall(0, update.tool_call_id)
        call.merge(update)
        return await self.own_call(call), call

    async def own_call(self, call: AgentCall) -> Events:
        """Take a new call into the open turn, or into a new one."""
        events = await self.begin()
        events += self._flush()
        call.turn = self.turn
        self._calls.pop(call.own_id, None)
        self._announced[call.own_id] = call
        return events

    def unfinished(self, kinds: Sequence[str]) -> AgentCall | None:
        """The newest call of one of these kinds that has no outcome yet."""
        calls = (*self._calls.values(), *self._announced.values())
        return next((call for call in reversed(calls) if call.kind in kinds and not call.finished), None)

    def settle(self) -> Events:
        """Close the open turn with the calls that it announced: they are whole, and about to be made."""
        if not self._announced:
            return []
        events = self._flush()
        for own_id, call in self._announced.items():
            call.reported = call.input()
            events.append(base.ToolCalled(call.turn, call.as_call()))
            self._calls[own_id] = call
        self._announced.clear()
        events.append(self._closed("tool_use", None, counted=False))
        return events

    def start(self, call: AgentCall, rule: str) -> Events:
        if call.started_at is not None or call.finished:
            return []
        call.started_at = time.monotonic()
        summary = call.summary(self._worktree)
        return [base.ToolStarted(call.turn, call.as_call(), summary, call.mutates, rule)]

    def output(self, call: AgentCall, text: str) -> Events:
        return [base.ToolOutput(call.turn, call.id, text)] if text else []

    def finish(self, call: AgentCall, result: ToolResult, denied: str | None = None) -> Events:
        if call.finished:
            return []
        call.finished = True
        took = 0 if call.started_at is None else round((time.monotonic() - call.started_at) * 1000)
        return [base.ToolFinished(call.turn, call.as_call(), result, took, denied)]

    def end(self, stop_reason: str, usage: base.Usage | None) -> Events:
        """The prompt has its answer: everything that is open is closed. usage: of the whole prompt."""
        events = self.settle()
        for call in self._calls.values():
            if not call.finished:
                events += self.start(call, UNASKED)
                events += self.finish(call, ToolResult(SILENT_END, True, "no outcome"))
        if not self._open:  # calls are never the last: what a person says next would be taken for their result
            events += self._opened()
            self._words.append(SILENCE)
        events += self._flush()
        events.append(self._closed(stop_reason, usage))
        return events

    def stopped(self, used: base.Usage | None) -> Events:
        """The program has been ended where it can go on: what is open is closed, and it need not have a last word."""
        events = self.settle()
        for call in self._calls.values():
            events += self.finish(call, ToolResult(SILENT_END, True, "no outcome"))
        if self._open:
            return [*events, *self._flush(), self._closed("cancelled", used)]
        return [*events, self.cut("cancelled", used)] if used is not None else events

    def cut(self, stop_reason: str, usage: base.Usage) -> base.ModelCalled:
        """What a prompt has used that was broken off; its calls stay open."""
        cost, purpose = self._spent(self.cost), base.Purpose.FAILED_TRY
        return base.ModelCalled(self.turn, purpose, stop_reason, self.model, usage, cost, 0, None)

    async def _chunk(self, parts: list[str], update: Any, delta: type[base.TextDelta | base.ThinkingDelta]) -> Events:
        if update.content.type != "text" or not update.content.text:
            return []
        events = self.settle()
        events += await self.begin()
        if not parts:
            events += self._flush()
        parts.append(update.content.text)
        events.append(delta(self.turn, update.content.text))
        return events

    def _progress(self, call: AgentCall, status: str | None) -> Events:
        if call.finished or (status in (None, "pending") and call.started_at is None):
            return []
        events = self.settle()
        if status in ("completed", "failed"):
            events += self.start(call, UNASKED)
            return events + self.finish(call, call.result(status == "failed"))
        fresh = call.fresh_output()
        if not fresh:  # some say that a call is in progress and ask for permission then
            return events
        return events + self.start(call, UNASKED) + self.output(call, fresh)

    def _opened(self) -> Events:
        self.turn += 1
        self._open = True
        self._began = time.monotonic()
        return [base.TurnStarted(self.turn)]

    def _flush(self) -> Events:
        """Finish the block of words or thoughts that is being written."""
        events: Events = []
        if self._thoughts:
            events.append(base.ThinkingBlock(self.turn, "".join(self._thoughts), ""))
            self._thoughts.clear()
        if self._words:
            self.last_words = "".join(self._words)
            events.append(base.TextBlock(self.turn, self.last_words))
            self._words.clear()
        return events

    def _closed(self, stop_reason: str, usage: base.Usage | None, counted: bool = True) -> base.TurnFinished:
        self._open = False
        return base.TurnFinished(
            self.turn,
            stop_reason,
            self.model,
            usage,
            self._spent(self.cost),
            round((time.monotonic() - self._began) * 1000),
            None,
            self.context_used,
            self.context_window,
            counted,
        )


def _todos(entries: Sequence[Any]) -> tuple[Todo, ...]:
    return tuple(Todo(" ".join(entry.content.split())[:500], TodoState(entry.status)) for entry in entries)
