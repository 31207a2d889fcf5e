"""The file that a call changes: one that the agent knows as it is, replaced as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentpane.domain.json import JsonValue
from agentpane.orchestrator.tools.base import Refusal, ToolContext
from agentpane.orchestrator.tree import files


@dataclass(frozen=True, slots=True)
class Change:
    """path: as it is shown. before: what is there now; None for nothing."""

    path: str
    before: files.FileContent | None
    _context: ToolContext
    _root: int
    _parts: tuple[str, ...]

    def replace(self, data: bytes) -> dict[str, JsonValue]:
        """Give the file this content. Returns what the result's data says of what the agent knows now.

        Raises Refusal when something else has changed the file meanwhile.
        """
        files.replace(self._root, self._parts, data, self.before)
        return self._context.memory.note("/".join(self._parts), data)


@contextmanager
def changing(context: ToolContext, named: str) -> Iterator[Change]:
    """Raises Refusal for a path that cannot be written, and for a file that the agent has not read as it is now.

    A link counts as something that cannot be written.
    """
    parts = files.components(context.worktree, named)
    files.check_writable(parts)
    with files.opened(context.worktree) as root:
        try:
            before = files.read(root, parts, links=False)
        except FileNotFoundError:
            before = None
        if before is not None:
            _must_be_known(context, parts, before)
        yield Change(files.shown(parts), before, context, root, parts)


def _must_be_known(context: ToolContext, parts: tuple[str, ...], before: files.FileContent) -> None:
    key, path = "/".join(parts), files.shown(parts)
    if not context.memory.knows(key):
        raise Refusal(f"{path} exists and has not been read in this run. Read it first; nothing was written.")
    if not context.memory.is_current(key, before.data):
        raise Refusal(f"{path} has changed since it was read. Read it again; nothing was written.")
