"""What a server answered, as a tool's result: text as it is, pictures where the model takes them, the rest in words."""

from __future__ import annotations

import json
from collections.abc import Collection

import mcp.types as types

from agentpane.domain.json import JsonValue
from agentpane.domain.mcp import shown_text, without_secrets
from agentpane.orchestrator.tools.base import SHOWN, Image, ToolContext, ToolResult
from agentpane.orchestrator.tools.outputs import bounded

PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
MOST_PICTURES = 4
PICTURE_LIMIT = 4 * 1024 * 1024  # characters of base64


async def result_of(answer: types.CallToolResult, context: ToolContext, secrets: Collection[str]) -> ToolResult:
    """The answer as the model reads it. Too long a text is cut, and kept whole where outputs are kept."""
    parts: list[str] = []
    images: list[Image] = []
    for block in answer.content:
        if isinstance(block, types.ImageContent) and _is_picture(block, len(images)):
            images.append(Image(block.mime_type, block.data))
        else:
            parts.append(_words(block))
    structured = _structured(answer, parts)
    if structured is not None:
        parts.append(structured)
    whole = without_secrets("\n".join(part for part in parts if part), secrets)
    shown, data = await bounded(whole, context)
    pictures = f"{len(images)} picture{'s' if len(images) > 1 else ''}" if images else ""
    summary = shown_text(whole[:2_000], SHOWN) or pictures or ("failed" if answer.is_error else "done")
    told: dict[str, JsonValue] = {**data, "images": len(images)} if images else data
    return ToolResult(shown or pictures or "(no output)", answer.is_error, summary, told, images=tuple(images))


def _is_picture(block: types.ImageContent, before: int) -> bool:
    return block.mime_type in PICTURES and before < MOST_PICTURES and len(block.data) <= PICTURE_LIMIT


def _structured(answer: types.CallToolResult, parts: list[str]) -> str | None:
    """The structured content as JSON, unless one of the texts says the same."""
    if answer.structured_content is None or answer.structured_content in [{"result": part} for part in parts]:
        return None
    for part in parts:
        try:
            if json.loads(part) == answer.structured_content:
                return None
        except (ValueError, RecursionError):
            continue
    return json.dumps(answer.structured_content, ensure_ascii=False, indent=2)


def _words(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent():
            return f"[a picture, {block.mime_type}, {len(block.data):,} characters of base64: not shown]"
        case types.AudioContent():
            return f"[a sound, {block.mime_type}: not shown]"
        case types.ResourceLink():
            return f"[a resource: {block.uri} {block.name}]"
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return f"[{resource.uri}]\n{resource.text}"
        case _:
            return f"[{block.resource.uri}, {block.resource.mime_type or 'bytes'}: not shown]"
