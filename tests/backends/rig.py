"""What the backends' tests play on: a host that notes what it is asked, small tools with real effects, and a brief."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentpane.domain.policy import Judgement, Verdict
from agentpane.domain.runs import PauseReason
from agentpane.domain.sandbox import NO_NETWORK
from agentpane.orchestrator.backends.base import (
    Backend,
    BackendEvent,
    Brief,
    Endpoint,
    Pending,
    RunPaused,
    ToolCall,
)
from agentpane.orchestrator.backends.messages_api import Patience
from agentpane.orchestrator.tools import Tool, ToolContext, ToolResult

ALLOWED = Verdict(Judgement.ALLOW, "policy: free")


@dataclass(frozen=True, slots=True)
class Mark:
    """Writes a line into a file of the worktree, so that a test can count effects."""

    name: str = "Mark"
    description: str = "Write a line."
    mutates: bool = True
    input_schema: dict[str, object] = field(
        default_factory=lambda: {
            "type": "object",
            "properties": {"line": {"type": "string"}, "times": {"type": "integer", "minimum": 1}},
            "required": ["line"],
        }
    )

    def describe(self, input: Mapping[str, Any]) -> str:
        return str(input["line"])

    async def run(self, input: Mapping[str, Any], context: ToolContext, on_output: Callable[[str], None]) -> ToolResult:
        with (context.worktree / "marks.txt").open("a") as marks:
            marks.write(f"{input['line']}\n")
        on_output(f"writing {input['line']}")
        return ToolResult(
            content=f"wrote {input['line']}", is_error=False, summary="wrote a line", data={}, error_code=None
        )


@dataclass(slots=True)
class Look:
    """Reads; waits until `together` calls look at the same time, if that is set."""

    together: int = 1
    name: str = "Look"
    description: str = "Look."
    mutates: bool = False
    input_schema: dict[str, object] = field(
        default_factory=lambda: {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
    )
    looking: int = 0
    full: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self, input: Mapping[str, Any]) -> str:
        return str(input["at"])

    async def run(self, input: Mapping[str, Any], context: ToolContext, on_output: Callable[[str], None]) -> ToolResult:
        self.looking += 1
        if self.looking >= self.together:
            self.full.set()
        await self.full.wait()
        return ToolResult(content=f"saw {input['at']}", is_error=False, summary="looked", data={}, error_code=None)


@dataclass(slots=True)
class Wait:
    """Runs until it is ended, and notes both."""

    name: str = "Wait"
    description: str = "Wait."
    mutates: bool = True
    input_schema: dict[str, object] = field(default_factory=lambda: {"type": "object"})
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self, input: Mapping[str, Any]) -> str:
        return "for ever"

    async def run(self, input: Mapping[str, Any], context: ToolContext, on_output: Callable[[str], None]) -> ToolResult:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError("it waits for ever")


def box(*tools: object) -> Callable[[Sequence[str]], Mapping[str, Tool]]:
    """A toolbox of exactly these tools."""
    named: dict[str, Any] = {tool.name: tool for tool in tools}  # type: ignore[attr-defined]
    return lambda names: {name: named[name] for name in names if name in named}


@dataclass(slots=True)
class TestHost:
    """Allows everything but `denied` tools; pauses before turn `pause_at` and before calls of `ask_for`."""

    __test__ = False
    denied: frozenset[str] = frozenset()
    ask_for: frozenset[str] = frozenset()
    pause_at: int | None = None
    says: dict[int, tuple[str, ...]] = field(default_factory=dict)
    turns: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def may_start_turn(self, turn: int) -> tuple[str, ...]:
        if turn == self.pause_at:
            raise RunPaused(PauseReason.PERSON)
        self.turns.append(turn)
        return self.says.pop(turn, ())

    async def authorize(self, turn: int, call: ToolCall, summary: str) -> Verdict:
        self.asked.append(f"{call.name} {summary}")
        if call.name in self.ask_for:
            raise RunPaused(PauseReason.APPROVAL)
        return Verdict(Judgement.DENY, "not today") if call.name in self.denied else ALLOWED


def make_brief(worktree: Path, endpoint: Endpoint, task: str = "Do the work", **changes: Any) -> Brief:
    values: dict[str, Any] = {
        "run_id": "run",
        "task_id": "task",
        "model": "claude-sonnet-5-5",
        "system": "You are careful.",
        "history": ({"role": "user", "content": [{"type": "text", "text": task}]},),
        "results": (),
        "pending": (),
        "first_turn": 1,
        "tools": ("Look", "Mark", "Wait"),
        "context": ToolContext(worktree=worktree, sandbox=None, readable=(), environment={}, network=NO_NETWORK),  # type: ignore[arg-type]
        "endpoint": endpoint,
    }
    return Brief(**(values | changes))


async def play(backend: Backend, brief: Brief, host: TestHost | None = None) -> list[BackendEvent]:
    """Everything that the backend yields; what it raises passes."""
    events: list[BackendEvent] = []
    await play_into(events, backend, brief, host)
    return events


async def play_into(events: list[BackendEvent], backend: Backend, brief: Brief, host: TestHost | None = None) -> None:
    playing: AsyncGenerator[BackendEvent, None] = backend.play(brief, host or TestHost())
    async with aclosing(playing) as stream:
        async for event in stream:
            events.append(event)


def of_kind(events: Sequence[BackendEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def marks(worktree: Path) -> list[str]:
    file = worktree / "marks.txt"
    return file.read_text().splitlines() if file.exists() else []


@dataclass(slots=True)
class Hurry:
    """Patience that waits for nothing and notes what it would have waited."""

    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def patience(self, **changes: Any) -> Patience:
        values: dict[str, Any] = {"sleep": self.sleep, "chance": lambda: 0.5, "silence_s": 20.0}
        return Patience(**(values | changes))


def pending(call_id: str, name: str, started: bool, **arguments: Any) -> Pending:
    return Pending(ToolCall(call_id, name, arguments), started)
