"""What a call of the program's tools would do, in the words of the policy, and how it is shown to a person."""

from __future__ import annotations

import difflib
import json
import os.path
from collections.abc import Mapping
from pathlib import Path

from agentpane.domain.json import JsonObject
from agentpane.domain.policy import Effect, Use
from agentpane.orchestrator.backends.claude_code.launching import SERVER

OWN_PREFIX = f"mcp__{SERVER}__"
OF_A_SERVER = "mcp__"
QUESTION = "AskUserQuestion"
PLAN = "ExitPlanMode"
TODOS = "TodoWrite"
DETAIL = 100_000  # characters that a person is shown of one call
SHOWN = 200

EFFECTS: Mapping[str, Effect] = {
    "Read": Effect.READ,
    "Glob": Effect.READ,
    "Grep": Effect.READ,
    TODOS: Effect.READ,  # it changes nothing but the agent's own list
    "BashOutput": Effect.READ,
    "Write": Effect.WRITE,
    "Edit": Effect.WRITE,
    "MultiEdit": Effect.WRITE,
    "NotebookEdit": Effect.WRITE,
    "Bash": Effect.EXECUTE,
    "WebFetch": Effect.FETCH,
}
# The name that grants a tool, where it is not the tool's own.
GRANTED_AS: Mapping[str, str] = {"NotebookEdit": "Edit", "MultiEdit": "Edit"}
PATHS = ("file_path", "notebook_path", "path")


def visible_name(name: str) -> str:
    """Our own tools go by the names that they have everywhere else."""
    return name.removeprefix(OWN_PREFIX)


def use_of(name: str, given: JsonObject, worktree: Path) -> Use:
    effect = EFFECTS.get(name, Effect.OTHER)
    path = _path(given) if effect in (Effect.READ, Effect.WRITE) else None
    if path is None and name in ("Glob", "Grep"):
        path = "."
    return Use(
        tool=GRANTED_AS.get(name, name),
        effect=effect,
        path=within(worktree, path) if path is not None else None,
        command=_text(given, "command") if effect is Effect.EXECUTE else None,
        host=_host(_text(given, "url") or "") if effect is Effect.FETCH else None,
    )


def within(worktree: Path, path: str) -> str:
    """Relative to the worktree where it lies inside, absolute otherwise."""
    whole = os.path.normpath(os.path.join(worktree, path))
    for root in (str(worktree), os.path.realpath(worktree)):
        if whole == root:
            return "."
        if whole.startswith(root + os.sep):
            return os.path.relpath(whole, root)
    return whole


def summary_of(name: str, given: JsonObject, worktree: Path) -> str:
    """The call's target on one line."""
    path = _path(given)
    if name in ("Glob", "Grep"):
        words = _text(given, "pattern") or ""
    elif name.startswith(OF_A_SERVER):
        words = json.dumps(given, ensure_ascii=False)
    elif path is not None:
        words = within(worktree, path)
    else:
        words = next((value for key in ("command", "query", "url") if (value := _text(given, key))), "")
    line = " ".join(words.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def detail_of(name: str, given: JsonObject, worktree: Path) -> str:
    """The whole command, or the change as a diff."""
    path = within(worktree, _path(given) or ".")
    match name:
        case "Bash":
            words = _text(given, "command") or ""
        case "Edit":
            words = _diff(path, _text(given, "old_string") or "", _text(given, "new_string") or "")
        case "MultiEdit":
            edits = given.get("edits")
            parts = [edit for edit in edits if isinstance(edit, Mapping)] if isinstance(edits, list) else []
            words = "\n".join(
                _diff(path, str(edit.get("old_string", "")), str(edit.get("new_string", ""))) for edit in parts
            )
        case "Write":
            words = _diff(path, "", _text(given, "content") or "")
        case "NotebookEdit":
            words = _diff(path, "", _text(given, "new_source") or "")
        case _:
            words = ""
    return words if len(words) <= DETAIL else f"{words[:DETAIL]}\n… {len(words) - DETAIL:,} more characters"


def _diff(path: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="")
    return "\n".join(lines)


def _path(given: JsonObject) -> str | None:
    return next((value for key in PATHS if (value := _text(given, key))), None)


def _text(given: JsonObject, key: str) -> str | None:
    value = given.get(key)
    return value if isinstance(value, str) else None


def _host(url: str) -> str | None:
    from_scheme = url.partition("://")[2] or url
    return from_scheme.partition("/")[0].rpartition("@")[2].partition(":")[0].lower() or None
