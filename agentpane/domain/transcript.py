"""A session's events, turned back into the conversation that the model must be sent.

Only whole turns count: blocks of a turn that never finished are left out, for a cut answer is never acted on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from agentpane.domain.compaction import Message, compacted, cut_results
from agentpane.domain.json import JsonObject
from agentpane.domain.results import result_content
from agentpane.domain.sessions import EventKind, SessionEvent

# States that an event of kind STATE may name and that matter to the conversation.
TOOL_STARTED = "tool_started"
TURN_DISCARDED = "turn_discarded"
AFRESH = "afresh"
COMPACTED = "compacted"
BACKGROUND_ENDED = "background_ended"

UNKNOWN_OUTCOME = "The outcome of this call is unknown. Look at the present state before you repeat it."


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of the last whole turn that has no result.

    started: its effect may have happened. cut: its answer was cut, so it is never to be made.
    """

    id: str
    name: str
    input: JsonObject
    started: bool
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """history: Messages-API messages. results, pending: about the tool calls of its last assistant message.

    read_up_to: the number of the last event that the history takes in; a person's message after it is still to be read.
    turns: for each message of the history the turn that it answered in; 0 for what the model was told.
    call_ids: of every call that was ever made, those that the history no longer holds among them.
    """

    history: tuple[Mapping[str, object], ...]
    results: tuple[Mapping[str, object], ...]
    pending: tuple[OpenCall, ...]
    next_turn: int
    read_up_to: int
    turns: tuple[int, ...] = ()
    call_ids: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Builder:
    messages: list[Message] = field(default_factory=list)
    blocks: list[dict[str, object]] = field(default_factory=list)
    calls: dict[str, OpenCall] = field(default_factory=dict)
    results: list[dict[str, object]] = field(default_factory=list)
    held: list[tuple[int, dict[str, object]]] = field(
        default_factory=list
    )  # what a person said since the last turn began
    call_ids: set[str] = field(default_factory=set)
    last_turn: int = 0
    last_seq: int = 0

    def take(self, event: SessionEvent) -> None:
        self.last_turn = max(self.last_turn, event.turn)
        self.last_seq = event.seq
        data = event.data
        match event.kind:
            case EventKind.TURN_STARTED:
                self.blocks = []
                read_up_to = data.get("read_up_to")
                self.settle(read_up_to if isinstance(read_up_to, int) else event.seq)
            case EventKind.TEXT:
                self.blocks.append({"type": "text", "text": data["text"]})
            case EventKind.THINKING if not data.get("signature") and data.get("redacted") is None:
                pass  # a thought of another program: no model takes it back unsigned
            case EventKind.THINKING:
                self.blocks.append(_thought(data))
            case EventKind.TOOL_CALL:
                self.blocks.append(
                    {"type": "tool_use", "id": data["call_id"], "name": data["name"], "input": data["input"]}
                )
            case EventKind.TURN_FINISHED:
                self.finish_turn(event.turn, data.get("stop_reason") == "tool_use")
            case EventKind.TOOL_RESULT:
                content = result_content(str(data["content"]), _images(data))
                self.result(str(data["call_id"]), content, data.get("is_error") is True)
            case EventKind.ANSWER if "call_id" in data:
                pass  # the result of the call that asked
            case EventKind.USER_MESSAGE | EventKind.ANSWER:
                self.held.append((event.seq, {"type": "text", "text": data["text"]}))
            case EventKind.WORKTREE if is_notice(event):
                self.held.append((event.seq, {"type": "text", "text": data["text"]}))
            case EventKind.STATE:
                self.state(data)
            case _:
                pass

    def finish_turn(self, turn: int, calls_count: bool) -> None:
        """Keep the turn. Calls of an answer that was cut are never to be made, so they pass for started."""
        if not self.blocks:
            return
        self.messages.append(Message("assistant", self.blocks, turn))
        self.calls = {
            str(block["id"]): OpenCall(
                str(block["id"]),
                str(block["name"]),
                _object(block["input"]),
                started=not calls_count,
                cut=not calls_count,
            )
            for block in self.blocks
            if block["type"] == "tool_use"
        }
        self.call_ids.update(self.calls)
        self.results = []
        self.blocks = []

    def result(self, call_id: str, content: object, is_error: bool) -> None:
        if self.calls.pop(call_id, None) is not None:
            self.results.append(
                {"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": is_error}
            )

    def state(self, data: JsonObject) -> None:
        name = data.get("state")
        call = self.calls.get(str(data.get("call_id")))
        if name == TOOL_STARTED and call is not None:
            self.calls[call.id] = replace(call, started=True)
        elif name == TURN_DISCARDED:
            self.blocks = []
        elif name == AFRESH:
            self.messages, self.blocks, self.calls, self.results, self.held = [], [], {}, [], []
        elif name == BACKGROUND_ENDED:
            self.held.append((self.last_seq, {"type": "text", "text": str(data["text"])}))
        elif name == COMPACTED:
            self.compact(data)

    def compact(self, data: JsonObject) -> None:
        """Put the summary in the place of what it replaced. Results go with the calls that they answer."""
        kept_from = data.get("kept_from")
        assert isinstance(kept_from, int)
        self.messages = compacted(self.messages, str(data["summary"]), kept_from)
        self.results = cut_results(self.results)
        if self.messages[-1].role == "user":
            self.calls, self.results = {}, []

    def settle(self, read_up_to: int) -> None:
        """Close the last assistant message: every call gets its result, an unknown one where none is known.

        What a person said up to event `read_up_to` follows the results, as the model read it.
        """
        for call in tuple(self.calls.values()):
            self.result(call.id, UNKNOWN_OUTCOME, is_error=True)
        for result in self.results:
            self.say(result)
        self.results = []
        for seq, block in self.held:
            if seq <= read_up_to:
                self.say(block)
        self.held = [(seq, block) for seq, block in self.held if seq > read_up_to]

    def end(self) -> int:
        """Take in what is left, unless calls are open; returns the number of the last event taken in."""
        if self.calls or self.results:
            return self.held[0][0] - 1 if self.held else self.last_seq
        self.settle(self.last_seq)
        return self.last_seq

    def say(self, block: dict[str, object]) -> None:
        if self.messages and self.messages[-1].role == "user":
            self.messages[-1].blocks.append(block)
        else:
            self.messages.append(Message("user", [block]))


