"""Tool calls of one answer: checked, put to the host, and run.

A call has an effect only if its input is whole, keeps to the tool's schema, and came in an answer that stopped to
use tools. Neighbouring read-only calls run side by side, the others one after the other.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from agentpane.domain.policy import Judgement, Verdict
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Host,
    TodosChanged,
    ToolCall,
    ToolFinished,
    ToolOutput,
    ToolStarted,
)
from agentpane.orchestrator.backends.messages_api.accumulator import RawCall
from agentpane.orchestrator.backends.messages_api.schema import problem_of
from agentpane.orchestrator.tools import Tool, ToolContext, ToolResult

TAP_LIMIT = 256 * 1024  # characters of a call's output that wait to be shown; older ones are dropped
UNKNOWN_OUTCOME = (
    "The program ended while this call ran, so its outcome is unknown: it may have had all, some or none of its "
    "effect. Look at the present state before you repeat it."
)


@dataclass(frozen=True, slots=True)
class CheckedCall:
    """A call and what stands against it; `tool` is there exactly if nothing does."""

    call: ToolCall
    tool: Tool | None
    problem: str = ""

    @property
    def runs_alone(self) -> bool:
        return self.tool is None or self.tool.mutates


def parse(raw: str) -> dict[str, object] | None:
    """A call's input; None if it is not one whole JSON object."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def as_call(raw: RawCall) -> ToolCall:
    """The call as it is recorded: with an empty input where none could be read."""
    return ToolCall(raw.id, raw.name, parse(raw.raw) or {})  # type: ignore[arg-type]  # JSON in, JSON out


def check_raw(raw: RawCall, stop_reason: str | None, tools: Mapping[str, Tool]) -> CheckedCall:
    call = as_call(raw)
    if stop_reason != "tool_use":
        return CheckedCall(call, None, _cut_words(stop_reason))
    if raw.name in tools and parse(raw.raw) is None:
        return CheckedCall(
            call, None, "The input of this call is not a whole JSON object, so it was not run. Send it again."
        )
    return check(call, tools)


def check(call: ToolCall, tools: Mapping[str, Tool]) -> CheckedCall:
    tool = tools.get(call.name)
    if tool is None:
        return CheckedCall(call, None, f"There is no tool `{call.name}`. The tools are: {', '.join(tools)}.")
    given = {name: value for name, value in call.input.items() if value is not None}  # null is: not given
    problem = problem_of(given, tool.input_schema)
    if problem is not None:
        return CheckedCall(call, None, f"The call was not run, for its input is not right: {problem}.")
    return CheckedCall(call, tool)


def unknown_outcome() -> ToolResult:
    return failed(UNKNOWN_OUTCOME, "outcome unknown")


def failed(content: str, summary: str) -> ToolResult:
    return ToolResult(content=content, is_error=True, summary=summary, data={}, error_code=None)


def denied(rule: str) -> ToolResult:
    told = failed(f"The call was not carried out: {rule}", "denied")
    return replace(told, error_code=ErrorCode.AGENT_TOOL_NOT_ALLOWED)


def _cut_words(stop_reason: str | None) -> str:
    if stop_reason == "max_tokens":
        return "The answer reached its longest length inside this call, so it was not run. Do it in smaller parts."
    return f"The answer ended with {stop_reason} instead of tool_use, so this call was not run."


@dataclass(frozen=True, slots=True)
class _CallHost:
    """The host, on behalf of one call."""

    host: Host
    turn: int
    call: ToolCall

    async def ask(self, question: str, options: tuple[str, ...]) -> str:
        return await self.host.ask(self.turn, self.call, question, options)

    async def delegate(self, description: str, prompt: str, agent: str | None) -> ToolResult:
        return await self.host.delegate(self.turn, self.call, description, prompt, agent)


def _edited(checked: CheckedCall, verdict: Verdict) -> CheckedCall:
    """The call as it is made: with the input that the person has given it, if there is one."""
    if verdict.edited is None:
        return checked
    return replace(checked, call=replace(checked.call, input={**checked.call.input, **verdict.edited}))


