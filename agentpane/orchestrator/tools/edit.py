"""Edit: one exact piece of a file for another. What is not replaced keeps every byte."""

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
from agentpane.orchestrator.tools.text import TextFile, decoded, line_counts, numbered
from agentpane.orchestrator.tools.write import current, must_be_known

AROUND = 3  # lines shown before and after what was replaced
SHOWN_LINES = 60


class EditInput(ToolInput):
    file_path: str = Field(description="The file, absolute or relative to the worktree.")
    old_string: str = Field(description="The text to replace, exactly as it is in the file.")
    new_string: str = Field(description="The text to put in its place.")
    replace_all: bool = Field(False, description="Replace every occurrence; otherwise there must be exactly one.")


class EditTool:
    name = "Edit"
    description = (
        "Replaces a piece of text in a file of the worktree. The file must have been read before in this run. "
        "old_string must match exactly, indentation included and without the line numbers that Read shows, and must "
        "occur once unless replace_all is set."
    )
    input_schema: dict[str, Any] = schema_of(EditInput)
    mutates = True

    async def run(self, input: Mapping[str, object], context: ToolContext, on_output: OnOutput) -> ToolResult:
        """See Tool.run."""
        try:
            return await asyncio.to_thread(_edit, parsed(EditInput, input), context)
        except Refusal as refusal:
            return refused(refusal)

    def describe(self, input: Mapping[str, object]) -> str:
        return one_line(input, "file_path")


def _edit(wanted: EditInput, context: ToolContext) -> ToolResult:
    parts = files.components(context.worktree, wanted.file_path)
    files.check_writable(parts)
    path, key = files.shown(parts), "/".join(parts)
    _check_strings(wanted)
    with files.opened(context.worktree) as root:
        before = current(root, parts)
        if before is None:
            raise Refusal(f"There is no file {path}. Use Write to make one.")
        must_be_known(context, key, path, before)
        file = decoded(before.data, path)
        text, count, place = _replaced(file, wanted, path)
        data = file.encoded(text)
        files.replace(root, parts, data, before)
    context.memory.note(key, data)
    added, removed = line_counts(file.text, text)
    times = "1 place" if count == 1 else f"{count} places"
    content = f"Replaced {times} in {path}:\n{_around(text, place, wanted.new_string)}"
    data_out: dict[str, JsonValue] = {"path": path, "replacements": count, "added": added, "removed": removed}
    return ToolResult(content, False, f"{path} (+{added} −{removed})", data_out)


def _check_strings(wanted: EditInput) -> None:
    if not wanted.old_string:
        raise Refusal("`old_string` is empty. Give the text to replace, or use Write for a whole file.")
    if wanted.old_string == wanted.new_string:
        raise Refusal("`old_string` and `new_string` are the same; there is nothing to change.")


def _replaced(file: TextFile, wanted: EditInput, path: str) -> tuple[str, int, int]:
    """The new text, how many places were replaced, and where the first is."""
    old, new = wanted.old_string, wanted.new_string
    if file.only_crlf or ("\r\n" in file.text and old not in file.text):
        old, new = _crlf(old), _crlf(new)
    count = file.text.count(old)
    if count == 0:
        raise Refusal(
            f"`old_string` does not occur in {path}. It must match exactly, indentation included. Nothing was changed."
        )
    if count > 1 and not wanted.replace_all:
        raise Refusal(
            f"`old_string` occurs {count} times in {path}. Give more of the text around it, or set replace_all. "
            "Nothing was changed."
        )
    return file.text.replace(old, new), count, file.text.index(old)


def _crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _around(text: str, place: int, new: str) -> str:
    """The first replaced piece with some lines around it."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    line = text.count("\n", 0, place)
    first, last = max(line - AROUND, 0), line + new.count("\n") + AROUND + 1
    return numbered([one[: SHOWN_LINES * 10] for one in lines[first : min(last, first + SHOWN_LINES)]], first + 1)
