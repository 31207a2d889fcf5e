"""Read: a part of a text file, with line numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from agentpane.domain.json import JsonValue
from agentpane.orchestrator.tools import files
from agentpane.orchestrator.tools.base import (
    OnOutput,
    Refusal,
    ToolContext,
    ToolInput,
    ToolResult,
    one_line,
    parsed,
    refused,
    schema_of,
)
from agentpane.orchestrator.tools.text import decoded, numbered

MAX_LINES = 2000
MAX_LINE = 2000  # characters
MAX_CONTENT = 256 * 1024  # characters


class ReadInput(ToolInput):
    file_path: str = Field(description="The file, absolute or relative to the worktree.")
    offset: int = Field(1, ge=0, description="The first line to read, counted from 1.")
    limit: int = Field(MAX_LINES, ge=1, description="How many lines to read, 2000 at most.")


class ReadTool:
    name = "Read"
    description = (
        "Reads a text file of the worktree. Lines come with their number and a tab before them. At most 2000 lines are "
        "given at once; use offset and limit for the rest. A file must be read before it is edited."
    )
    input_schema: dict[str, Any] = schema_of(ReadInput)
    mutates = False

    async def run(self, input: Mapping[str, object], context: ToolContext, on_output: OnOutput) -> ToolResult:
        """See Tool.run."""
        try:
            return await asyncio.to_thread(_read, parsed(ReadInput, input), context)
        except Refusal as refusal:
            return refused(refusal)

    def describe(self, input: Mapping[str, object]) -> str:
        return one_line(input, "file_path")


def _read(wanted: ReadInput, context: ToolContext) -> ToolResult:
    parts = files.components(context.worktree, wanted.file_path)
    path = files.shown(parts)
    with files.opened(context.worktree) as root:
        try:
            content = files.read(root, parts)
        except FileNotFoundError:
            raise Refusal(f"There is no file {path}.") from None
    text = decoded(content.data, path).text
    context.memory.note("/".join(parts), content.data)
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    first = max(wanted.offset, 1)
    if not lines:
        return ToolResult("(the file is empty)", False, f"{path} is empty", {"path": path, "lines": 0})
    if first > len(lines):
        raise Refusal(f"{path} has {len(lines)} lines; there is no line {first}.")
    picked, note = _cut(lines, first, min(wanted.limit, MAX_LINES))
    last = first + len(picked) - 1
    summary = f"{path}, {len(picked)} lines" if len(picked) == len(lines) else f"{path}, lines {first} to {last}"
    data: dict[str, JsonValue] = {"path": path, "first_line": first, "lines": len(picked), "total_lines": len(lines)}
    return ToolResult(numbered(picked, first) + note, False, summary, data)


def _cut(lines: list[str], first: int, limit: int) -> tuple[list[str], str]:
    """The lines that are shown, and a note where there are more."""
    picked: list[str] = []
    size = 0
    for line in lines[first - 1 : first - 1 + limit]:
        short = line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} [... {len(line) - MAX_LINE} more characters]"
        size += len(short) + 8
        if size > MAX_CONTENT and picked:
            break
        picked.append(short)
    following = first + len(picked)
    rest = len(lines) - following + 1
    return picked, f"\n[{rest} more lines; go on with offset {following}]" if rest > 0 else ""
