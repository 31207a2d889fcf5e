"""The real Claude Code, where it is installed, with a model on loopback: that the stand-in is like it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.base import BackendEvent, Endpoint
from agentpane.orchestrator.backends.claude_code import ClaudeCodeBackend, find_program
from tests.backends.claude_stand_in import CLAUDE_TOOLS, OWN_BASH, claude_stand_in
from tests.backends.conformance import Host, Place, said
from tests.backends.rig import Mark, marks, of_kind
from tests.backends.wire import Answer, Block, Failure, Reply, ScriptedServer, Stream, say, use

pytestmark = pytest.mark.long

SERVED = "mcp__notes__mark"  # as a tool server's tool is called
STORY: Sequence[Sequence[Block]] = (
    [
        say("I look and write."),
        use("Read", file_path="a.txt"),
        use("Write", file_path="b.txt", content="x"),
        use(OWN_BASH, command="cat a.txt; echo done > c.txt"),
        use("Bash", command="touch never"),
        use(f"mcp__agentpane__{SERVED}", line="of a server"),
    ],
    [use("TodoWrite", todos=[{"content": "Look", "status": "completed", "activeForm": "Looking"}])],
    [
        use(
            "AskUserQuestion",
            questions=[
                {
                    "question": "Which colour?",
                    "header": "Colour",
                    "multiSelect": False,
                    "options": [{"label": "red", "description": "r"}, {"label": "blue", "description": "b"}],
                }
            ],
        )
    ],
    [say("All done.")],
)


def serve(*replies: Sequence[Block] | Reply) -> ScriptedServer:
    """A model whose answers have names of their own: the program takes equal names for one answer."""

    def script(number: int, body: Mapping[str, object]) -> Reply:
        reply = replies[min(number, len(replies) - 1)]
        if isinstance(reply, Sequence):
            reply = Answer(reply)
        if isinstance(reply, Answer):
            return Stream(reply.stream().replace(b"msg_local", b"msg_%d" % number))
        return reply

    return ScriptedServer(script=script)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    try:
        find_program()
    except AgentPaneError:
        pytest.skip("Claude Code is not installed: the stand-in alone was tested (pip install 'agentpane[claude]')")
    with ExitStack() as stack:
        made = Place(tmp_path, stack)
        made.worktree.mkdir()
        (made.worktree / "a.txt").write_text("hello\n")
        yield made


async def play(place: Place, events: list[BackendEvent], host: Host, **changes: Any) -> None:
    ours: dict[str, Any] = {"tools": CLAUDE_TOOLS, "extra_tools": (Mark(name=SERVED),)}
    backend = ClaudeCodeBackend()
    try:
        async with aclosing(backend.play(place.brief(ours | changes), host)) as told:
            async for event in told:
                events.append(event)
    finally:
        await backend.close()


def shape(events: Sequence[BackendEvent]) -> list[str]:
    """What happened, in an order that does not depend on how quick each call was."""
    kinds = {base.TextDelta, base.ToolOutput, base.ToolStarted, base.ToolFinished}
    in_order = [type(event).__name__ for event in events if type(event) not in kinds]
    started = sorted(f"started {event.call.name} {event.mutates}" for event in of_kind(events, base.ToolStarted))
    ended = sorted(
        f"finished {event.call.name} {event.result.is_error} {event.denied}"
        for event in of_kind(events, base.ToolFinished)
    )
    return in_order + started + ended


async def test_the_real_one_and_the_stand_in_behave_alike(place: Place, tmp_path: Path) -> None:
    real: list[BackendEvent] = []
    host = Host(answer="blue")
    with serve(*STORY) as server:
        await play(place, real, host, endpoint=Endpoint(server.url, api_key=server.key))
        assert {seen.headers["x-api-key"] for seen in server.requests} == {server.key}
        assert "blue" in str(server.requests[-1].messages[-1])
    assert real[-1] == base.Ended("All done.")
    assert sorted(os.listdir(place.worktree)) == ["a.txt", "b.txt", "c.txt", "marks.txt"]
    assert marks(place.worktree) == ["of a server"]
    assert SERVED in [used.tool for used in host.uses]
    asked = list(host.uses)
    for name in ("b.txt", "c.txt", "marks.txt"):
        (place.worktree / name).unlink()
    alike: list[BackendEvent] = []
    second = Host(answer="blue")
    with claude_stand_in(tmp_path / "bin", {"turns": list(STORY)}):
        given = {"endpoint": Endpoint(None, api_key="key"), "state": tmp_path / "other"}
        await play(place, alike, second, **given)
    assert shape(alike) == shape(real)
    assert second.uses == asked
    assert second.questions == host.questions == [("Which colour?", ("red", "blue"))]


async def test_it_pauses_goes_on_and_is_told_what_is_new(place: Place) -> None:
    first: list[BackendEvent] = []
    with serve([say("I begin."), use(OWN_BASH, command="true")], [say("All done.")]) as server:
        endpoint = Endpoint(server.url, api_key=server.key)
        with pytest.raises(base.RunPaused):
            await play(place, first, Host(pause_at=2), endpoint=endpoint)
        assert len(server.requests) == 1
        (named,) = of_kind(first, base.ConversationNamed)
        history = (said("user", "Do the work"), said("assistant", "I begin."), said("user", "Be brief."))
        second: list[BackendEvent] = []
        await play(place, second, Host(), endpoint=endpoint, history=history, conversation=named.name, first_turn=2)
        assert second[-1] == base.Ended("All done.")
        told = str(server.requests[-1].messages)
        assert "I begin." in told
        assert "Be brief." in told


async def test_it_knows_a_conversation_of_another_machine_by_retelling(place: Place) -> None:
    with serve([say("All done.")]) as server:
        events: list[BackendEvent] = []
        history = (said("user", "Do the work"), said("assistant", "I began with it."), said("user", "Go on."))
        await play(
            place,
            events,
            Host(),
            endpoint=Endpoint(server.url, api_key=server.key),
            history=history,
            conversation="11111111-2222-3333-4444-555555555555",
        )
        assert "I began with it." in str(server.requests[-1].messages)
    assert events[-1] == base.Ended("All done.")


async def test_a_denial_is_read_and_a_plan_comes_first(place: Place) -> None:
    write = use("Write", file_path="b.txt", content="x")
    with serve([write], [use("ExitPlanMode", plan="Write b.")], [write], [say("All done.")]) as server:
        events: list[BackendEvent] = []
        await play(place, events, Host(), endpoint=Endpoint(server.url, api_key=server.key), plan=True)
        assert "A plan has to be approved" in str(server.requests[1].messages[-1])
    assert [event.denied is None for event in of_kind(events, base.ToolFinished)] == [False, True, True]
    assert (place.worktree / "b.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(401, "authentication_error", "invalid x-api-key"), ErrorCode.BACKEND_AUTH),
        (Failure(404, "not_found_error", "no such model"), ErrorCode.BACKEND_REFUSED),
        (Failure(400, "invalid_request_error", "Your credit balance is too low."), ErrorCode.BACKEND_RATE_LIMITED),
    ],
    ids=["key", "model", "money"],
)
async def test_faults_of_the_server_are_named(place: Place, failure: Failure, code: ErrorCode) -> None:
    with serve(failure) as server, pytest.raises(AgentPaneError) as caught:
        await play(place, [], Host(), endpoint=Endpoint(server.url, api_key=server.key))
    assert caught.value.code is code
