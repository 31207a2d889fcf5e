"""Read: a part of a text file with line numbers, a picture, a notebook as text, or an output that was cut."""

from __future__ import annotations

from pydantic import Field

from agentpane.domain.json import JsonValue
from agentpane.orchestrator.tools import notebooks, outputs, pictures
from agentpane.orchestrator.tools.base import Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.shape import ModelTool, in_a_thread
from agentpane.orchestrator.tools.text import decoded, numbered
from agentpane.orchestrator.tree import files

MAX_LINES = 2000
MAX_LINE = 2000  # characters
MAX_CONTENT = 256 * 1024  # characters
NOTEBOOK = ".ipynb"


class ReadInput(ToolInput):
    file_path: str = Field(description="The file, absolute or relative to the worktree.")
    offset: int = Field(1, ge=0, description="The first line to read, counted from 1.")
    limit: int = Field(MAX_LINES, ge=1, description="How many lines to read, 2000 at most.")


def _read(wanted: ReadInput, context: ToolContext) -> ToolResult:
    if wanted.file_path.startswith(outputs.SCHEME):
        output = outputs.kept(wanted.file_path, context.outputs).decode("utf-8", "replace")
        return _lines_of(output, wanted, wanted.file_path, {})
    parts = files.components(context.worktree, wanted.file_path)
    path = files.shown(parts)
    with files.opened(context.worktree) as root:
        try:
            content = files.read(root, parts)
        except FileNotFoundError:
            raise Refusal(f"There is no file {path}.") from None
    picture = pictures.picture_of(content.data)
    if picture is not None:
        return _picture(content.data, picture, path)
    text = decoded(content.data, path).text
    if path.lower().endswith(NOTEBOOK):
        text = notebooks.as_text(text, path)
    return _lines_of(text, wanted, path, context.memory.note("/".join(parts), content.data))


def _picture(data: bytes, picture: pictures.Picture, path: str) -> ToolResult:
    image = pictures.shown(data, picture, path)
    size = f"{picture.width} × {picture.height} pixels, {picture.media_type}"
    counts: dict[str, JsonValue] = {"path": path, "width": picture.width, "height": picture.height}
    return ToolResult(f"{path}: {size}", False, f"{path}, {size}", counts, images=(image,))


def _lines_of(text: str, wanted: ReadInput, path: str, seen: dict[str, JsonValue]) -> ToolResult:
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    first = max(wanted.offset, 1)
    if not lines:
        return ToolResult("(the file is empty)", False, f"{path} is empty", {"path": path, "lines": 0, **seen})
    if first > len(lines):
        raise Refusal(f"{path} has {len(lines)} lines; there is no line {first}.")
    picked, note = _cut(lines, first, min(wanted.limit, MAX_LINES))
    last = first + len(picked) - 1
    summary = f"{path}, {len(picked)} lines" if len(picked) == len(lines) else f"{path}, lines {first} to {last}"
    data: dict[str, JsonValue] = {"path": path, "first_line": first, "lines": len(picked), "total_lines": len(lines)}
    return ToolResult(numbered(picked, first) + note, False, summary, data | seen)


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


READ = ModelTool(
    name="Read",
    description=(
        "Reads a file of the worktree. Text comes with line numbers and a tab before each line; at most 2000 lines are "
        "given at once, use offset and limit for the rest. PNG, JPEG, GIF and WebP pictures are shown, notebooks come "
        "as text. An output:// name in a cut result is read the same way. A file must be read before it is changed."
    ),
    model=ReadInput,
    work=in_a_thread(_read),
    target=("file_path",),
)
