"""The conversation as the Messages API takes it: history in, request bodies out.

A request begins as the one before it did, so that the server's cache serves that part again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentpane.orchestrator.backends.base import ToolCall
from agentpane.orchestrator.backends.messages_api.accumulator import Block, Text, Thought
from agentpane.orchestrator.tools import Tool, ToolResult

CACHE: Mapping[str, str] = {"type": "ephemeral"}
NO_OUTPUT = "(no output)"  # the API refuses an empty error result

ApiBlock = dict[str, object]


class Conversation:
    """Messages so far; neighbours of the same role are one message."""

    def __init__(self, history: Iterable[Mapping[str, object]]) -> None:
        self._messages: list[tuple[str, list[ApiBlock]]] = []
        for message in history:
            self._add(str(message["role"]), _blocks(message["content"]))

    @property
    def open_calls(self) -> list[ToolCall]:
        """The tool calls of the last message, when it is the assistant's."""
        role, blocks = self._messages[-1] if self._messages else ("user", [])
        if role != "assistant":
            return []
        return [
            ToolCall(str(block["id"]), str(block["name"]), _object(block["input"]))
            for block in blocks
            if block["type"] == "tool_use"
        ]

    @property
    def ends_with_answer(self) -> bool:
        return bool(self._messages) and self._messages[-1][0] == "assistant"

    def files_seen(self) -> tuple[str, ...]:
        """The files that calls of this conversation have named, without those whose call failed."""
        named: dict[str, str] = {}
        for _, blocks in self._messages:
            for block in blocks:
                if block["type"] == "tool_use" and "file_path" in _object(block["input"]):
                    named[str(block["id"])] = str(_object(block["input"])["file_path"])
                elif block["type"] == "tool_result" and block.get("is_error"):
                    named.pop(str(block["tool_use_id"]), None)
        return tuple(dict.fromkeys(named.values()))

    def say(self, text: str) -> None:
        self._add("user", [{"type": "text", "text": text}])

    def add_results(self, results: Iterable[Mapping[str, object]]) -> None:
        self._add("user", [dict(result) for result in results])

    def add_answer(self, blocks: Sequence[Block], calls: Mapping[str, ToolCall]) -> None:
        """Take over an answer. calls: its calls, parsed, by id."""
        self._add("assistant", [_api_block(block, calls) for block in blocks])

    def messages(self) -> list[dict[str, object]]:
        """For a request; the last block of the last message closes the cached prefix."""
        messages: list[dict[str, object]] = [{"role": role, "content": blocks} for role, blocks in self._messages]
        role, blocks = self._messages[-1]
        if role == "user":
            messages[-1] = {"role": role, "content": [*blocks[:-1], {**blocks[-1], "cache_control": CACHE}]}
        return messages

    def _add(self, role: str, blocks: list[ApiBlock]) -> None:
        if not blocks:
            return
        if self._messages and self._messages[-1][0] == role:
            self._messages[-1][1].extend(blocks)
        else:
            self._messages.append((role, blocks))


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
    block: dict[str, object] = {"type": "tool_result", "tool_use_id": call.id, "content": result.content or NO_OUTPUT}
    return block | {"is_error": True} if result.is_error else block


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
    return [dict(block) for block in content]


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
