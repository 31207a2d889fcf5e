"""Recorded turns, and whether a conversation is the recorded one so far.

A recording is a list of turns; a turn holds the answer's text and calls and, for each call in order, the result that
the tools gave. Results are compared apart from what legitimately differs between machines: where the worktree is, how
long a test run took, and how a Python version underlines an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Message = Mapping[str, Any]  # as the Messages API has it


@dataclass(frozen=True, slots=True)
class RecordedCall:
    name: str
    input: Mapping[str, object]
    content: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """text may be empty. after_person: this turn answers something that the person said, such as a rejection."""

    text: str
    calls: tuple[RecordedCall, ...]
    after_person: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """damage: what is wrong with the turn after the last of `turns`, in a file that is not whole."""

    key: str
    title: str
    turns: tuple[RecordedTurn, ...]
    damage: str | None = None


class DiffersError(Exception):
    """The conversation is not the recorded one, or the recording is not whole."""


def load(path: Path, key: str, title: str) -> Recording:
    """Read a recording, as far as its file is whole. One that is damaged stops no other. Blocks."""
    turns: list[RecordedTurn] = []
    damage = None
    try:
        for turn in json.loads(path.read_bytes())["turns"]:
            turns.append(_turn(turn))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        damage = f"{path.name}, turn {len(turns) + 1}: {type(error).__name__}: {error}"
    return Recording(key, title, tuple(turns), damage)


def find(recordings: Sequence[Recording], messages: Sequence[Message]) -> Recording:
    """The recording of the card whose title is the first line of the conversation. Raises DiffersError."""
    first = "\n".join(texts(messages[0])) if messages else ""
    line = first.strip().partition("\n")[0].strip()
    for recording in recordings:
        if recording.title == line:
            return recording
    raise DiffersError(
        f"There is no recording for “{line[:200]}”: only the sample project's own cards are recorded. "
        "Add a key in the settings to work on others."
    )


def next_turn(recording: Recording, messages: Sequence[Message], folders: Sequence[str]) -> RecordedTurn | None:
    """The turn that follows these messages; None when the recording is at its end.

    folders: the worktrees that results may name. Raises DiffersError, naming the first call that differs or the damage.
    """
    number = 0
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if number < len(recording.turns):
            following = messages[at + 1] if at + 1 < len(messages) else {"role": "user", "content": []}
            _check_turn(number + 1, recording.turns[number], message, following, folders)
        number += 1
    if number >= len(recording.turns):
        if recording.damage is not None:
            raise DiffersError(f"The recording is damaged ({recording.damage}). Install AgentPane again.")
        return None
    turn = recording.turns[number]
    return None if turn.after_person and not texts(messages[-1]) else turn


def texts(message: Message) -> list[str]:
    content = message["content"]
    if isinstance(content, str):
        return [content]
    return [str(block["text"]) for block in content if block["type"] == "text"]


def normal(text: str, folders: Sequence[str] = ()) -> str:
    """`text` without what may differ between machines, and between versions of Python."""
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder.rstrip("/") + "/", "").replace(folder, ".")
    text = re.sub(r"\bin \d+\.\d+ ?s\b", "in 0.000s", text)
    text = re.sub(r"\((tests(?:\.\w+){2})\.\w+\)", r"(\1)", text)  # before 3.11 a failure is named without its method
    lines = [line.rstrip() for line in text.splitlines() if not re.fullmatch(r"\s*[~^]+\s*", line)]
    return "\n".join(lines).strip()


def _turn(told: Any) -> RecordedTurn:
    """Raises LookupError, TypeError or AttributeError for what is no turn."""
    calls = tuple(
        RecordedCall(call["name"], dict(call["input"]), call["result"]["content"], call["result"]["is_error"])
        for call in told.get("calls", ())
    )
    return RecordedTurn(told.get("text", ""), calls, told.get("after_person", False))


def _check_turn(number: int, turn: RecordedTurn, answer: Message, following: Message, folders: Sequence[str]) -> None:
    content = answer["content"]
    used = [] if isinstance(content, str) else [block for block in content if block["type"] == "tool_use"]
    blocks = following["content"] if not isinstance(following["content"], str) else []
    results = {block["tool_use_id"]: block for block in blocks if block["type"] == "tool_result"}
    if len(used) != len(turn.calls):
        raise DiffersError(f"Turn {number} has {len(used)} tool calls, the recording {len(turn.calls)}.")
    for use, call in zip(used, turn.calls, strict=True):
        which = f"turn {number}, {call.name} {json.dumps(call.input, ensure_ascii=False)[:200]}"
        if use["name"] != call.name or use["input"] != call.input:
            raise DiffersError(f"A call differs from the recording: {which}.")
        result = results.get(use["id"])
        if result is None:
            raise DiffersError(f"A call has no result: {which}.")
        _check_result(which, call, result, folders)


def _check_result(which: str, call: RecordedCall, result: Message, folders: Sequence[str]) -> None:
    content = result.get("content", "")
    got = normal(content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content), folders)
    want = normal(call.content)
    if got == want and bool(result.get("is_error")) == call.is_error:
        return
    raise DiffersError(
        f"A result differs from the recording, so it goes no further: {which}. "
        f"Recorded: {_glimpse(want, got)!r}, now: {_glimpse(got, want)!r}."
    )


def _glimpse(text: str, other: str) -> str:
    """The first line of `text` that `other` does not have in the same place."""
    lines, others = text.splitlines(), other.splitlines()
    for at, line in enumerate(lines):
        if at >= len(others) or others[at] != line:
            return line[:120]
    return "(nothing more)" if len(lines) < len(others) else "(the same text)"
