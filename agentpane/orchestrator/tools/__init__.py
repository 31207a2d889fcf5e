"""The tools that the in-process agent calls, confined to one worktree."""

from __future__ import annotations

from collections.abc import Iterable

from agentpane.orchestrator.tools.asking import ASK_USER, TASK
from agentpane.orchestrator.tools.background import BASH_OUTPUT, KILL_SHELL
from agentpane.orchestrator.tools.base import Image, Tool, ToolContext, ToolHost, ToolResult
from agentpane.orchestrator.tools.bash import BASH
from agentpane.orchestrator.tools.edit import EDIT, MULTI_EDIT
from agentpane.orchestrator.tools.exit_plan import EXIT_PLAN_MODE
from agentpane.orchestrator.tools.globbing import GLOB
from agentpane.orchestrator.tools.grep import GREP
from agentpane.orchestrator.tools.memory import FileMemory
from agentpane.orchestrator.tools.read import READ
from agentpane.orchestrator.tools.todo import TODO_WRITE
from agentpane.orchestrator.tools.write import WRITE

__all__ = ["TOOL_NAMES", "FileMemory", "Image", "Tool", "ToolContext", "ToolHost", "ToolResult", "toolbox"]

_TOOLS: tuple[Tool, ...] = (
    READ,
    WRITE,
    EDIT,
    MULTI_EDIT,
    BASH,
    BASH_OUTPUT,
    KILL_SHELL,
    GLOB,
    GREP,
    TODO_WRITE,
    ASK_USER,
    TASK,
    EXIT_PLAN_MODE,
)

TOOL_NAMES = tuple(tool.name for tool in _TOOLS)


def toolbox(names: Iterable[str]) -> dict[str, Tool]:
    """The named tools, always in the same order, so that a cached prompt stays valid; unknown names are left out."""
    wanted = frozenset(names)
    return {tool.name: tool for tool in _TOOLS if tool.name in wanted}
