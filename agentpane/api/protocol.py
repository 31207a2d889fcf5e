"""What both ends of the door say to each other: the greeting, requests, answers and events, as plain JSON objects.

    client                                          engine
    {"hello": {version, kind, name, pid}}           {"welcome": {version, epoch, pid}} or {"error": …}, then the end
    {"id", "do": command's name, "with": fields}    {"id", "ok": result} or {"id", "error": …}
    {"watch": number, "after", "epoch"}             {"w": number, "seq", "event"} or {"w": number, "catch_up": seq}
    {"unwatch": number}

The greeting stays as it is from version to version: it is how a newer client asks an idle older engine to make room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agentpane.api import commands
from agentpane.api.command import Command
from agentpane.api.events import Event
from agentpane.errors import AgentPaneError, ErrorCode

EVENT: Any = Event  # the union, as the codec takes it

# What `agentpane engine` exits with when another engine already serves this data folder.
ALREADY_RUNNING_STATUS = 75

GREETING_S = 5.0


class ClientKind(StrEnum):
    WINDOW = "window"
    COMMAND = "command"
    REPLACE = "replace"  # a client of another version, which asks an idle engine to end


@dataclass(frozen=True, slots=True)
class Hello:
    """How a client introduces itself."""

    version: str
    kind: ClientKind
    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Greeting:
    """Which engine answered. `epoch` is its life: event numbers of another epoch mean nothing here."""

    version: str
    epoch: str
    pid: int


COMMANDS: Mapping[str, type[Command[Any]]] = {
    kind.__name__: kind
    for kind in vars(commands).values()
    if isinstance(kind, type) and issubclass(kind, Command) and kind is not Command
}


def error_to_json(error: AgentPaneError) -> dict[str, Any]:
    return {"code": error.code.value, "message": error.message, "hint": error.hint, "details": error.details}


def error_from_json(raw: Any) -> AgentPaneError:
    """The error that the peer sent; a code that is not known here becomes INTERNAL and is named in the details."""
    found = raw if isinstance(raw, dict) else {}
    details = found.get("details")
    details = dict(details) if isinstance(details, dict) else {}
    try:
        code = ErrorCode(str(found.get("code")))
    except ValueError:
        code = ErrorCode.INTERNAL
        details["code"] = found.get("code")
    return AgentPaneError(code, str(found.get("message", "")), str(found.get("hint", "")), details)


def version_error(engine: str, client: str, pid: int) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.ENGINE_VERSION,
        f"The running engine is version {engine}, this program is version {client}.",
        "Let its runs end, or end it by “agentpane engine stop” of its own version, then try again. Nothing was lost.",
        {"engine_version": engine, "client_version": client, "pid": pid},
    )


def unreachable(message: str, hint: str = "", **details: object) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.ENGINE_UNREACHABLE, message, hint or "Try again: the engine is started anew.", details
    )