class _Tap:
    """Collects what running calls print until it is shown; never holds up a call."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.done: list[tuple[CheckedCall, ToolResult, int]] = []
        self._pieces: dict[str, str] = {}

    def put(self, call_id: str, text: str) -> None:
        self._pieces[call_id] = (self._pieces.get(call_id, "") + text)[-TAP_LIMIT:]
        self.news.set()

    def take(self) -> Iterator[tuple[str, str]]:
        pieces, self._pieces = self._pieces, {}
        yield from pieces.items()


class CallRunner:
    """Runs the calls of a run's answers. `results` has those of the calls that `run` has been through, by call id."""

    def __init__(self, host: Host, context: ToolContext) -> None:
        self._host = host
        self._context = context
        self.results: dict[str, ToolResult] = {}

    async def run(self, turn: int, calls: Iterable[CheckedCall]) -> AsyncGenerator[BackendEvent, None]:
        """Yields what happens. Raises RunPaused from the host, before any call of its group has begun."""
        self.results = {}
        for alone, neighbours in groupby(calls, key=lambda checked: checked.runs_alone):
            together = list(neighbours)
            for group in [[one] for one in together] if alone else [together]:
                async for event in self._run_group(turn, group):
                    yield event

    async def _run_group(self, turn: int, group: Sequence[CheckedCall]) -> AsyncGenerator[BackendEvent, None]:
        allowed: list[CheckedCall] = []
        starts: list[ToolStarted] = []
        ends: list[ToolFinished] = []
        for checked in group:
            if checked.tool is None:
                ends.append(self._finish(turn, checked, failed(checked.problem, "not run"), 0))
                continue
            summary = checked.tool.describe(checked.call.input)
            verdict = await self._host.authorize(turn, checked.call, summary)
            if verdict.judgement is not Judgement.ALLOW:
                ends.append(self._finish(turn, checked, denied(verdict.rule), 0, verdict.rule))
                continue
            made = _edited(checked, verdict)
            starts.append(ToolStarted(turn, made.call, summary, checked.tool.mutates, verdict.rule))
            allowed.append(made)
        for ended in ends:
            yield ended
        for started in starts:
            yield started
        async for happened in self._run_allowed(turn, allowed):
            yield happened

    async def _run_allowed(self, turn: int, allowed: Sequence[CheckedCall]) -> AsyncGenerator[BackendEvent, None]:
        tap = _Tap()
        jobs = [asyncio.create_task(self._run_one(turn, checked, tap)) for checked in allowed]
        for job in jobs:
            job.add_done_callback(lambda _: tap.news.set())
        try:
            left = len(jobs)
            while left:
                await tap.news.wait()
                tap.news.clear()
                for call_id, text in tap.take():
                    yield ToolOutput(turn, call_id, text)
                done, tap.done = tap.done, []
                left -= len(done)
                for checked, result, duration in done:
                    if result.todos is not None:
                        yield TodosChanged(turn, result.todos)
                    yield self._finish(turn, checked, result, duration)
                for job in jobs:
                    if job.done():
                        job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _run_one(self, turn: int, checked: CheckedCall, tap: _Tap) -> None:
        assert checked.tool is not None
        began = time.perf_counter()
        call_id = checked.call.id
        try:
            context = replace(self._context, turn=turn, call_id=call_id, host=_CallHost(self._host, turn, checked.call))
            result = await checked.tool.run(checked.call.input, context, lambda text: tap.put(call_id, text))
        except AgentPaneError as error:
            words = f"{error.message} {error.hint}".strip()
            result = ToolResult(content=words, is_error=True, summary=error.message, data={}, error_code=error.code)
        tap.done.append((checked, result, round((time.perf_counter() - began) * 1000)))

    def _finish(
        self, turn: int, checked: CheckedCall, result: ToolResult, duration: int, denied: str | None = None
    ) -> ToolFinished:
        self.results[checked.call.id] = result
        return ToolFinished(turn, checked.call, result, duration, denied)
