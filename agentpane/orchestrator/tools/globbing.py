"""Glob: the paths of files that match a pattern."""

from __future__ import annotations

import asyncio
import os
import re

from pydantic import Field

from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools.base import OnOutput, Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.outputs import keep, rest
from agentpane.orchestrator.tools.ripgrep import FAILED, as_parts, ripgrep
from agentpane.orchestrator.tools.shape import ModelTool
from agentpane.orchestrator.tree import files
from agentpane.orchestrator.tree.globs import path_pattern
from agentpane.orchestrator.tree.walking import Parts, Scope, in_order, scope_of, walk

MAX_PATHS = 1000


class GlobInput(ToolInput):
    pattern: str = Field(min_length=1, description="Such as `**/*.py` or `src/**/*.{ts,tsx}`.")
    path: str = Field("", description="The folder to search; the worktree unless given.")


async def _glob(wanted: GlobInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    folder = files.components(context.worktree, wanted.path or ".")
    pattern = wanted.pattern
    if os.path.isabs(pattern):
        folder, pattern = (), "/".join(files.components(context.worktree, pattern))
    if ".." in pattern.split("/"):
        raise files.outside(wanted.pattern)
    expression = compiled_glob(pattern)
    searched = await asyncio.to_thread(scope_of, context.worktree, folder)
    paths = await list_files(context, searched)
    found = [path for path in paths if expression.fullmatch("/".join(path[len(folder) :]))]
    lines = [files.shown(path) for path in found[:MAX_PATHS]]
    if len(found) > MAX_PATHS:
        kept = await keep("\n".join(files.shown(path) for path in found), context)
        lines.append(f"[{len(found) - MAX_PATHS} more; use a narrower pattern{rest(kept)}]")
    summary = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    return ToolResult("\n".join(lines) or "No file matches.", False, summary, {"files": len(found)})


def compiled_glob(pattern: str) -> re.Pattern[str]:
    try:
        return path_pattern(pattern)
    except ValueError as error:
        raise Refusal(f"The pattern {pattern} cannot be used: {error}.", ErrorCode.VALIDATION_ERROR) from error


async def list_files(context: ToolContext, searched: Scope) -> list[Parts]:
    """Every file of the scope, in order."""
    outcome = await ripgrep(context, searched, ["--files", "--null"])
    if outcome is None or outcome.truncated or outcome.exit_code == FAILED:
        return await asyncio.to_thread(_walked, context, searched)
    printed = (as_parts(searched, path) for path in outcome.output.split(b"\0") if path)
    return in_order(path for path in printed if path is not None)


def _walked(context: ToolContext, searched: Scope) -> list[Parts]:
    with files.opened(context.worktree) as root:
        return in_order(walk(root, searched))


GLOB = ModelTool(
    name="Glob",
    description=(
        "Lists the files of the worktree whose path matches a pattern, sorted by path. `**` crosses folders; a pattern "
        "without a slash matches names at any depth. Files that git ignores and links are left out."
    ),
    model=GlobInput,
    work=_glob,
    target=("pattern",),
    where=("path",),
)
