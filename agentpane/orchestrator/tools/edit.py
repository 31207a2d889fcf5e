"""Edit and MultiEdit: exact pieces of a file for others. What is not replaced keeps every byte.

Several edits are made one after the other, each on what the one before has left, and written once: all or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from agentpane.domain.json import JsonValue
from agentpane.orchestrator.tools.base import Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.changing import changing
from agentpane.orchestrator.tools.shape import ModelTool, in_a_thread
from agentpane.orchestrator.tools.text import TextFile, decoded, line_counts, numbered

AROUND = 3  # lines shown before and after what was replaced
SHOWN_LINES = 60
MOST_EDITS = 200

FILE = Field(description="The file, absolute or relative to the worktree.")


class Piece(BaseModel):
    """One replacement."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    old_string: str = Field(description="The text to replace, exactly as it is in the file.")
    new_string: str = Field(description="The text to put in its place.")
    replace_all: bool = Field(False, description="Replace every occurrence; otherwise there must be exactly one.")


class EditInput(Piece, ToolInput):
    file_path: str = FILE


class MultiEditInput(ToolInput):
    file_path: str = FILE
    edits: list[Piece] = Field(
        min_length=1, max_length=MOST_EDITS, description="Replacements, made in this order; all of them or none."
    )


@dataclass(frozen=True, slots=True)
class Replaced:
    """A text with a piece replaced: in how many places, and where the first is."""

    text: str
    count: int
    place: int


def _edit(wanted: EditInput, context: ToolContext) -> ToolResult:
    path, steps, data = _changed(wanted.file_path, [wanted], context)
    only = steps[0]
    content = f"Replaced {_places(only.count)} in {path}:\n{_around(only.text, only.place, wanted.new_string)}"
    return _result(path, content, only.count, data)


def _multi_edit(wanted: MultiEditInput, context: ToolContext) -> ToolResult:
    path, steps, data = _changed(wanted.file_path, wanted.edits, context)
    lines = [f"Made {len(steps)} edits in {path}:"]
    for number, (step, piece) in enumerate(zip(steps, wanted.edits, strict=True), 1):
        lines.append(f"Edit {number}, {_places(step.count)}:\n{_around(step.text, step.place, piece.new_string)}")
    return _result(path, "\n".join(lines), sum(step.count for step in steps), data)


def _changed(
    file_path: str, pieces: Sequence[Piece], context: ToolContext
) -> tuple[str, list[Replaced], dict[str, JsonValue]]:
    """Make the edits and write the file. Returns its path as shown, each step, and what the data says."""
    with changing(context, file_path) as changed:
        path = changed.path
        if changed.before is None:
            raise Refusal(f"There is no file {path}. Use Write to make one.")
        file = decoded(changed.before.data, path)
        steps = _steps(file, pieces, path)
        text = steps[-1].text
        seen = changed.replace(file.encoded(text))
    added, removed = line_counts(file.text, text)
    return path, steps, {"added": added, "removed": removed, **seen}


def _steps(file: TextFile, pieces: Sequence[Piece], path: str) -> list[Replaced]:
    steps: list[Replaced] = []
    for number, piece in enumerate(pieces, 1):
        which = f" of edit {number}" if len(pieces) > 1 else ""
        text = steps[-1].text if steps else file.text
        steps.append(_replaced(text, piece, path, which))
    if steps[-1].text == file.text:
        raise Refusal("The edits take each other back; there is nothing to change.")
    return steps


def _replaced(text: str, wanted: Piece, path: str, which: str) -> Replaced:
    old, new = wanted.old_string, wanted.new_string
    if not old:
        raise Refusal(f"`old_string`{which} is empty. Give the text to replace, or use Write for a whole file.")
    if old == new:
        raise Refusal(f"`old_string` and `new_string`{which} are the same; there is nothing to change.")
    crlf = text.count("\r\n")
    if crlf and (crlf == text.count("\n") or old not in text):
        old, new = _crlf(old), _crlf(new)
    count = text.count(old)
    if count == 0:
        raise Refusal(
            f"`old_string`{which} does not occur in {path}. It must match exactly, indentation included. "
            "Nothing was changed."
        )
    if count > 1 and not wanted.replace_all:
        raise Refusal(
            f"`old_string`{which} occurs {count} times in {path}. Give more of the text around it, or set "
            "replace_all. Nothing was changed."
        )
    return Replaced(text.replace(old, new), count, text.index(old))


def _result(path: str, content: str, count: int, data: dict[str, JsonValue]) -> ToolResult:
    summary = f"{path} (+{data['added']} −{data['removed']})"
    return ToolResult(content, False, summary, {"path": path, "replacements": count, **data})


def _places(count: int) -> str:
    return "1 place" if count == 1 else f"{count} places"


def _crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _around(text: str, place: int, new: str) -> str:
    """The first replaced piece with some lines around it."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    line = text.count("\n", 0, place)
    first, last = max(line - AROUND, 0), line + new.count("\n") + AROUND + 1
    return numbered([one[: SHOWN_LINES * 10] for one in lines[first : min(last, first + SHOWN_LINES)]], first + 1)


EDIT = ModelTool(
    name="Edit",
    description=(
        "Replaces a piece of text in a file of the worktree. The file must have been read before in this run. "
        "old_string must match exactly, indentation included and without the line numbers that Read shows, and must "
        "occur once unless replace_all is set."
    ),
    model=EditInput,
    work=in_a_thread(_edit),
    target=("file_path",),
    mutates=True,
)
MULTI_EDIT = ModelTool(
    name="MultiEdit",
    description=(
        "Makes several edits of one file at once, each as Edit makes it and on what the one before has left. If one of "
        "them cannot be made, none is."
    ),
    model=MultiEditInput,
    work=in_a_thread(_multi_edit),
    target=("file_path",),
    mutates=True,
)
