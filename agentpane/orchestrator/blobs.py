"""Long values of session events, kept once beside the database and named by their hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.sessions import EVENT_LIMIT
from agentpane.errors import AgentPaneError, ErrorCode

ROOM = EVENT_LIMIT - 2_048  # what an event's data may take before its longest value moves out
PREVIEW = 2_000  # characters of a moved value that stay in the event
_NAME = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """Files of mode 0600 in one folder, written once and never changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fit(self, data: JsonObject) -> JsonObject:
        """`data` as an event may hold it: its longest values moved out until the rest fits.

        A moved value leaves a preview, and `blobs` maps its key to {"id", "bytes", "json"}; `json` says
        that the stored bytes are JSON rather than the text itself.
        """
        if _size(data) <= ROOM:
            return data
        fitted: dict[str, JsonValue] = dict(data)
        moved: dict[str, JsonValue] = {}
        while _size({**fitted, "blobs": moved}) > ROOM:
            key = max((key for key in fitted if key not in moved), key=lambda key: _size(fitted[key]))
            value = fitted[key]
            text = isinstance(value, str)
            content = value if isinstance(value, str) else json.dumps(value)
            stored = content.encode("utf-8", "surrogatepass")
            moved[key] = {"id": self._put(stored), "bytes": len(stored), "json": not text}
            fitted[key] = _preview(content) if text else {"preview": _preview(content)}
        return {**fitted, "blobs": moved}

    def whole(self, data: JsonObject) -> JsonObject:
        """The data that `fit` was given."""
        moved = data.get("blobs")
        if not isinstance(moved, Mapping):
            return data
        restored = {key: value for key, value in data.items() if key != "blobs"}
        for key, where in moved.items():
            assert isinstance(where, Mapping)
            text = self.read(str(where["id"])).decode("utf-8", "surrogatepass")
            restored[key] = json.loads(text) if where["json"] else text
        return restored

    def keep(self, content: bytes) -> str:
        """Store an output by itself; returns its name, which `read` and `read_kept` take."""
        return self._put(content)

    def read_kept(self, name: str) -> bytes:
        """The whole of an output. Raises AgentPaneError with SESSION_NOT_FOUND when there is none of this name."""
        return self.read(name)

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        """Raises AgentPaneError with SESSION_NOT_FOUND when there is no such output."""
        try:
            if not _NAME.fullmatch(name):
                raise FileNotFoundError(name)
            with open(self._folder / name, "rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError as fault:
            raise AgentPaneError(
                ErrorCode.SESSION_NOT_FOUND,
                "This output is not in the data folder.",
                hint="The session itself is kept; only the long output is missing.",
            ) from fault

    def _put(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        target = self._folder / name
        if not target.exists():
            part = self._folder / f"{name}.{os.getpid()}.part"
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        return name


def _preview(content: str) -> str:
    shown = content[:PREVIEW]
    while _size(shown) > 2 * PREVIEW:  # characters outside ASCII take up to 12 bytes each
        shown = shown[: len(shown) // 2]
    return shown


def _size(value: JsonValue) -> int:
    return len(json.dumps(value))
