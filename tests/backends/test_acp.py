"""A conversation in the Agent Client Protocol: taken up, told, counted, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from acp import schema

from agentpane.domain.policy import Judgement, Use, Verdict
from agentpane.domain.runs import PauseReason
from agentpane.domain.tasks import Todo, TodoState
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.base import BackendEvent, Pending, RunPaused, ToolCall
from tests.backends.acp_play import play, steps
from tests.backends.backend_rigs import AcpRig
from tests.backends.conformance import Host, Place, said
from tests.backends.playing import follow
from tests.backends.rig import of_kind


async def test_its_list_its_context_and_its_cost_are_shown(rig: AcpRig, place: Place) -> None:
    plan = {"sessionUpdate": "plan", "entries": [{"content": "Look", "priority": "high", "status": "completed"}]}
    usage = {"sessionUpdate": "usage_update", "used": 900, "size": 1000, "cost": {"amount": 0.25, "currency": "USD"}}
    events = await play(rig, place, steps(["update", plan], ["update", usage], ["usage", 10, 5]))
    assert of_kind(events, base.TodosChanged)[0].todos == (Todo("Look", TodoState.COMPLETED),)
    finished = of_kind(events, base.TurnFinished)[-1]
    assert (finished.context_used, finished.context_window, finished.cost_usd) == (900, 1000, 0.25)
    assert finished.usage == base.Usage(10, 5)


async def test_what_a_prompt_of_several_turns_has_used_is_counted_once(rig: AcpRig, place: Place) -> None:
    told = steps(costs(0.1), ["call", "1", "other", "A", {}], costs(0.25), ["usage", 10, 5])
    events = await play(rig, place, told)
    turns = [(turn.counted, turn.usage, turn.cost_usd) for turn in of_kind(events, base.TurnFinished)]
    assert turns == [(False, None, 0.1), (True, base.Usage(10, 5), pytest.approx(0.15))]


async def test_what_a_prompt_has_used_that_a_pause_broke_off_is_told(rig: AcpRig, place: Place) -> None:
    class Away(Host):
        async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
            raise RunPaused(PauseReason.QUESTION)

    events: list[BackendEvent] = []
    told = steps(["usage", 10, 5], costs(0.1), ["ask", "Which?", ["a"]])
    with pytest.raises(RunPaused):
        async for event in AcpBackend().play(place.brief(rig.scenario(told)), Away()):
            events.append(event)
    (cut,) = of_kind(events, base.ModelCalled)
    spent = sum(turn.cost_usd or 0 for turn in of_kind(events, base.TurnFinished))
    assert (cut.usage, cut.cost_usd + spent) == (base.Usage(10, 5), pytest.approx(0.1))


def costs(amount: float) -> list[Any]:
    cost = {"amount": amount, "currency": "USD"}
    return ["update", {"sessionUpdate": "usage_update", "used": 900, "size": 1000, "cost": cost}]


async def test_without_a_word_about_usage_it_is_unknown(rig: AcpRig, place: Place) -> None:
    events = await play(rig, place, steps())
    assert of_kind(events, base.TurnFinished)[-1].usage is None
    assert of_kind(events, base.TurnFinished)[-1].cost_usd is None


def later(**changes: Any) -> dict[str, Any]:
    history = (said("user", "Do the work"), said("assistant", "I did."), said("user", "Be brief."))
    return {"history": history, "first_turn": 2, **changes}


@pytest.mark.parametrize("how", ["load", "resume"])
async def test_a_conversation_is_taken_up_and_its_past_is_not_told_again(rig: AcpRig, place: Place, how: str) -> None:
    scenario = {"prompts": [[["say", "First."]], [["say", "Second."]]], how: True}
    first = await play(rig, place, scenario)
    (named,) = of_kind(first, base.ConversationNamed)
    second = await play(rig, place, scenario, **later(conversation=named.name))
    assert rig.heard(how)[0]["session"] == named.name
    assert rig.heard("prompt")[-1]["text"] == "Be brief."
    assert [block.text for block in of_kind(second, base.TextBlock)] == ["Second."]


async def test_an_agent_that_remembers_nothing_is_told_everything(rig: AcpRig, place: Place) -> None:
    events = await play(rig, place, steps(), **later(conversation="session-9"))
    told = rig.heard("prompt")[0]["text"]
    assert "Do the work" in told
    assert "I did." in told
    assert told.endswith("Be brief.")
    assert of_kind(events, base.ConversationNamed)


async def test_what_a_person_says_meanwhile_is_said_when_it_has_ended_its_turn(rig: AcpRig, place: Place) -> None:
    scenario = {"prompts": [[["call", "1", "other", "A", {}], ["say", "Then."]], [["say", "Brief."]]]}
    events = await play(rig, place, scenario, Host(says={2: ("Be brief.",)}))
    assert rig.heard("prompt")[1]["text"] == "Be brief."
    assert events[-1] == base.Ended("Brief.")


async def test_a_question_that_waits_pauses_the_run_and_its_answer_is_told_later(rig: AcpRig, place: Place) -> None:
    class Away(Host):
        async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
            raise RunPaused(PauseReason.QUESTION)

    scenario = {"prompts": [[["ask", "Which?", ["a", "b"]]], [["say", "Thanks."]]], "load": True}
    brief = place.brief(rig.scenario(scenario))
    seen: list[BackendEvent] = []
    with pytest.raises(RunPaused):
        async for event in AcpBackend().play(brief, Away()):
            seen.append(event)
    (called,) = of_kind(seen, base.ToolCalled)
    assert called.call.name == "AskUser"
    assert rig.heard("cancel")
    (named,) = of_kind(seen, base.ConversationNamed)
    again = replace(
        brief, conversation=named.name, first_turn=2, pending=(Pending(called.call, started=True),), turns=(0, 1)
    )
    events = await follow(AcpBackend(), again, Host(answer="b"))
    assert "The person answers: b" in rig.heard("prompt")[-1]["text"]
    assert of_kind(events, base.ToolFinished)[0].result.content == "The person answers: b"


async def test_a_conversation_that_is_taken_up_is_put_into_the_mode_that_it_began_in(rig: AcpRig, place: Place) -> None:
    scenario = {"prompts": [[["say", "So."]]], "load": True, "modes": ["default", "yolo"]}
    first = await play(rig, place, scenario)
    (named,) = of_kind(first, base.ConversationNamed)
    await play(rig, place, {**scenario, "modes": ["yolo", "default"]}, **later(conversation=named.name))
    assert [event["mode"] for event in rig.heard("mode")] == ["default"]


# Ends


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ({"auth": True, "prompts": []}, ErrorCode.BACKEND_AUTH),
        ({"version": 7, "prompts": []}, ErrorCode.BACKEND_PROTOCOL),
        ({"prompts": [[["say", "No."], ["stop", "refusal"]]]}, ErrorCode.BACKEND_REFUSED),
        ({"prompts": [[["say", "Hm"], ["stop", "cancelled"]]]}, ErrorCode.AGENT_EXECUTION_ERROR),
        ({"prompts": [[["stop", "max_tokens"]]]}, ErrorCode.BACKEND_CONTEXT_FULL),
        ({"prompts": [[["fail", -32603, "out of luck"]]]}, ErrorCode.AGENT_EXECUTION_ERROR),
        ({"prompts": [[["fail", -32000, "sign in"]]]}, ErrorCode.BACKEND_AUTH),
        ({"prompts": [[["garbage", '{"jsonrpc":"2.0","method":"session/update","params":{"update":4}}'], ["wait"]]]},
         ErrorCode.BACKEND_PROTOCOL),
        ({"prompts": [[["garbage", "[1]"], ["wait"]]]}, ErrorCode.BACKEND_PROTOCOL),
    ],
)  # fmt: skip
async def test_each_bad_end_has_its_code(rig: AcpRig, place: Place, scenario: dict[str, Any], code: ErrorCode) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await play(rig, place, scenario)
    assert caught.value.code is code
    assert caught.value.hint


async def test_a_crash_is_told_with_its_last_words(rig: AcpRig, place: Place) -> None:
    with pytest.raises(AgentPaneError, match=r"exit code 3.*lost the thread"):
        await play(rig, place, steps(["crash", 3]))


async def test_its_own_limit_of_requests_pauses_the_run(rig: AcpRig, place: Place) -> None:
    with pytest.raises(RunPaused) as caught:
        await play(rig, place, {"prompts": [[["stop", "max_turn_requests"]]]})
    assert caught.value.reason is PauseReason.TURN_LIMIT


async def test_a_cut_answer_goes_on(rig: AcpRig, place: Place) -> None:
    scenario = {"prompts": [[["say", "Hal"], ["stop", "max_tokens"]], [["say", "f."]]]}
    events = await play(rig, place, scenario)
    assert of_kind(events, base.Nudged)
    assert events[-1] == base.Ended("f.")


async def test_updates_of_a_newer_protocol_are_passed_over(rig: AcpRig, place: Place) -> None:
    newer = '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"dance"}}}'
    events = await play(rig, place, steps(["garbage", newer]))
    assert events[-1] == base.Ended("All done.")


async def test_a_message_of_two_megabytes_is_read(rig: AcpRig, place: Place) -> None:
    words = "x" * 2_000_000
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": words}}
    events = await play(rig, place, {"prompts": [[["update", update]]]})
    assert of_kind(events, base.TextBlock)[0].text == words


MESSAGES = {
    "initialize": schema.InitializeRequest,
    "session/new": schema.NewSessionRequest,
    "session/load": schema.LoadSessionRequest,
    "session/set_mode": schema.SetSessionModeRequest,
    "session/set_config_option": schema.SetSessionConfigOptionSelectRequest,
    "session/prompt": schema.PromptRequest,
    "session/cancel": schema.CancelNotification,
}
ANSWERS = (
    schema.RequestPermissionResponse,
    schema.ReadTextFileResponse,
    schema.CreateTerminalResponse,
    schema.WaitForTerminalExitResponse,
    schema.TerminalOutputResponse,
    schema.ReleaseTerminalResponse,
    schema.WriteTextFileResponse,
    schema.AcceptElicitationResponse,
)


async def test_all_that_it_hears_is_in_the_words_of_the_protocol(rig: AcpRig, place: Place) -> None:
    class Away(Host):
        async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
            raise RunPaused(PauseReason.QUESTION)

    (place.worktree / "a.txt").write_text("one")
    first = [
        ["call", "1", "execute", "Run", {"command": "true"}, "allow_once"],
        ["read", "a.txt"],
        ["terminal", "true"],
        ["write", "b.txt", "b"],
        ["ask", "Which?", ["a", "b"]],
    ]
    scenario = {"prompts": [first, [["ask", "Really?", ["yes"]]]], "load": True, "modes": ["default", "plan"]}
    told = {**scenario, "models": ["small", "large"]}
    brief = place.brief(rig.scenario(told), plan=True)
    brief = replace(brief, agent=replace(brief.agent, model="large"))
    await follow(AcpBackend(), brief, Planned(answer="b"))
    with pytest.raises(RunPaused):
        await follow(AcpBackend(), replace(brief, **later(conversation="session-1"), plan=False), Away())
    lines = (place.state / "home" / "wire.jsonl").read_text().splitlines()
    requests = [message for message in map(json.loads, lines) if "method" in message]
    assert {message["method"] for message in requests} == set(MESSAGES)
    for message in requests:
        MESSAGES[message["method"]].model_validate(message["params"])
    answers = [message["result"] for message in map(json.loads, lines) if "result" in message]
    for answer, model in zip(answers, ANSWERS, strict=False):
        model.model_validate(answer)
    assert len(answers) >= len(ANSWERS)


class Planned(Host):
    """Approves every plan."""

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        return Verdict(Judgement.ALLOW, "approved by ada")
