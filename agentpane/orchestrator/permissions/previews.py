"""What a call that is asked about would do, whole: the command, the diff, the plan. Nothing is changed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

from agentpane.domain.policy import EXIT_PLAN
from agentpane.orchestrator.tools.base import Refusal
from agentpane.orchestrator.tools.text import decoded
from agentpane.orchestrator.tree import files

MOST_COMPARED = 400_000  # characters of a file; of a larger one the pieces are shown as they are
MOST_SHOWN = 200_000
_PLAIN = {"Bash": "command", EXIT_PLAN: "plan"}


def preview(worktree: Path, tool: str, given: Mapping[str, object]) -> str:
    """Reads files: call it off the loop. Never raises for what a model sends."""
    named = _PLAIN.get(tool)
    if named is not None:
        text = str(given.get(named, ""))
    elif tool in {"Write", "Edit", "MultiEdit"}:
        text = _change(worktree, given)
    else:
        text = json.dumps(dict(given), indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}\n[… {len(text) - MOST_SHOWN:,} characters more]"


def _change(worktree: Path, given: Mapping[str, object]) -> str:
    named = str(given.get("file_path", ""))
    try:
        before = _present(worktree, named)
    except Refusal as refusal:
        return f"{named}\n{refusal.message}\n\n{_pieces(given)}"
    if "content" in given:
        after = str(given["content"])
    else:
        after = before or ""
        for old, new, everywhere in _edits(given):
            if old not in after:
                old, new = _as_there(old, after), _as_there(new, after)
            if not old or old not in after:
                return f"{named}\nThe text to replace is not there.\n\n{_pieces(given)}"
            after = after.replace(old, new, -1 if everywhere else 1)
    if len(before or "") + len(after) > MOST_COMPARED:
        return f"{named}\n{_pieces(given)}"
    return _diff(named, before, after)


def _present(worktree: Path, named: str) -> str | None:
    """The file's text; None where there is none."""
    parts = files.components(worktree, named)
    with files.opened(worktree) as root:
        try:
            content = files.read(root, parts, links=False)
        except FileNotFoundError:
            return None
    return decoded(content.data, named).text


def _edits(given: Mapping[str, object]) -> list[tuple[str, str, bool]]:
    several = given.get("edits")
    pieces = several if isinstance(several, list) else [given]
    return [
        (str(piece.get("old_string", "")), str(piece.get("new_string", "")), piece.get("replace_all") is True)
        for piece in pieces
        if isinstance(piece, Mapping)
    ]


def _as_there(piece: str, text: str) -> str:
    """With the line ends of the file, where it has those of Windows."""
    return piece.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text and "\n" in piece else piece


def _diff(named: str, before: str | None, after: str) -> str:
    old = [] if before is None else before.splitlines(keepends=True)
    lines = difflib.unified_diff(old, after.splitlines(keepends=True), "/dev/null" if before is None else named, named)
    shown = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return shown or f"{named}\nNothing would change."


def _pieces(given: Mapping[str, object]) -> str:
    if "content" in given:
        return "".join(f"+{line}\n" for line in str(given["content"]).splitlines())
    shown = []
    for old, new, _ in _edits(given):
        shown += [f"-{line}\n" for line in old.splitlines()] + [f"+{line}\n" for line in new.splitlines()]
    return "".join(shown)
