"""The one shape of the tools: an input model, a description, and a function that does the work.

What the model sent is checked before the work begins, and a Refusal becomes the result that the model reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from agentpane.errors import AgentPaneError
from agentpane.orchestrator.tools.base import (
    M,
    OnOutput,
    Refusal,
    ToolContext,
    ToolResult,
    one_line,
    parsed,
    refused,
    schema_of,
)

Work = Callable[[M, ToolContext, OnOutput], Awaitable[ToolResult]]


@dataclass(frozen=True, slots=True)
class ModelTool(Generic[M]):
    """Implements `Tool`. target: the inputs of which the first that is given describes a call."""

    name: str
    description: str
    model: type[M]
    work: Work[M]
    target: tuple[str, ...]
    mutates: bool = False
    where: tuple[str, ...] = ()  # inputs that say where, put behind the target
    input_schema: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_schema", schema_of(self.model))

    async def run(self, input: Mapping[str, object], context: ToolContext, on_output: OnOutput) -> ToolResult:
        """See Tool.run."""
        try:
            return await self.work(parsed(self.model, input), context, on_output)
        except Refusal as refusal:
            return refused(refusal)
        except AgentPaneError as error:
            return refused(Refusal(f"{error.message} {error.hint}".strip(), error.code))

    def describe(self, input: Mapping[str, object]) -> str:
        """See Tool.describe."""
        what = _first(input, self.target)
        where = _first(input, self.where)
        return f"{what} in {where}" if where else what


def in_a_thread(work: Callable[[M, ToolContext], ToolResult]) -> Work[M]:
    """Work that waits for the disk, done beside the loop."""

    async def run(wanted: M, context: ToolContext, on_output: OnOutput) -> ToolResult:
        return await asyncio.to_thread(work, wanted, context)

    return run


def _first(input: Mapping[str, object], names: tuple[str, ...]) -> str:
    return next((line for line in (one_line(input, name) for name in names) if line), "")
