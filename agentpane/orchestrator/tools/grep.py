"""Grep: the lines of files that match a regular expression."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from agentpane.domain.rules import left_out
from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools.base import OnOutput, Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.globbing import compiled_glob
from agentpane.orchestrator.tools.outputs import MAX_CONTENT, keep, rest
from agentpane.orchestrator.tools.own_process import run_apart
from agentpane.orchestrator.tools.ripgrep import FAILED, OUTPUT_LIMIT, TIMEOUT_S, as_parts, ripgrep, too_slow
from agentpane.orchestrator.tools.shape import ModelTool
from agentpane.orchestrator.tree import files
from agentpane.orchestrator.tree.searching import Request
from agentpane.orchestrator.tree.walking import Parts, Scope, in_order, scope_of
from agentpane.sandbox import Outcome

HEAD_LIMIT = 250
MAX_LINE = 500  # characters
MAX_CONTEXT = 50  # lines
SEARCHER = "agentpane.orchestrator.tree.searching"


class GrepInput(ToolInput):
    pattern: str = Field(min_length=1, description="A regular expression, as ripgrep knows them.")
    path: str = Field("", description="A file or folder to search; the worktree unless given.")
    glob: str = Field(
        "", description="Only files whose path matches, such as `*.py` or `src/**`; `!` before it negates."
    )
    output_mode: Literal["content", "files_with_matches", "count"] = Field(
        "files_with_matches", description="Matching lines, only the files' paths, or the number of lines per file."
    )
    ignore_case: bool = Field(False, alias="-i", description="Ignore case.")
    numbers: bool = Field(True, alias="-n", description="Show line numbers, with output_mode content.")
    after: int = Field(0, alias="-A", ge=0, description="Lines shown after each match.")
    before: int = Field(0, alias="-B", ge=0, description="Lines shown before each match.")
    around: int = Field(0, alias="-C", ge=0, description="Lines shown before and after each match.")
    head_limit: int = Field(HEAD_LIMIT, ge=0, description="At most so many lines or paths of output; 0 for no limit.")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that matches, or that is shown for its neighbour's sake."""

    number: int
    text: str
    matches: bool


Found = dict[Parts, list[Line]]


