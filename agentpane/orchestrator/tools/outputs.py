"""Long outputs: the model is shown the head and the tail, and a name under which `Read` has the whole."""

from __future__ import annotations

import asyncio

from agentpane.domain.json import JsonValue
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.tools.base import Outputs, Refusal, ToolContext

MAX_CONTENT = 30_000  # characters that the model is shown at once
SCHEME = "output://"


async def bounded(text: str, context: ToolContext) -> tuple[str, dict[str, JsonValue]]:
    """The text as the model is shown it, and what the result's data says of the whole; nothing when it all fits."""
    if len(text) <= MAX_CONTENT:
        return text, {}
    half = MAX_CONTENT // 2
    kept = await keep(text, context)
    note = f"[... {len(text) - 2 * half} characters left out{_way(kept)} ...]"
    data: dict[str, JsonValue] = {"output": {"name": kept, "characters": len(text)}} if kept else {}
    return f"{text[:half]}\n{note}\n{text[-half:]}", data


async def keep(text: str, context: ToolContext) -> str | None:
    """The name under which Read has this text from here on; None when nothing is kept."""
    if context.outputs is None:
        return None
    name = await asyncio.to_thread(context.outputs.keep, text.encode("utf-8", "surrogatepass"))
    return SCHEME + name


def rest(kept: str | None) -> str:
    """Where the rest of what was cut is, for the end of a note."""
    return f"; the whole is in {kept}, for Read" if kept else ""


def kept(name: str, outputs: Outputs | None) -> bytes:
    """A kept output. Raises Refusal when there is none of this name."""
    if outputs is not None:
        try:
            return outputs.read_kept(name.removeprefix(SCHEME).strip("/"))
        except AgentPaneError as error:
            raise Refusal(f"There is no output {name}.", error.code) from error
    raise Refusal(f"There is no output {name}.", ErrorCode.SESSION_NOT_FOUND)


def _way(kept: str | None) -> str:
    return f"; Read {kept} with offset and limit shows them" if kept else ""
