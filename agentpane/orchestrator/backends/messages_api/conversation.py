"""The conversation as the Messages API takes it: history in, request bodies out.

A request begins as the one before it did, so that the server's cache serves that part again. What a resumed run
reads back from the session is written exactly as it was the first time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from agentpane.domain.compaction import Message, compacted, cut_results, shortened
from agentpane.domain.results import result_content
from agentpane.orchestrator.backends.base import ToolCall
from agentpane.orchestrator.backends.messages_api.accumulator import Block, Text, Thought
from agentpane.orchestrator.tools import Tool, ToolResult

CACHE: Mapping[str, str] = {"type": "ephemeral"}
CACHED_MESSAGES = 2  # with the system's words and the tools four marks, which is as many as the API takes
IMAGE_SIZE = 6_000
NO_OUTPUT = "(no output)"  # the API refuses an empty error result

ApiBlock = dict[str, object]


@dataclass(frozen=True, slots=True)
class Size:
    """Characters of an answer and what it was told next, as they are and as a compaction would keep them."""

    turn: int
    whole: int
    kept: int


class Conversation:
    """Messages so far. turns: for each message of the history the turn that it answered in."""

    def __init__(self, history: Iterable[Mapping[str, object]], turns: Iterable[int] = ()) -> None:
        self._messages: list[Message] = []
        for message, turn in zip_longest(history, turns, fillvalue=0):
            assert isinstance(message, Mapping) and isinstance(turn, int)
            self._add(str(message["role"]), _blocks(message["content"]), turn)

    @property
    def open_calls(self) -> list[ToolCall]:
        """The tool calls of the last message, when it is the assistant's."""
        if not self.ends_with_answer:
            return []
        return [
            ToolCall(str(block["id"]), str(block["name"]), _object(block["input"]))
            for block in self._messages[-1].blocks
            if block["type"] == "tool_use"
        ]

    @property
    def ends_with_answer(self) -> bool:
        return bool(self._messages) and self._messages[-1].role == "assistant"

    def say(self, text: str) -> None:
        self._add("user", [{"type": "text", "text": text}])

    def add_results(self, results: Iterable[Mapping[str, object]]) -> None:
        self._add("user", [_as_sent(result) for result in results])

    def add_answer(self, turn: int, blocks: Sequence[Block], calls: Mapping[str, ToolCall]) -> None:
        """Take over an answer. calls: its calls, parsed, by id."""
        self._add("assistant", [_api_block(block, calls) for block in blocks], turn)

    def answers(self) -> list[Size]:
        """Each answer with what it was told next, oldest first."""
        sizes: list[Size] = []
        for message in self._messages:
            size, kept = _size(message.blocks), _size(cut_results(message.blocks))
            if message.role == "assistant":
                sizes.append(Size(message.turn, size, kept))
            elif sizes:
                last = sizes[-1]
                sizes[-1] = Size(last.turn, last.whole + size, last.kept + kept)
        return sizes

    def size(self) -> int:
        """Its characters, as a request has them."""
        return sum(_size(message.blocks) for message in self._messages)

    def newest_size(self) -> int:
        """Characters of what the model is told next: no request has held them yet."""
        return 0 if self.ends_with_answer or not self._messages else _size(self._messages[-1].blocks)

    def followed_by(self, words: str, limit: int | None = None) -> list[dict[str, object]]:
        """For a request beside the conversation: the messages, and these words. limit: see `shortened`."""
        side = Conversation(())
        side._messages = list(self._messages) if limit is None else shortened(self._messages, limit)
        messages = side.messages()
        asked: ApiBlock = {"type": "text", "text": words}
        if messages and messages[-1]["role"] == "user":
            content = messages[-1]["content"]
            assert isinstance(content, list)
            content.append(asked)
            return messages
        return [*messages, {"role": "user", "content": [asked]}]

    def compact(self, summary: str, kept_from: int) -> None:
        """Put a summary in the place of everything before the turn `kept_from`."""
        self._messages = compacted(self._messages, summary, kept_from)

    def messages(self) -> list[dict[str, object]]:
        """For a request: neighbours of the same role are one message, and the newest two of ours are marked.

        The last mark is where this request is kept for the next one; the one before it finds what the previous
        request left, however many blocks came since.
        """
        merged: list[tuple[str, list[ApiBlock]]] = []
        for message in self._messages:
            if merged and merged[-1][0] == message.role:
                merged[-1][1].extend(message.blocks)
            else:
                merged.append((message.role, list(message.blocks)))
        for blocks in [blocks for role, blocks in merged if role == "user"][-CACHED_MESSAGES:]:
            blocks[-1] = {**blocks[-1], "cache_control": CACHE}
        return [{"role": role, "content": blocks} for role, blocks in merged]

    def _add(self, role: str, blocks: list[ApiBlock], turn: int = 0) -> None:
        if not blocks:
            return
        if role == "user" and self._messages and self._messages[-1].role == role:
            self._messages[-1].blocks.extend(blocks)
        else:
            self._messages.append(Message(role, blocks, turn))


def system_blocks(text: str) -> list[dict[str, object]]:
    return [{"type": "text", "text": text, "cache_control": CACHE}] if text.strip() else []


def tool_definitions(tools: Iterable[Tool]) -> list[dict[str, object]]:
    """The tools as a request names them; the last one closes the cached prefix."""
    definitions: list[dict[str, object]] = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema} for tool in tools
    ]
    if definitions:
        definitions[-1] |= {"cache_control": CACHE}
    return definitions


def result_block(call: ToolCall, result: ToolResult) -> dict[str, object]:
    images = [{"media_type": image.media_type, "data": image.data} for image in result.images]
    content: object = result_content(result.content, images) or NO_OUTPUT
    block: dict[str, object] = {"type": "tool_result", "tool_use_id": call.id, "content": content}
    return block | {"is_error": True} if result.is_error else block


def _as_sent(result: Mapping[str, object]) -> ApiBlock:
    """A result as `result_block` makes it, whoever made it."""
    block = {**result, "content": result.get("content") or NO_OUTPUT}
    if not block.get("is_error"):
        block.pop("is_error", None)
    return block


def _api_block(block: Block, calls: Mapping[str, ToolCall]) -> ApiBlock:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Thought(redacted=None):
            return {"type": "thinking", "thinking": block.text, "signature": block.signature}
        case Thought():
            return {"type": "redacted_thinking", "data": block.redacted}
        case _:
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": dict(calls[block.id].input)}


def _blocks(content: object) -> list[ApiBlock]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    assert isinstance(content, list | tuple)
    return [_as_sent(block) if block["type"] == "tool_result" else dict(block) for block in content]


def _size(value: object) -> int:
    """Roughly as many characters as it has in JSON. A picture counts for what it takes of the model's window."""
    if isinstance(value, Mapping):
        if value.get("type") == "image":
            return IMAGE_SIZE
        return sum(len(str(key)) + 4 + _size(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return len(value) if isinstance(value, str) else len(json.dumps(value))


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