def is_notice(event: SessionEvent) -> bool:
    """Whether it tells the agent what has happened to its surroundings, which it reads before it goes on."""
    if event.kind is EventKind.STATE:
        return event.data.get("state") == BACKGROUND_ENDED
    return event.kind is EventKind.WORKTREE and "text" in event.data


def rebuild(events: Iterable[SessionEvent]) -> Conversation:
    """The conversation that these events record, in order and with whole data (long values put back)."""
    builder = _Builder()
    for event in events:
        builder.take(event)
    read_up_to = builder.end()
    return Conversation(
        tuple({"role": one.role, "content": one.blocks} for one in builder.messages),
        tuple(builder.results),
        tuple(builder.calls.values()),
        builder.last_turn + 1,
        read_up_to,
        tuple(one.turn for one in builder.messages),
        frozenset(builder.call_ids),
    )


def _thought(data: JsonObject) -> dict[str, object]:
    if data.get("redacted") is not None:
        return {"type": "redacted_thinking", "data": data["redacted"]}
    return {"type": "thinking", "thinking": data["text"], "signature": data["signature"]}


def _images(data: JsonObject) -> tuple[Mapping[str, object], ...]:
    images = data.get("images")
    return tuple(_object(one) for one in images) if isinstance(images, list) else ()


def _object(value: object) -> JsonObject:
    return value if isinstance(value, Mapping) else {}
