"""Write: a whole file. Over an existing one only when the agent has seen what it replaces."""

from __future__ import annotations

from pydantic import Field

from agentpane.domain.json import JsonValue
from agentpane.orchestrator.tools.base import Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.changing import Change, changing
from agentpane.orchestrator.tools.shape import ModelTool, in_a_thread
from agentpane.orchestrator.tools.text import decoded, encoded_new, line_counts


class WriteInput(ToolInput):
    file_path: str = Field(description="The file, absolute or relative to the worktree.")
    content: str = Field(description="The whole new content of the file.")


def _write(wanted: WriteInput, context: ToolContext) -> ToolResult:
    data = encoded_new(wanted.content)
    with changing(context, wanted.file_path) as file:
        seen = file.replace(data)
    added, removed = line_counts(_text(file), wanted.content)
    made = file.before is None
    verb = "Created" if made else "Wrote"
    lines = wanted.content.count("\n") + (not wanted.content.endswith("\n") and wanted.content != "")
    counts: dict[str, JsonValue] = {"path": file.path, "created": made, "added": added, "removed": removed, **seen}
    content = f"{verb} {file.path} ({lines} lines)."
    return ToolResult(content, False, f"{verb} {file.path} (+{added} −{removed})", counts)


def _text(file: Change) -> str:
    """What was there before, as far as it was text."""
    if file.before is None:
        return ""
    try:
        return decoded(file.before.data, file.path).text
    except Refusal:
        return ""


WRITE = ModelTool(
    name="Write",
    description=(
        "Writes a whole file of the worktree, and makes the folders that it needs. A file that exists must have been "
        "read before in this run. Prefer Edit for changing a part of a file."
    ),
    model=WriteInput,
    work=in_a_thread(_write),
    target=("file_path",),
    mutates=True,
)
