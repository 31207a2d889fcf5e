"""A tool's result as the Messages API takes it, whether it comes from the tool or from the session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def result_content(text: str, images: Iterable[Mapping[str, object]]) -> object:
    """images: {"media_type", "data"} each, data in base64. Text alone stays text."""
    pictures: list[dict[str, object]] = [
        {"type": "image", "source": {"type": "base64", "media_type": image["media_type"], "data": image["data"]}}
        for image in images
    ]
    if not pictures:
        return text
    return [*([{"type": "text", "text": text}] if text else []), *pictures]
