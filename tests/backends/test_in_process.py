"""What the backends that play their tools in this process do, with a real server behind each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentpane.orchestrator.backends.base import (
    Backend,
    BackendEvent,
    Ended,
    Endpoint,
    RunPaused,
    TextBlock,
    TextDelta,
    ToolCalled,
    ToolFinished,
    ToolOutput,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend
from agentpane.orchestrator.backends.recorded import RecordedBackend
from agentpane.orchestrator.backends.recorded.recording import RecordedCall, RecordedTurn, Recording
from tests.backends.rig import Hurry, Look, Mark, TestHost, Wait, box, make_brief, marks, of_kind, pending, play
from tests.backends.wire import ScriptedServer, say, use

Turn = tuple[str, list[tuple[str, dict[str, object], str, bool]]]  # text, and calls: name, input, result, is_error

LOOK: tuple[str, dict[str, object], str, bool] = ("Look", {"at": "a"}, "saw a", False)
MARK: tuple[str, dict[str, object], str, bool] = ("Mark", {"line": "one"}, "wrote one", False)
STORY: list[Turn] = [("I look first.", [LOOK]), ("Now I write.", [MARK]), ("All done.", [])]


@dataclass
class Rig:
    """One kind of backend, and how to make it think what a test wants."""

    kind: str
    wait: Wait = field(default_factory=Wait)
    stack: ExitStack = field(default_factory=ExitStack)
    backends: list[Backend] = field(default_factory=list)

    def backend(self, story: Sequence[Turn]) -> tuple[Backend, Endpoint]:
        tools = box(Look(), Mark(), self.wait)
        if self.kind == "recorded":
            turns = tuple(
                RecordedTurn(text, tuple(RecordedCall(*call) for call in calls), False) for text, calls in story
            )
            made: Backend = RecordedBackend(
                0, lambda: [Recording("k", "Do the work", turns)], Hurry().patience(), tools
            )
            endpoint = Endpoint(None)
        else:
            blocks = [[say(text), *(use(name, **given) for name, given, _, _ in calls)] for text, calls in story]
            server = self.stack.enter_context(ScriptedServer(blocks))
            made = MessagesApiBackend(Hurry().patience(), tools)
            endpoint = Endpoint(server.url, api_key=server.key)
        self.backends.append(made)
        return made, endpoint


@pytest.fixture(params=["anthropic", "recorded"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = Rig(request.param)
    yield made
    for backend in made.backends:
        await backend.close()
    made.stack.close()


def shape(events: Sequence[BackendEvent]) -> list[str]:
    """The names of the events, deltas and output aside."""
    return [type(event).__name__ for event in events if not isinstance(event, TextDelta | ToolOutput)]


async def test_a_story_is_told_from_its_start_to_its_end(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    host = TestHost()
    events = await play(backend, make_brief(tmp_path, endpoint), host)
    tool_turn = ["TurnStarted", "TextBlock", "ToolCalled", "TurnFinished", "ToolStarted", "ToolFinished"]
    assert shape(events) == [*tool_turn, *tool_turn, "TurnStarted", "TextBlock", "TurnFinished", "Ended"]
    assert host.turns == [1, 2, 3]
    assert host.asked == ["Look a", "Mark one"]
    assert events[-1] == Ended("All done.")
    assert marks(tmp_path) == ["one"]
    assert backend.name == rig.kind


async def test_text_comes_in_pieces_that_make_up_its_block(rig: Rig, tmp_path: Path) -> None:
    words = "A sentence that is long enough to come in several pieces, with ümlauts and 🦜."
    backend, endpoint = rig.backend([(words, [])])
    events = await play(backend, make_brief(tmp_path, endpoint))
    pieces = [event.text for event in of_kind(events, TextDelta)]
    assert len(pieces) > 2
    assert "".join(pieces) == words
    assert of_kind(events, TextBlock) == [TextBlock(1, words)]


async def test_a_finished_turn_says_what_it_used(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend([("Done.", [])])
    (finished,) = of_kind(await play(backend, make_brief(tmp_path, endpoint)), TurnFinished)
    assert finished.stop_reason == "end_turn"
    assert finished.usage.input > 0
    assert finished.usage.output > 0
    assert finished.request_id
    assert (finished.cost_usd == 0.0) == (rig.kind == "recorded")  # a recorded answer costs nothing


async def test_a_tools_output_is_shown_while_it_runs(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    events = await play(backend, make_brief(tmp_path, endpoint))
    assert [event.text for event in of_kind(events, ToolOutput)] == ["writing one"]


async def test_a_denied_call_has_no_effect_and_the_agent_reads_why(rig: Rig, tmp_path: Path) -> None:
    denied: Turn = ("I write.", [("Mark", {"line": "one"}, "The call was not carried out: not today", True)])
    backend, endpoint = rig.backend([denied, ("Then not.", [])])
    events = await play(backend, make_brief(tmp_path, endpoint), TestHost(denied=frozenset({"Mark"})))
    (finished,) = of_kind(events, ToolFinished)
    assert finished.denied == "not today"
    assert finished.result.is_error
    assert not of_kind(events, ToolStarted)
    assert marks(tmp_path) == []
    assert events[-1] == Ended("Then not.")


async def test_the_host_can_pause_before_a_turn(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    host = TestHost(pause_at=2)
    with pytest.raises(RunPaused):
        await play(backend, make_brief(tmp_path, endpoint), host)
    assert host.turns == [1]
    assert marks(tmp_path) == []


async def test_the_host_can_pause_at_a_call_which_then_has_not_started(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    with pytest.raises(RunPaused):
        await play(backend, make_brief(tmp_path, endpoint), TestHost(ask_for=frozenset({"Mark"})))
    assert marks(tmp_path) == []


async def test_stopping_in_the_middle_ends_the_running_tool(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend([("I wait.", [("Wait", {}, "", False)]), ("Done.", [])])
    running = asyncio.create_task(play(backend, make_brief(tmp_path, endpoint)))
    async with asyncio.timeout(20):
        await rig.wait.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.wait.ended.is_set()


async def test_closing_the_iteration_early_leaves_nothing_behind(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    before = asyncio.all_tasks()
    async with aclosing(backend.play(make_brief(tmp_path, endpoint), TestHost())) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    await backend.close()
    if left := asyncio.all_tasks() - before:  # what the SDK drops is closed by the loop, a moment later
        await asyncio.wait(left, timeout=10)
    assert asyncio.all_tasks() == before


def after_first_turn(story: Sequence[Turn]) -> list[dict[str, object]]:
    """The history of a run whose first turn was stored, with ids of its own."""
    text, calls = story[0]
    blocks: list[dict[str, object]] = [{"type": "text", "text": text}]
    blocks += [
        {"type": "tool_use", "id": f"old_{number}", "name": name, "input": given}
        for number, (name, given, _, _) in enumerate(calls)
    ]
    task: dict[str, object] = {"role": "user", "content": [{"type": "text", "text": "Do the work"}]}
    return [task, {"role": "assistant", "content": blocks}]


async def test_a_resumed_run_carries_out_the_call_that_had_not_started(rig: Rig, tmp_path: Path) -> None:
    story: list[Turn] = [("I write.", [MARK]), ("All done.", [])]
    backend, endpoint = rig.backend(story)
    brief = make_brief(
        tmp_path,
        endpoint,
        history=tuple(after_first_turn(story)),
        pending=(pending("old_0", "Mark", started=False, line="one"),),
        first_turn=2,
    )
    host = TestHost()
    events = await play(backend, brief, host)
    assert shape(events) == ["ToolStarted", "ToolFinished", "TurnStarted", "TextBlock", "TurnFinished", "Ended"]
    assert [event.turn for event in of_kind(events, TurnStarted)] == [2]
    assert host.asked == ["Mark one"]
    assert marks(tmp_path) == ["one"]


async def test_results_that_are_known_are_not_asked_for_again(rig: Rig, tmp_path: Path) -> None:
    story: list[Turn] = [("I look and write.", [LOOK, MARK]), ("All done.", [])]
    backend, endpoint = rig.backend(story)
    known = {"type": "tool_result", "tool_use_id": "old_0", "content": "saw a", "is_error": False}
    brief = make_brief(
        tmp_path,
        endpoint,
        history=tuple(after_first_turn(story)),
        results=(known,),
        pending=(pending("old_1", "Mark", started=False, line="one"),),
        first_turn=2,
    )
    events = await play(backend, brief)
    assert [event.call.name for event in of_kind(events, ToolFinished)] == ["Mark"]
    assert events[-1] == Ended("All done.")


async def test_a_call_that_had_started_is_reported_as_unknown_and_never_repeated(rig: Rig, tmp_path: Path) -> None:
    unknown: tuple[str, dict[str, object], str, bool] = ("Mark", {"line": "one"}, "", True)
    story: list[Turn] = [("I write.", [unknown]), ("I looked: it is there.", [])]
    backend, endpoint = rig.backend(story)
    brief = make_brief(
        tmp_path,
        endpoint,
        history=tuple(after_first_turn(story)),
        pending=(pending("old_0", "Mark", started=True, line="one"),),
        first_turn=2,
    )
    host = TestHost()
    events: list[BackendEvent] = []
    if rig.kind == "recorded":  # its recording has the real result, and it refuses to go on from another
        with pytest.raises(Exception, match="differs from the recording"):
            events = await play(backend, brief, host)
    else:
        events = await play(backend, brief, host)
        (finished,) = of_kind(events, ToolFinished)
        assert "unknown" in finished.result.content
        assert finished.result.is_error
    assert host.asked == []
    assert marks(tmp_path) == []


async def test_what_the_person_says_meanwhile_is_read_with_the_next_turn(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    events = await play(backend, make_brief(tmp_path, endpoint), TestHost(says={2: ("Be brief.",)}))
    assert events[-1] == Ended("All done.")


async def test_many_runs_share_one_backend(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    folders = [tmp_path / str(number) for number in range(6)]
    for folder in folders:
        folder.mkdir()
    stories = await asyncio.gather(*(play(backend, make_brief(folder, endpoint)) for folder in folders))
    assert all(events[-1] == Ended("All done.") for events in stories)
    assert [marks(folder) for folder in folders] == [["one"]] * 6


async def test_calls_come_with_their_parsed_input(rig: Rig, tmp_path: Path) -> None:
    backend, endpoint = rig.backend(STORY)
    events = await play(backend, make_brief(tmp_path, endpoint))
    assert [event.call.input for event in of_kind(events, ToolCalled)] == [{"at": "a"}, {"line": "one"}]
