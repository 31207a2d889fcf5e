"""One request, its streamed answer, and the request again when the wire fails.

Yields the answer's blocks as they come; what had been shown of a failed try is taken back with TurnDiscarded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Endpoint,
    Host,
    ModelCalled,
    Purpose,
    Retrying,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolCalled,
    TurnDiscarded,
    TurnFinished,
    TurnStarted,
)
from agentpane.orchestrator.backends.messages_api.accumulator import (
    Accumulator,
    Block,
    RawCall,
    Text,
    TextPiece,
    Thought,
    ThoughtPiece,
)
from agentpane.orchestrator.backends.messages_api.calls import as_call
from agentpane.orchestrator.backends.messages_api.clients import Heavy
from agentpane.orchestrator.backends.messages_api.conversation import Conversation
from agentpane.orchestrator.backends.messages_api.faults import Patience, RequestFailed
from agentpane.orchestrator.backends.messages_api.models import MAX_TOKENS
from agentpane.orchestrator.backends.messages_api.watchdog import Watchdog

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

    from agentpane.orchestrator.backends.messages_api.sdk import Stream

DRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is the same in every request of a run."""

    model: str
    system: Sequence[Mapping[str, object]]
    tools: Sequence[Mapping[str, object]]


class Asker:
    """Asks until an answer is whole; `answer` is the last one. call_ids: what earlier calls go by."""

    def __init__(
        self,
        client: AsyncAnthropic,
        heavy: Heavy,
        endpoint: Endpoint,
        request: Request,
        patience: Patience,
        call_ids: Iterable[str] = (),
    ) -> None:
        self.answer = Accumulator()
        self._client = client
        self._heavy = heavy
        self._endpoint = endpoint
        self._request = request
        self._patience = patience
        self._call_ids = set(call_ids)
        self._request_id: str | None = None
        self._began = 0.0
        self._whole = False

    @property
    def window(self) -> int | None:
        """How many tokens the model takes, if that is known."""
        known = self._heavy.window_of(self.answer.model) if self.answer.model else None
        return known or self._heavy.window_of(self._request.model)

    async def ask(self, turn: int, conversation: Conversation, host: Host) -> AsyncGenerator[BackendEvent, None]:
        """Ask for a turn.

        Raises RunPaused from the host, or AgentPaneError with the code of a fault that does not pass.
        """
        for attempt in count(1):
            said = await host.may_start_turn(turn)
            for message in said:
                conversation.say(message)
            if attempt == 1 or said:  # what was said between two tries is part of what is answered
                yield TurnStarted(turn)
            async with aclosing(self._try(turn, attempt, conversation.messages(), {})) as events:
                async for event in events:
                    yield event
            if self._whole:
                self._call_ids.update(call.id for call in self.answer.calls)
                yield self._finished(turn)
                return

    async def summarise(
        self, turn: int, messages: list[dict[str, object]], settings: Mapping[str, object], host: Host, said: list[str]
    ) -> AsyncGenerator[BackendEvent, None]:
        """Ask beside the conversation; nothing of the answer is shown. Raises what `ask` raises.

        said: takes what the person says meanwhile.
        """
        for attempt in count(1):
            said += await host.may_start_turn(turn)
            async with aclosing(self._try(turn, attempt, messages, settings)) as events:
                async for event in events:
                    if isinstance(event, Retrying | ModelCalled):
                        yield event
            if self._whole:
                made = self._model_called(turn, Purpose.SUMMARY)
                if made is not None:
                    yield made
                return

    async def _try(
        self, turn: int, attempt: int, messages: list[dict[str, object]], settings: Mapping[str, object]
    ) -> AsyncGenerator[BackendEvent, None]:
        """One try, and the wait that follows if it fails; `_whole` says whether it did not."""
        self._whole, self._began = False, time.perf_counter()
        shown = False
        try:
            async with aclosing(self._stream(turn, messages, settings)) as events:
                async for event in events:
                    shown = True
                    yield event
            self._whole = True
        except RequestFailed as failure:
            if shown:
                yield TurnDiscarded(turn)
            paid = self._model_called(turn, Purpose.FAILED_TRY)
            if paid is not None:
                yield paid
            fault = failure.fault
            tries = self._patience.tries_for(fault)
            if attempt >= tries:
                raise fault.error(attempt) from failure
            wait = self._patience.wait(attempt, fault)
            yield Retrying(turn, attempt + 1, tries, wait, fault.code, fault.message)
            await self._patience.sleep(wait)

    async def _stream(
        self, turn: int, messages: list[dict[str, object]], settings: Mapping[str, object]
    ) -> AsyncGenerator[BackendEvent, None]:
        """The events of one answer. Raises RequestFailed for whatever the wire may do."""
        self.answer = answer = Accumulator(turn, self._call_ids)
        self._request_id = None
        patience, wire_errors = self._patience, self._heavy.wire_errors
        stream = None
        watchdog = Watchdog(patience.silence_s)
        try:
            while True:
                try:
                    with watchdog:
                        if stream is None:
                            stream = await self._open(messages, settings)
                            self._request_id = stream.response.headers.get("request-id")
                        raw = await anext(stream, None)
                    event = None if raw is None else _event_of(turn, answer.take(raw))
                    if raw is None or answer.stopped:
                        answer.check_whole()
                        await self._drain(stream)
                        return
                except TimeoutError as error:
                    raise RequestFailed(self._heavy.silent(patience.silence_s, self._endpoint)) from error
                except wire_errors as error:
                    evidence = self._heavy.evidence(error, self._endpoint)
                    raise RequestFailed(self._heavy.fault_of(error, self._endpoint)) from evidence
                if event is not None:
                    yield event
        finally:
            watchdog.close()
            if stream is not None:
                await stream.close()

    async def _open(self, messages: list[dict[str, object]], settings: Mapping[str, object]) -> Stream:
        request = self._request
        body: dict[str, Any] = {"model": request.model, "max_tokens": MAX_TOKENS, "messages": messages}
        if request.system:
            body["system"] = request.system
        if request.tools:
            body["tools"] = request.tools
        body |= settings
        stream: Stream = await self._client.messages.create(**body, stream=True)
        return stream

    async def _drain(self, stream: Stream) -> None:
        """Read what is left of a response whose answer is whole, so that its connection can be used again."""
        with suppress(TimeoutError, *self._heavy.wire_errors):
            async with asyncio.timeout(DRAIN_S):
                async for _ in stream:
                    pass

    def _finished(self, turn: int) -> TurnFinished:
        answer, usage = self.answer, self.answer.usage
        assert answer.stop_reason is not None
        return TurnFinished(
            turn,
            answer.stop_reason,
            answer.model,
            usage,
            self._cost(),
            self._latency(),
            self._request_id,
            None if usage is None else usage.total_input + usage.output,
            self.window,
        )

    def _model_called(self, turn: int, purpose: Purpose) -> ModelCalled | None:
        """The last request, if its answer got as far as to say what it used."""
        answer, usage = self.answer, self.answer.usage
        if usage is None:
            return None
        stop_reason = answer.stop_reason if self._whole else None
        cost, latency = self._cost(), self._latency()
        return ModelCalled(turn, purpose, stop_reason, answer.model, usage, cost, latency, self._request_id)

    def _cost(self) -> float | None:
        if self.answer.usage is None:
            return None
        return self._heavy.cost_of(self.answer.model, self.answer.raw_usage)

    def _latency(self) -> int:
        return round((time.perf_counter() - self._began) * 1000)


def _event_of(turn: int, news: TextPiece | ThoughtPiece | Block | None) -> BackendEvent | None:
    match news:
        case TextPiece():
            return TextDelta(turn, news.text)
        case ThoughtPiece():
            return ThinkingDelta(turn, news.text)
        case Text():
            return TextBlock(turn, news.text)
        case Thought():
            return ThinkingBlock(turn, news.text, news.signature, news.redacted)
        case RawCall():
            return ToolCalled(turn, as_call(news))
        case None:
            return None
