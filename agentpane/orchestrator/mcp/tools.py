"""A server's tool as the in-process agent calls it. What it does is the server's affair, so it counts as an effect."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentpane.domain.mcp import McpTool, shown_text
from agentpane.orchestrator.tools.base import SHOWN, OnOutput, ToolContext, ToolResult

Call = Callable[[McpTool, Mapping[str, object], ToolContext], Awaitable[ToolResult]]


@dataclass(frozen=True, slots=True)
class ServerTool:
    """Implements `Tool`. A server's word that a tool only reads is not taken."""

    tool: McpTool
    call: Call

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def description(self) -> str:
        return self.tool.description

    @property
    def input_schema(self) -> dict[str, Any]:
        return dict(self.tool.input_schema)

    @property
    def mutates(self) -> bool:
        return True

    async def run(self, input: Mapping[str, object], context: ToolContext, on_output: OnOutput) -> ToolResult:
        """See Tool.run."""
        return await self.call(self.tool, input, context)

    def describe(self, input: Mapping[str, object]) -> str:
        try:
            return shown_text(json.dumps(input, ensure_ascii=False), SHOWN)
        except (TypeError, ValueError, RecursionError):
            return ""
