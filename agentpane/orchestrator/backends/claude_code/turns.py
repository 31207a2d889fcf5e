"""The program's messages as turns: what is shown while an answer is written, its blocks, and what it has used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentpane.orchestrator.backends.base import (
    BackendEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolCall,
    ToolCalled,
    TurnDiscarded,
    TurnFinished,
    TurnStarted,
    Usage,
)
from agentpane.orchestrator.backends.claude_code.uses import visible_name

Message = Mapping[str, Any]
COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(frozen=True, slots=True)
class Prices:
    """What the price list says, by model; None where it does not know one."""

    cost_of: Callable[[str, Mapping[str, object]], float | None]
    window_of: Callable[[str], int | None]


class Turns:
    """Of one run. A turn begins before its request, and is over when its answer is whole.

    streaming: an answer is being written. under_way: a turn has begun and is not over.
    """

    def __init__(self, first_turn: int, model: str, prices: Prices) -> None:
        self.turn = first_turn
        self.under_way = False
        self.streaming = False
        self._model = model
        self._prices = prices
        self._shown = False  # something of this try
        self._usage: dict[str, int] = {}
        self._stop_reason: str | None = None
        self._request_id: str | None = None
        self._began = time.monotonic()

    def begin(self) -> TurnStarted:
        self.under_way, self._shown = True, False
        self._forget()
        self._began = time.monotonic()
        return TurnStarted(self.turn)

    def discard(self) -> Iterator[BackendEvent]:
        """The answer was cut and is asked for again."""
        self.streaming = False
        if self._shown:
            yield TurnDiscarded(self.turn)
        self._shown = False
        self._forget()

    def stream(self, event: Message) -> Iterator[BackendEvent]:
        """A piece of the answer that is being written."""
        match event.get("type"):
            case "message_start":
                if self.streaming:
                    yield from self.discard()
                self.streaming = True
                self._note(event.get("message"))
            case "content_block_delta":
                yield from self._delta(event.get("delta"))
            case "message_delta":
                self._note(event)
                self._note(event.get("delta"))
            case "message_stop":
                self.streaming = False
                yield from self.finish()
            case _:
                pass

    def blocks(self, message: Message) -> Iterator[BackendEvent]:
        """Blocks that are whole."""
        if not self.streaming:  # this answer comes in one piece
            self._note(message)
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if not isinstance(block, Mapping):
                continue
            self._shown = True
            match block.get("type"):
                case "text" if str(block.get("text", "")).strip():
                    yield TextBlock(self.turn, str(block["text"]))
                case "thinking":
                    yield ThinkingBlock(self.turn, str(block.get("thinking", "")), str(block.get("signature", "")))
                case "redacted_thinking":
                    yield ThinkingBlock(self.turn, "", "", str(block.get("data", "")))
                case "tool_use":
                    given = block.get("input")
                    name = visible_name(str(block.get("name")))
                    call = ToolCall(str(block.get("id")), name, given if isinstance(given, dict) else {})
                    yield ToolCalled(self.turn, call)
                case _:
                    pass

    def finish(self) -> Iterator[BackendEvent]:
        """The answer is whole, if there is one."""
        if not self.under_way or self.streaming:
            return
        self.under_way = False
        known = "input_tokens" in self._usage
        usage = Usage(*(self._usage.get(name, 0) for name in COUNTS)) if known else None
        yield TurnFinished(
            self.turn,
            self._stop_reason or "end_turn",
            self._model,
            usage,
            self._prices.cost_of(self._model, self._usage) if known else None,
            round((time.monotonic() - self._began) * 1000),
            self._request_id,
            usage.total_input + usage.output if usage else None,
            self._prices.window_of(self._model),
        )
        self.turn += 1

    def note_request(self, name: object) -> None:
        if isinstance(name, str):
            self._request_id = name

    def _delta(self, delta: object) -> Iterator[BackendEvent]:
        if not isinstance(delta, Mapping):
            return
        self._shown = True
        if delta.get("type") == "text_delta":
            yield TextDelta(self.turn, str(delta.get("text", "")))
        elif delta.get("type") == "thinking_delta":
            yield ThinkingDelta(self.turn, str(delta.get("thinking", "")))

    def _note(self, told: object) -> None:
        """Counts are totals so far: a later one replaces an earlier one."""
        if not isinstance(told, Mapping):
            return
        if isinstance(told.get("model"), str):
            self._model = told["model"]
        if isinstance(told.get("stop_reason"), str):
            self._stop_reason = told["stop_reason"]
        usage = told.get("usage")
        for name, value in usage.items() if isinstance(usage, Mapping) else ():
            if name in COUNTS and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                self._usage[name] = value

    def _forget(self) -> None:
        self._usage = {}
        self._stop_reason = self._request_id = None
