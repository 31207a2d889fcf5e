"""The events of one streamed answer, gathered into blocks.

Trusts nothing: an answer counts as whole only if every block was closed, a reason to stop was given and the closing
event came. The events are the SDK's, which are built without validation, so each field is checked where it is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from agentpane.orchestrator.backends.base import Usage


class MalformedStreamError(Exception):
    """The stream is not an answer of the Messages API, or not a whole one."""


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str


@dataclass(frozen=True, slots=True)
class ThoughtPiece:
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    text: str
    signature: str
    redacted: str | None


@dataclass(frozen=True, slots=True)
class RawCall:
    """A call whose block was closed; `raw` is its input as it came, which need not be JSON."""

    id: str
    name: str
    raw: str


Block = Text | Thought | RawCall


@dataclass(slots=True)
class _Open:
    """A block that is still being written."""

    type: str
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: str | None = None

    def close(self) -> Block | None:
        """The finished block; None for a blank text, which the API would not take back, and for kinds not used here."""
        content = "".join(self.pieces)
        match self.type:
            case "text":
                return Text(content) if content.strip() else None
            case "thinking" | "redacted_thinking":
                return Thought(content, self.signature, self.redacted)
            case "tool_use":
                return RawCall(self.id, self.name, content)
            case _:
                return None


class Accumulator:
    """Takes the events of one answer and says what each adds.

    turn, taken: a call whose identifier an earlier one has (`taken`) goes by one of its own, which names the turn.
    """

    def __init__(self, turn: int = 0, taken: Collection[str] = ()) -> None:
        self.model = ""
        self.stop_reason: str | None = None
        self.blocks: list[Block] = []
        self.raw_usage: dict[str, object] = {}
        self._turn = turn
        self._taken = taken
        self._call_ids: dict[str, str] = {}  # by what the server calls them
        self._open: dict[int, _Open] = {}
        self._started = False
        self.stopped = False  # the closing event has come

    @property
    def calls(self) -> list[RawCall]:
        return [block for block in self.blocks if isinstance(block, RawCall)]

    @property
    def text(self) -> str:
        return "\n\n".join(block.text for block in self.blocks if isinstance(block, Text))

    @property
    def usage(self) -> Usage | None:
        """None for a server that does not count."""
        count = self._count
        if "input_tokens" not in self.raw_usage and "output_tokens" not in self.raw_usage:
            return None
        return Usage(
            input=count("input_tokens"),
            output=count("output_tokens"),
            cache_read=count("cache_read_input_tokens"),
            cache_write=count("cache_creation_input_tokens"),
        )

    def take(self, event: object) -> TextPiece | ThoughtPiece | Block | None:
        """What this event adds. Raises MalformedStreamError if it cannot be part of an answer."""
        kind = getattr(event, "type", None)
        if kind == "content_block_delta":
            return self._delta(event)
        if kind == "content_block_start":
            self._begin(event)
        elif kind == "content_block_stop":
            return self._end(event)
        elif kind == "message_start":
            self._message(event)
        elif kind == "message_delta":
            self._closing(event)
        elif kind == "message_stop":
            self.stopped = True
        return None

    def check_whole(self) -> None:
        """Raises MalformedStreamError unless the answer is complete, whatever the end of the stream looked like."""
        if not self._started:
            raise MalformedStreamError("the server sent something that is not an answer")
        if not self.stopped:
            raise MalformedStreamError("the answer ended without its closing event")
        if self._open:
            raise MalformedStreamError("the answer ended inside a block")
        if self.stop_reason is None:
            raise MalformedStreamError("the answer gave no reason for its end")
        if self.stop_reason == "tool_use" and not self.calls:
            raise MalformedStreamError("the answer announced a tool call and had none")

    def _message(self, event: object) -> None:
        message = getattr(event, "message", None)
        if message is None or self._started:
            raise MalformedStreamError("the answer began twice, or with nothing")
        self._started = True
        self.model = _string(getattr(message, "model", ""))
        self._add_usage(getattr(message, "usage", None))

    def _begin(self, event: object) -> None:
        index, block = self._index(event), getattr(event, "content_block", None)
        if not self._started or index in self._open:
            raise MalformedStreamError("a block began out of order")
        opened = _Open(_string(getattr(block, "type", "")))
        if opened.type == "text":
            opened.pieces.append(_string(getattr(block, "text", "") or ""))
        elif opened.type == "thinking":
            opened.pieces.append(_string(getattr(block, "thinking", "") or ""))
            opened.signature = _string(getattr(block, "signature", "") or "")
        elif opened.type == "redacted_thinking":
            opened.redacted = _string(getattr(block, "data", ""))
        elif opened.type == "tool_use":
            opened.name = _string(getattr(block, "name", ""))
            opened.id = self._call_id(_string(getattr(block, "id", "")))
        self._open[index] = opened

    def _call_id(self, given: str) -> str:
        """What the call goes by: an approval, a result or a sub-agent of another call must not become its own."""
        if not given or given in self._call_ids:
            raise MalformedStreamError("a tool call has no identifier of its own")
        own = given
        while own in self._taken or own in self._call_ids.values():
            own = f"{own}_t{self._turn}"
        self._call_ids[given] = own
        return own

    def _delta(self, event: object) -> TextPiece | ThoughtPiece | None:
        opened = self._open.get(self._index(event))
        if opened is None:
            raise MalformedStreamError("a piece came for a block that is not open")
        delta = getattr(event, "delta", None)
        kind = getattr(delta, "type", None)
        if kind == "text_delta" and opened.type == "text":
            text = _string(getattr(delta, "text", None))
            opened.pieces.append(text)
            return TextPiece(text)
        if kind == "input_json_delta" and opened.type == "tool_use":
            opened.pieces.append(_string(getattr(delta, "partial_json", None)))
        elif kind == "thinking_delta" and opened.type == "thinking":
            text = _string(getattr(delta, "thinking", None))
            opened.pieces.append(text)
            return ThoughtPiece(text)
        elif kind == "signature_delta" and opened.type == "thinking":
            opened.signature = _string(getattr(delta, "signature", None))
        elif kind in _PIECES:
            raise MalformedStreamError("a piece does not fit its block")
        return None

    def _end(self, event: object) -> Block | None:
        opened = self._open.pop(self._index(event), None)
        if opened is None:
            raise MalformedStreamError("a block ended that is not open")
        block = opened.close()
        if block is not None:
            self.blocks.append(block)
        return block

    def _closing(self, event: object) -> None:
        reason = getattr(getattr(event, "delta", None), "stop_reason", None)
        if reason is not None:
            self.stop_reason = _string(reason)
        self._add_usage(getattr(event, "usage", None))

    def _add_usage(self, usage: object) -> None:
        """Counts are totals so far: a later one replaces an earlier one."""
        dump = getattr(usage, "to_dict", None)
        values = dump() if callable(dump) else usage
        if isinstance(values, Mapping):
            self.raw_usage.update((key, value) for key, value in _counts(values))

    def _count(self, name: str) -> int:
        value = self.raw_usage.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0

    def _index(self, event: object) -> int:
        index = getattr(event, "index", None)
        if not isinstance(index, int):
            raise MalformedStreamError("a block has no number")
        return index


_PIECES = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta"})


def _counts(values: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(key, str) and value is not None:
            yield key, value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedStreamError("a text is missing")
    return value
