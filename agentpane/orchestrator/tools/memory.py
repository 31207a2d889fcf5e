"""What an agent has seen of the files that it may change.

A result of a tool says in its data what was seen (`SEEN`), so that a conversation that is taken up again knows it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from agentpane.domain.json import JsonValue

SEEN = "seen"


class FileMemory:
    """Files by their path below the worktree, with the hash of the content that was seen last."""

    def __init__(self, seen: Mapping[str, str] | None = None) -> None:
        self._seen = dict(seen or {})

    def note(self, path: str, content: bytes) -> dict[str, JsonValue]:
        """Remember a file. Returns what the result's data says of it."""
        digest = hashlib.sha256(content).hexdigest()
        self._seen[path] = digest
        try:
            path.encode("utf-8")
        except UnicodeEncodeError:
            return {}  # such a name cannot be stored, so the file has to be read again in a later run
        return {SEEN: {"path": path, "sha256": digest}}

    def knows(self, path: str) -> bool:
        return path in self._seen

    def is_current(self, path: str, content: bytes) -> bool:
        return self._seen.get(path) == hashlib.sha256(content).hexdigest()
