"""What every backend must do, whoever does the thinking. What one cannot have is what it says that it cannot have."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.base import BackendEvent
from tests.backends.backend_rigs import RIGS
from tests.backends.conformance import (
    Ask,
    Crash,
    Daemon,
    Garbage,
    Host,
    Leave,
    Place,
    Rig,
    Say,
    Step,
    Wait,
    continued,
)
from tests.backends.playing import BOUND, check_order, follow, fresh_token, survivors
from tests.backends.rig import marks, of_kind

STORY: Sequence[Step] = (Say("I begin with the work that I was given."), Leave("one"), Say("All done."))


@pytest.fixture(params=RIGS, ids=[rig.name for rig in RIGS])
def rig(request: pytest.FixtureRequest, place: Place) -> Rig:
    made: Rig = request.param(place)
    return made


async def play(rig: Rig, place: Place, story: Sequence[Step], host: Host | None = None) -> list[BackendEvent]:
    backend, more = rig.prepare(story)
    return await follow(backend, place.brief(more), host)


async def until_running(token: str) -> None:
    async with asyncio.timeout(BOUND):
        while not survivors(token):  # noqa: ASYNC110 - processes are announced by nobody
            await asyncio.sleep(0.02)


async def test_a_story_is_told_from_its_start_to_its_end(rig: Rig, place: Place) -> None:
    backend, more = rig.prepare(STORY)
    host = Host()
    events = await follow(backend, place.brief(more, first_turn=4), host)
    check_order(events)
    assert backend.name == rig.name
    assert host.turns[0] == 4
    assert isinstance(events[-1], base.Ended)
    assert "All done." in events[-1].text
    assert marks(place.worktree) == ["one"]
    assert "Do the work" in rig.told()


async def test_what_is_said_streams_and_is_whole_at_the_end(rig: Rig, place: Place) -> None:
    words = "A sentence that is long enough to come in several pieces, with ümlauts and 🦜."
    events = await play(rig, place, (Say(words),))
    assert "".join(event.text for event in of_kind(events, base.TextDelta)).strip() == words
    assert [block.text for block in of_kind(events, base.TextBlock)] == [words]


async def test_a_call_is_announced_started_and_finished(rig: Rig, place: Place) -> None:
    events = await play(rig, place, STORY)
    (called,) = of_kind(events, base.ToolCalled)
    (started,) = of_kind(events, base.ToolStarted)
    (finished,) = of_kind(events, base.ToolFinished)
    assert called.call == started.call == finished.call
    assert started.mutates
    assert started.rule == "policy: free"
    assert not finished.result.is_error
    own_tool = called.call.name in ("Mark", "Edit", "Write")
    assert own_tool == rig.abilities.tools  # without tools the whole run is the one call
    assert of_kind(events, base.TurnFinished)[0].stop_reason == "tool_use"


async def test_a_denied_call_has_no_effect_and_the_agent_learns_why(rig: Rig, place: Place) -> None:
    backend, more = rig.prepare(STORY)
    host, events = Host(deny=True), []
    try:
        async with aclosing(backend.play(place.brief(more), host)) as told:
            async for event in told:
                events.append(event)
        went_on = True
    except AgentPaneError as error:
        assert error.code is ErrorCode.AGENT_TOOL_NOT_ALLOWED
        assert "not today" in error.message
        went_on = False
    finally:
        await backend.close()
    assert went_on == rig.abilities.goes_on_after_denial
    assert len(host.asked) == 1
    assert marks(place.worktree) == []
    (finished,) = of_kind(events, base.ToolFinished)
    assert finished.denied == "not today"
    assert finished.result.is_error
    assert not of_kind(events, base.ToolStarted)
    if rig.abilities.tools:  # where the denied call is the whole run, nothing is left that could be told
        assert "not today" in rig.told()


async def test_a_question_reaches_a_person_and_its_answer_the_agent(rig: Rig, place: Place) -> None:
    host = Host(answer="blue")
    events = await play(rig, place, (Ask("Which colour?", ("red", "blue")), Say("All done.")), host)
    assert isinstance(events[-1], base.Ended)
    if not rig.abilities.asks:
        assert host.questions == []
        assert "nobody answers" in events[-1].text  # it is told so at once, and waits for nothing
        return
    ((question, options),) = host.questions
    assert "Which colour?" in question
    assert options == ("red", "blue")
    assert any("blue" in finished.result.content for finished in of_kind(events, base.ToolFinished))


async def test_stopping_in_the_middle_leaves_nothing(rig: Rig, place: Place) -> None:
    token = fresh_token()
    before = asyncio.all_tasks()
    backend, more = rig.prepare((Say("I wait."), Daemon(f"{token}1"), Wait(f"{token}2")))
    running = asyncio.create_task(follow(backend, place.brief(more)))
    await until_running(f"{token}2")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert survivors(token) == []
    if left := asyncio.all_tasks() - before:
        await asyncio.wait(left, timeout=10)
    assert asyncio.all_tasks() == before


async def test_a_crash_in_the_middle_is_an_error_and_what_was_done_stays(rig: Rig, place: Place) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await play(rig, place, (Say("I begin."), Leave("one"), Crash()))
    assert caught.value.code is rig.abilities.crash
    assert caught.value.hint
    assert marks(place.worktree) == ["one"]


async def test_what_an_agent_left_running_ends_with_its_run(rig: Rig, place: Place) -> None:
    token = fresh_token()
    events = await play(rig, place, (Daemon(token), Say("All done.")))
    assert isinstance(events[-1], base.Ended)
    assert (place.worktree / "daemon").exists()
    assert survivors(token) == []


async def test_a_run_that_goes_on_knows_what_was_said_since(rig: Rig, place: Place) -> None:
    backend, more = rig.prepare(STORY)
    brief = place.brief(more)
    first = await follow(backend, brief)
    assert "be brief" not in rig.told()
    again = continued(brief, first, "Not like that: be brief.")
    second = await follow(rig.restarted(), again)
    check_order(second)
    assert isinstance(second[-1], base.Ended)
    assert of_kind(second, base.TurnStarted)[0].turn == again.first_turn
    assert "be brief" in rig.told()
    assert not (again.conversation and of_kind(second, base.ConversationNamed))  # the conversation is the same


async def test_usage_is_reported_or_said_to_be_unknown(rig: Rig, place: Place) -> None:
    turns = of_kind(await play(rig, place, STORY), base.TurnFinished)
    finished = turns[-1]
    assert finished.counted
    assert all(turn.usage is None for turn in turns if not turn.counted)  # it comes with a later one
    if not rig.abilities.usage:
        assert finished.usage is None
        assert finished.cost_usd is None
        return
    assert finished.usage is not None
    assert finished.usage.input > 0
    assert finished.usage.output > 0


async def test_gibberish_is_never_taken_for_an_answer(rig: Rig, place: Place) -> None:
    story = (Say("I begin."), Leave("one"), Garbage(), Say("All done."))
    if rig.abilities.malformed is None:
        events = await play(rig, place, story)
        text = "".join(event.text for event in of_kind(events, base.TextBlock))
        assert "\x1b" not in text
        assert "red" in text  # whatever a command prints is text
        return
    with pytest.raises(AgentPaneError) as caught:
        await play(rig, place, story)
    assert caught.value.code is rig.abilities.malformed
    assert marks(place.worktree) == ["one"]


async def test_the_host_can_pause_before_a_turn(rig: Rig, place: Place) -> None:
    backend, more = rig.prepare(STORY)
    with pytest.raises(base.RunPaused):
        await follow(backend, place.brief(more), Host(pause_at=1))
    assert marks(place.worktree) == []


async def test_many_runs_share_one_backend(rig: Rig, place: Place) -> None:
    backend, more = rig.prepare((Say("All done."),))

    async def one(number: int) -> base.BackendEvent:
        brief = place.brief(more, state=place.folder / f"state-{number}")
        events: list[BackendEvent] = []
        async with aclosing(backend.play(brief, Host())) as told:
            async for event in told:
                events.append(event)
        return events[-1]

    ended = await asyncio.gather(*(one(number) for number in range(3)))
    await backend.close()
    assert ended == [base.Ended("All done.")] * 3
