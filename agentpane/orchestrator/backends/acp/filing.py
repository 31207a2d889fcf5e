"""The program's requests to read and write files, by the confined file functions of the tools."""

from __future__ import annotations

from pathlib import Path

from agentpane.orchestrator.tools.text import decoded, encoded_new
from agentpane.orchestrator.tree import files


def read_text(worktree: Path, path: str, line: int | None, limit: int | None) -> str:
    """The file's text, from `line` (1 is the first) on, `limit` lines of it. Raises Refusal."""
    parts = files.components(worktree, path)
    with files.opened(worktree) as root:
        text = decoded(files.read(root, parts).data, files.shown(parts)).text
    if line is None and limit is None:
        return text
    first = max((line or 1) - 1, 0)
    lines = text.splitlines(keepends=True)[first:]
    return "".join(lines if limit is None else lines[:limit])


def write_text(worktree: Path, path: str, text: str) -> None:
    """Give the file this text, whole or not at all. Raises Refusal."""
    parts = files.components(worktree, path)
    files.check_writable(parts)
    with files.opened(worktree) as root:
        try:
            before = files.read(root, parts, links=False)
        except FileNotFoundError:
            before = None
        data = encoded_new(text) if before is None else decoded(before.data, files.shown(parts)).encoded(text)
        files.replace(root, parts, data, before)
