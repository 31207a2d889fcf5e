"""What the loop does with calls: what may be made again after a crash, the agent's list, and pictures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.domain.tasks import Todo, TodoState
from agentpane.domain.transcript import rebuild
from agentpane.orchestrator.backends.base import Endpoint, TodosChanged, ToolFinished
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend
from agentpane.orchestrator.tools import ToolContext
from tests.backends.rig import Hurry, Look, Mark, box, make_brief, marks, of_kind, pending, play
from tests.backends.wire import ScriptedServer, say, use
from tests.tools.test_reading import png


def history(name: str, **arguments: object) -> tuple[dict[str, Any], ...]:
    call = {"type": "tool_use", "id": "old", "name": name, "input": arguments}
    return (
        {"role": "user", "content": [{"type": "text", "text": "Do the work"}]},
        {"role": "assistant", "content": [call]},
    )


async def resumed(tmp_path: Path, name: str, cut: bool, **arguments: object) -> list[ToolFinished]:
    """What becomes of a call that had started when the program ended."""
    begun = replace(pending("old", name, started=True, **arguments), cut=cut)
    backend = MessagesApiBackend(Hurry().patience(), box(Look(), Mark()))
    try:
        with ScriptedServer([[], [say("Done.")]]) as server:
            endpoint = Endpoint(server.url, server.key)
            brief = make_brief(tmp_path, endpoint, history=history(name, **arguments), pending=(begun,), first_turn=2)
            return of_kind(await play(backend, brief), ToolFinished)
    finally:
        await backend.close()


async def test_a_call_that_changes_nothing_is_made_again(tmp_path: Path) -> None:
    (finished,) = await resumed(tmp_path, "Look", cut=False, at="a")
    assert finished.result.content == "saw a"


async def test_a_call_that_changes_something_is_not(tmp_path: Path) -> None:
    (finished,) = await resumed(tmp_path, "Mark", cut=False, line="one")
    assert "unknown" in finished.result.content and marks(tmp_path) == []


async def test_a_call_of_a_cut_answer_is_never_made_even_if_it_changes_nothing(tmp_path: Path) -> None:
    (finished,) = await resumed(tmp_path, "Look", cut=True, at="a")
    assert finished.result.is_error and "unknown" in finished.result.content


def test_the_session_tells_cut_calls_from_those_that_had_begun() -> None:
    def calls(stop_reason: str) -> list[tuple[bool, bool]]:
        told = [
            (EventKind.USER_MESSAGE, {"text": "Do the work"}),
            (EventKind.TURN_STARTED, {}),
            (EventKind.TOOL_CALL, {"call_id": "a", "name": "Read", "input": {}}),
            (EventKind.TURN_FINISHED, {"stop_reason": stop_reason}),
            (EventKind.STATE, {"state": "tool_started", "call_id": "a"}),
        ]
        at = datetime(2026, 1, 1, tzinfo=UTC)
        events = [SessionEvent(seq, at, kind, 1, None, data) for seq, (kind, data) in enumerate(told, 1)]  # type: ignore[arg-type]
        return [(call.started, call.cut) for call in rebuild(events).pending]

    assert calls("tool_use") == [(True, False)]
    assert calls("max_tokens") == [(True, True)]


async def test_the_list_is_an_event_and_a_picture_goes_to_the_model(context: ToolContext, worktree: Path) -> None:
    (worktree / "p.png").write_bytes(png(4, 4))
    calls = [use("TodoWrite", todos=[{"content": "look"}]), use("Read", file_path="p.png")]
    backend = MessagesApiBackend(Hurry().patience())
    try:
        with ScriptedServer([calls, [say("Done.")]]) as server:
            endpoint = Endpoint(server.url, server.key)
            brief = make_brief(worktree, endpoint, tools=("TodoWrite", "Read"), context=context)
            events = await play(backend, brief)
            sent: Any = server.requests[1].messages[-1]["content"]
    finally:
        await backend.close()
    (changed,) = of_kind(events, TodosChanged)
    assert changed.todos == (Todo("look", TodoState.PENDING),)
    text, picture = sent[1]["content"]
    assert "4 × 4 pixels" in text["text"] and picture["source"]["media_type"] == "image/png"
