"""Commands in the background, as the session knows them: shown while they run, stored at their end.

A conversation that goes on is told which of its commands were ended without it.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentpane.domain import traces
from agentpane.domain.json import JsonObject
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.transcript import BACKGROUND_ENDED
from agentpane.orchestrator.sessions import Recorder
from agentpane.orchestrator.tools.shells import ShellEnd, Shells


def shells_for(recorder: Recorder, events: Sequence[SessionEvent]) -> Shells:
    """The background commands of a conversation. Whoever asks for them closes them."""

    def show(turn: int, call_id: str, text: str) -> None:
        recorder.show(turn, "output", text, call_id)

    def end(ended: ShellEnd) -> None:
        data: JsonObject = {
            "step": ended.id,
            "shell_id": ended.id,
            "call_id": ended.call_id,
            "command": ended.command,
            "by": ended.by.value,
            "exit_code": ended.exit_code,
            "output": ended.output,
        }
        recorder.add(EventKind.TERMINAL_OUTPUT, data, ended.turn)

    return Shells(traces.background(events).started + 1, show, end)


def notice(events: Sequence[SessionEvent]) -> JsonObject | None:
    """What the agent is told of commands that ended with an earlier run or pause; None when there are none."""
    left = traces.background(events).left
    return ended(left) if left else None


def running(shells: Shells) -> tuple[str, ...]:
    """The commands that end when these shells are closed."""
    return tuple(name for name in shells.names if (shell := shells.get(name)) is not None and shell.running)


def ended(names: Sequence[str]) -> JsonObject:
    """What the session says of commands that ended with their run; the agent reads it when it goes on."""
    text = (
        f"The run has stopped since, and with it your background commands were ended: {', '.join(names)}. "
        "Start again what you still need."
    )
    return {"state": BACKGROUND_ENDED, "shells": list(names), "text": text}