async def _grep(wanted: GrepInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    parts = files.components(context.worktree, wanted.path or ".")
    if "\0" in wanted.pattern or "\n" in wanted.pattern:
        raise Refusal("The pattern holds a line break or a NUL character; lines are searched one by one.")
    negated = wanted.glob.startswith("!")
    only = compiled_glob(wanted.glob.removeprefix("!")) if wanted.glob else None
    searched = await asyncio.to_thread(scope_of, context.worktree, parts)
    outcome = await _search(wanted, context, searched)
    found, complaint = _messages(outcome.output, searched)
    if outcome.exit_code == FAILED and not found and complaint:
        raise Refusal(f"The pattern cannot be used:\n{complaint}", ErrorCode.VALIDATION_ERROR)
    if only is not None:
        start = 0 if searched.is_file else len(parts)
        found = {path: one for path, one in found.items() if bool(only.fullmatch("/".join(path[start:]))) != negated}
    named = "/".join(parts)
    shown = {path: one for path, one in found.items() if not left_out(context.rules, "/".join(path), named)}
    return await _result(wanted, shown, outcome.truncated, context)


async def _search(wanted: GrepInput, context: ToolContext, searched: Scope) -> Outcome:
    before, after = (min(max(one, wanted.around), MAX_CONTEXT) for one in (wanted.before, wanted.after))
    if wanted.output_mode != "content":
        before = after = 0
    options = ["--json", "--sort=path", "--no-mmap", "--encoding=none", f"-B{before}", f"-A{after}"]
    if wanted.ignore_case:
        options.append("--ignore-case")
    outcome = await ripgrep(context, searched, [*options, f"--regexp={wanted.pattern}"])
    if outcome is not None:
        return outcome
    request = Request(
        worktree=str(context.worktree),
        base=searched.base,
        within=searched.within,
        is_file=searched.is_file,
        pattern=wanted.pattern,
        ignore_case=wanted.ignore_case,
        before=before,
        after=after,
    )
    return await _search_without_ripgrep(request, context)


async def _search_without_ripgrep(request: Request, context: ToolContext) -> Outcome:
    outcome = await run_apart(SEARCHER, request.as_json(), context, TIMEOUT_S, OUTPUT_LIMIT)
    if outcome.timed_out:
        raise too_slow()
    return outcome


def _messages(output: bytes, searched: Scope) -> tuple[Found, str]:
    """What was found, file by file, and what is no message: a complaint about the pattern.

    A file that proves to be binary is left out. Source: the grep-printer crate, "JSON".
    """
    found: Found = {}
    complaints: list[str] = []
    for raw in output.split(b"\n"):
        try:
            message = json.loads(raw)
            kind, data = message["type"], message["data"]
        except (ValueError, TypeError, KeyError):
            complaints.append(raw.decode("utf-8", "replace"))
            continue
        path = as_parts(searched, _from_data(data["path"])) if kind in ("match", "context", "end") else None
        if path is None:
            continue
        if kind == "end":
            if data["binary_offset"] is not None:
                found.pop(path, None)
        else:
            text = _from_data(data["lines"]).decode("utf-8", "replace").rstrip("\r\n")
            found.setdefault(path, []).append(Line(data["line_number"], text, kind == "match"))
    return found, "\n".join(complaints).strip()


def _from_data(data: Mapping[str, str]) -> bytes:
    return base64.b64decode(data["bytes"]) if "bytes" in data else data["text"].encode("utf-8")


async def _result(wanted: GrepInput, found: Found, cut: bool, context: ToolContext) -> ToolResult:
    ordered = [(files.shown(path), found[path]) for path in in_order(iter(found))]
    matches = sum(line.matches for _, lines in ordered for line in lines)
    if wanted.output_mode == "content":
        with_context = wanted.before or wanted.after or wanted.around
        lines = list(_content(ordered, wanted.numbers, bool(with_context)))
    elif wanted.output_mode == "count":
        lines = [f"{path}:{sum(line.matches for line in found_lines)}" for path, found_lines in ordered]
    else:
        lines = [path for path, _ in ordered]
    summary = f"{matches} line{'' if matches == 1 else 's'} in {len(ordered)} file{'' if len(ordered) == 1 else 's'}"
    picked = _limited(lines, wanted.head_limit)
    if len(picked) < len(lines) or cut:
        left = f"{len(lines) - len(picked)} more lines" if len(picked) < len(lines) else "not everything"
        kept = await keep("\n".join(lines), context) if len(picked) < len(lines) else None
        picked.append(f"[{left}; narrow the search with path or glob{rest(kept)}]")
    content = "\n".join(picked) or "Nothing matches."
    return ToolResult(content, False, summary, {"matches": matches, "files": len(ordered)})


def _content(ordered: Sequence[tuple[str, list[Line]]], numbers: bool, with_context: bool) -> Iterator[str]:
    """As grep(1) shows it: `:` after a match, `-` after a neighbour, `--` between what does not touch."""
    first = True
    for path, lines in ordered:
        last = None
        for line in lines:
            if with_context and not first and (last is None or line.number != last + 1):
                yield "--"
            mark = ":" if line.matches else "-"
            text = line.text if len(line.text) <= MAX_LINE else f"{line.text[:MAX_LINE]} [...]"
            yield f"{path}{mark}{line.number}{mark}{text}" if numbers else f"{path}{mark}{text}"
            last, first = line.number, False


def _limited(lines: list[str], limit: int) -> list[str]:
    picked: list[str] = []
    size = 0
    for line in lines[: limit or None]:
        size += len(line) + 1
        if size > MAX_CONTENT and picked:
            break
        picked.append(line)
    return picked


GREP = ModelTool(
    name="Grep",
    description=(
        "Searches the text files of the worktree for a regular expression. Files that git ignores, links, binary files "
        "and files that a rule keeps from being read are left out; a file or folder named by path is searched even if "
        "it is ignored."
    ),
    model=GrepInput,
    work=_grep,
    target=("pattern",),
    where=("path", "glob"),
)
