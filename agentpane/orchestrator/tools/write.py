"""Write: a whole file. Over an existing one only when the agent has seen what it replaces."""

from __future__ import annotations

from pydantic import Field

from agentpane.domain.json import JsonValue
from agentpane.orchestrator.tools.base import Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.shape import ModelTool, in_a_thread
from agentpane.orchestrator.tools.text import decoded, encoded_new, line_counts
from agentpane.orchestrator.tree import files


class WriteInput(ToolInput):
    file_path: str = Field(description="The file, absolute or relative to the worktree.")
    content: str = Field(description="The whole new content of the file.")


def _write(wanted: WriteInput, context: ToolContext) -> ToolResult:
    parts = files.components(context.worktree, wanted.file_path)
    files.check_writable(parts)
    path, key = files.shown(parts), "/".join(parts)
    data = encoded_new(wanted.content)
    with files.opened(context.worktree) as root:
        before = current(root, parts)
        if before is not None:
            must_be_known(context, key, path, before)
        files.replace(root, parts, data, before)
    added, removed = line_counts(_text(before, path), wanted.content)
    verb = "Wrote" if before is not None else "Created"
    lines = wanted.content.count("\n") + (not wanted.content.endswith("\n") and wanted.content != "")
    counts: dict[str, JsonValue] = {"path": path, "created": before is None, "added": added, "removed": removed}
    counts |= context.memory.note(key, data)
    return ToolResult(f"{verb} {path} ({lines} lines).", False, f"{verb} {path} (+{added} −{removed})", counts)


def current(root: int, parts: tuple[str, ...]) -> files.FileContent | None:
    """What is there now; None for nothing. A link counts as something that cannot be written."""
    try:
        return files.read(root, parts, links=False)
    except FileNotFoundError:
        return None


def must_be_known(context: ToolContext, key: str, path: str, before: files.FileContent) -> None:
    if not context.memory.knows(key):
        raise Refusal(f"{path} exists and has not been read in this run. Read it first; nothing was written.")
    if not context.memory.is_current(key, before.data):
        raise Refusal(f"{path} has changed since it was read. Read it again; nothing was written.")


def _text(before: files.FileContent | None, path: str) -> str:
    if before is None:
        return ""
    try:
        return decoded(before.data, path).text
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
