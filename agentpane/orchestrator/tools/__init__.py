"""The tools that the in-process agent calls, confined to one worktree."""

from __future__ import annotations

from collections.abc import Iterable

from agentpane.orchestrator.tools.base import FileMemory, Tool, ToolContext, ToolResult
from agentpane.orchestrator.tools.bash import BashTool
from agentpane.orchestrator.tools.edit import EditTool
from agentpane.orchestrator.tools.globbing import GlobTool
from agentpane.orchestrator.tools.grep import GrepTool
from agentpane.orchestrator.tools.read import ReadTool
from agentpane.orchestrator.tools.write import WriteTool

__all__ = ["TOOL_NAMES", "FileMemory", "Tool", "ToolContext", "ToolResult", "toolbox"]

_TOOLS: tuple[Tool, ...] = (ReadTool(), WriteTool(), EditTool(), BashTool(), GlobTool(), GrepTool())

TOOL_NAMES = tuple(tool.name for tool in _TOOLS)


def toolbox(names: Iterable[str]) -> dict[str, Tool]:
    """The named tools, always in the same order, so that a cached prompt stays valid; unknown names are left out."""
    wanted = frozenset(names)
    return {tool.name: tool for tool in _TOOLS if tool.name in wanted}
