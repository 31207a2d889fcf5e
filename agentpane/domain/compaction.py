"""What a conversation becomes when a summary takes the place of its older part.

One rule for the running conversation and for the one that is rebuilt from its session, so that both are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SUMMARY_HEAD = "What was said and done so far has been cut to make room. This is your own summary of it:\n\n"
RESULT_LIMIT = 20_000  # characters of a tool result that outlives a compaction

Block = dict[str, object]  # a content block of the Messages API


@dataclass(slots=True)
class Message:
    """turn: of an answer; 0 for what the model was told, and where it is not known."""

    role: str
    blocks: list[Block]
    turn: int = 0


def compacted(messages: Sequence[Message], summary: str, kept_from: int) -> list[Message]:
    """The task's own words, the summary, the words that came right before what is kept, and the kept turns.

    A turn is kept from its answer on, with the results of its calls, so that no call is parted from its result.
    """
    first = next((at for at, one in enumerate(messages) if one.role == "assistant" and one.turn >= kept_from), None)
    first = len(messages) if first is None else first
    task, later = _opening(messages)
    before = messages[first - 1] if first > 1 else None
    words = later if before is None else _words(before)
    head = Message("user", [*task, {"type": "text", "text": SUMMARY_HEAD + summary}, *words])
    return [head, *(Message(one.role, cut_results(one.blocks), one.turn) for one in messages[first:])]


def cut_results(blocks: Iterable[Mapping[str, object]], limit: int = RESULT_LIMIT) -> list[Block]:
    """The blocks with their long tool results cut in the middle."""
    return [
        {**block, "content": _cut_content(block["content"], limit)} if block["type"] == "tool_result" else dict(block)
        for block in blocks
    ]


def cut_text(text: str, limit: int) -> str:
    """Its beginning and its end, with a word about what is missing; the same for the same text."""
    if len(text) <= limit:
        return text
    half = limit // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[{left_out:,} characters left out here]\n{text[-half:]}"


def shortened(messages: Iterable[Message], limit: int) -> list[Message]:
    """The conversation with its long texts cut and its thoughts left out, for a model that it is too long for."""
    return [
        Message(one.role, [_shortened(block, limit) for block in one.blocks if not _is_thought(block)], one.turn)
        for one in messages
        if not all(_is_thought(block) for block in one.blocks)
    ]


def _is_thought(block: Block) -> bool:
    return block["type"] in {"thinking", "redacted_thinking"}


def _shortened(block: Block, limit: int) -> Block:
    match block["type"]:
        case "tool_result":
            return cut_results([block], limit)[0]
        case "text":
            return {**block, "text": cut_text(str(block["text"]), limit)}
        case "tool_use":
            given = block["input"]
            assert isinstance(given, Mapping)
            short = {key: cut_text(one, limit) if isinstance(one, str) else one for key, one in given.items()}
            return {**block, "input": short}
        case _:
            return block


def _cut_content(content: object, limit: int) -> object:
    if isinstance(content, str):
        return cut_text(content, limit)
    if isinstance(content, list | tuple):
        return [_cut_part(part, limit) for part in content]
    return content


def _cut_part(part: object, limit: int) -> object:
    if isinstance(part, Mapping) and part.get("type") == "text":
        return {**part, "text": cut_text(str(part["text"]), limit)}
    return part


def _opening(messages: Sequence[Message]) -> tuple[list[Block], list[Block]]:
    """The task's own words, and what follows the summary of an earlier compaction in the same message."""
    if not messages or messages[0].role != "user":
        return [], []
    blocks = messages[0].blocks
    for at, block in enumerate(blocks):
        if block["type"] == "text" and str(block["text"]).startswith(SUMMARY_HEAD):
            return blocks[:at], blocks[at + 1 :]
    return blocks, []


def _words(message: Message) -> list[Block]:
    return [block for block in message.blocks if block["type"] == "text"] if message.role == "user" else []
