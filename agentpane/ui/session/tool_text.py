"""What a tool call is about, in one line and in full: the exact command, the exact change."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication

from agentpane.domain.json import JsonObject, JsonValue
from agentpane.ui.parts.plain import one_line, shown

TOOL_ICONS = {
    "Bash": "terminal",
    "Read": "file",
    "Write": "diff",
    "Edit": "edit",
    "MultiEdit": "edit",
    "Glob": "folder",
    "Grep": "search",
    "Task": "agent",
    "TodoWrite": "list",
    "AskUser": "message",
    "ExitPlanMode": "list",
}
DELEGATE = "Task"  # the tool whose calls begin sub-agents
ASKS = "AskUser"
SERVER_PREFIX = "mcp__"
MARKS = {"completed": "✓", "in_progress": "→"}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a call to show. `diff`: its lines begin with +, − or a blank."""

    caption: str
    text: str
    diff: bool = False


def icon_of(name: str) -> str:
    return TOOL_ICONS.get(name, "plug" if name.startswith(SERVER_PREFIX) else "terminal")


def title_of(name: str) -> str:
    """A tool's name for people: that of a server's tool names the server first."""
    own = {
        DELEGATE: QCoreApplication.translate("tools", "Sub-agent"),
        "ExitPlanMode": QCoreApplication.translate("tools", "Plan"),
        "TodoWrite": QCoreApplication.translate("tools", "List"),
        ASKS: QCoreApplication.translate("tools", "Question"),
    }
    if name in own:
        return own[name]
    server, _, tool = name.removeprefix(SERVER_PREFIX).partition("__")
    return one_line(f"{server}: {tool}") if name.startswith(SERVER_PREFIX) and tool else one_line(name)


def summary(name: str, data: JsonObject) -> str:
    """The target of a call: the command, the path, the pattern."""
    todos = data.get("todos")
    if isinstance(todos, list | tuple):
        done = sum(isinstance(one, dict) and one.get("status") == "completed" for one in todos)
        return f"{done} of {len(todos)} done"
    for key in ("command", "file_path", "pattern", "path", "question", "description"):
        value = data.get(key)
        if isinstance(value, str) and value:
            return one_line(value)
    plan = data.get("plan")
    if isinstance(plan, str):
        steps = [line.lstrip("#").strip() for line in plan.splitlines() if line.strip("# ")]
        return one_line("  ".join(steps))
    return one_line(", ".join(f"{key}: {_value(value)}" for key, value in data.items()))


def parts(name: str, data: JsonObject) -> list[Part]:
    """All of a call, nothing left out: what is shown is what will be done."""
    used: set[str] = set()
    found: list[Part] = []
    path = data.get("file_path")
    if name == "Bash" and isinstance(data.get("command"), str):
        found.append(Part("", shown(str(data["command"]))))
        used.add("command")
    elif name == "Edit" and isinstance(path, str) and {"old_string", "new_string"} <= set(data):
        found.append(Part(shown(path), change(str(data["old_string"]), str(data["new_string"])), diff=True))
        used |= {"file_path", "old_string", "new_string"}
    elif name == "Write" and isinstance(path, str) and isinstance(data.get("content"), str):
        found.append(Part(shown(path), change("", str(data["content"])), diff=True))
        used |= {"file_path", "content"}
    elif name == "MultiEdit" and isinstance(path, str):
        found += _edits(path, data.get("edits"))
        used |= {"file_path", "edits"} if found else set()
    elif isinstance(todos := data.get("todos"), list | tuple):
        found.append(Part("", shown("\n".join(_todo(one) for one in todos))))
        used.add("todos")
    rest = {key: value for key, value in data.items() if key not in used}
    if rest:
        lines = [f"{key}: {_value(value)}" for key, value in rest.items()]
        found.append(Part("", shown("\n".join(lines))))
    return found


def pictures_in(images: JsonValue) -> tuple[tuple[str, bytes], ...]:
    """Media type and content of the pictures of a result; what is no picture is left out."""
    found: list[tuple[str, bytes]] = []
    for one in images if isinstance(images, list | tuple) else ():
        if isinstance(one, dict) and isinstance(one.get("data"), str):
            try:
                found.append((str(one.get("media_type", "")), base64.b64decode(str(one["data"]), validate=True)))
            except binascii.Error:
                continue
    return tuple(found)


def _value(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _todo(one: JsonValue) -> str:
    if not isinstance(one, dict):
        return f"·  {_value(one)}"
    text = next((str(one[key]) for key in ("text", "content") if isinstance(one.get(key), str)), "")
    return f"{MARKS.get(str(one.get('status', one.get('state'))), '·')}  {text}"


def change(old: str, new: str) -> str:
    """Lines taken away and lines put in their place."""
    removed = [f"-{line}" for line in shown(old).splitlines()] if old else []
    added = [f"+{line}" for line in shown(new).splitlines()] if new else []
    return "\n".join([*removed, *added])


def content_text(content: JsonValue) -> str:
    """The text of a tool's result, which may come in blocks."""
    if isinstance(content, str):
        return shown(content)
    if isinstance(content, list | tuple):
        texts = [
            str(block["text"]) for block in content if isinstance(block, dict) and isinstance(block.get("text"), str)
        ]
        return shown("\n".join(texts))
    return shown(json.dumps(content, ensure_ascii=False, indent=1)) if content else ""


def _edits(path: str, edits: JsonValue) -> list[Part]:
    if not isinstance(edits, list | tuple):
        return []
    return [
        Part(shown(path), change(str(edit.get("old_string", "")), str(edit.get("new_string", ""))), diff=True)
        for edit in edits
        if isinstance(edit, dict)
    ]
