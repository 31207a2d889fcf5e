"""What an agent that speaks the Agent Client Protocol may do here, and what becomes of what it asks for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from acp import schema

from agentpane.domain.acp_presets import CLAUDE, CODEX, GEMINI, PRESETS, is_model_variable
from agentpane.domain.agents import AgentConfig
from agentpane.domain.policy import Effect, Judgement, Use, Verdict
from agentpane.domain.runs import PauseReason
from agentpane.domain.sandbox import EVERYWHERE, Network, NetworkMode
from agentpane.domain.tasks import Todo, TodoState
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.acp.launching import bring_sign_in, installation, network_of, own_keys, program_of
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Endpoint, Pending, RunPaused, ToolCall
from tests.backends.conformance import AcpRig, Host, Place, said
from tests.backends.rig import of_kind
from tests.backends.test_conformance import check_order, follow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        made = Place(tmp_path, stack)
        made.worktree.mkdir()
        made.state.mkdir()
        yield made


@pytest.fixture
def rig(place: Place) -> AcpRig:
    return AcpRig(place)


async def play(
    rig: AcpRig, place: Place, scenario: Mapping[str, Any], host: Host | None = None, **changes: Any
) -> list[BackendEvent]:
    events = await follow(AcpBackend(), place.brief(rig.scenario(dict(scenario)), **changes), host)
    check_order(events)
    return events


def steps(*told: list[Any]) -> dict[str, Any]:
    return {"prompts": [[*told, ["say", "All done."]]]}


# Files


async def test_its_files_are_read_and_written_by_us_inside_the_worktree_only(rig: AcpRig, place: Place) -> None:
    (place.worktree / "a.txt").write_text("one\ntwo\n")
    (place.folder / "secret").write_text("secret")
    (place.worktree / "link").symlink_to(place.folder / "secret")
    outside, link = str(place.folder / "secret"), str(place.worktree / "link")
    host = Host()
    told = steps(
        ["read", str(place.worktree / "a.txt")],
        ["read", outside],
        ["read", link],
        ["write", str(place.worktree / "new/b.txt"), "b"],
        ["write", outside, "mine"],
        ["write", link, "mine"],
        ["write", str(place.worktree / ".git"), "mine"],
    )
    events = await play(rig, place, told, host)
    reads = rig.heard("read")
    assert reads[0]["content"] == "one\ntwo\n"
    assert all("error" in read for read in reads[1:])
    assert "outside the worktree" in reads[1]["data"]["details"]
    assert len(rig.heard("write")) == 3
    assert (place.worktree / "new" / "b.txt").read_text() == "b"
    assert (place.folder / "secret").read_text() == "secret"
    assert not (place.worktree / ".git").exists()
    assert Use("Edit", Effect.WRITE, path=outside) in host.uses  # the policy sees where it leads
    assert "+b" in "".join(host.details)
    assert sum(event.result.is_error for event in of_kind(events, base.ToolFinished)) == 5


async def test_a_denied_write_of_a_file_does_not_happen_and_it_reads_why(rig: AcpRig, place: Place) -> None:
    events = await play(rig, place, steps(["write", str(place.worktree / "b.txt"), "b"]), Host(deny=True))
    assert not (place.worktree / "b.txt").exists()
    assert "not today" in rig.heard("write")[0]["data"]["details"]
    assert of_kind(events, base.ToolFinished)[0].denied == "not today"


# Commands


async def test_its_terminals_run_in_our_sandbox_without_its_key(rig: AcpRig, place: Place) -> None:
    told = steps(["terminal", "echo $HOME; env | grep -c ^ANTHROPIC; exit 3"], ["terminal", "printf", "%s", "a b"])
    host = Host()
    events = await play(rig, place, told, host)
    first, second = rig.heard("terminal")
    home, count = first["output"].split()
    assert str(place.state) not in home
    assert (count, first["exit_code"]) == ("0", 3)
    assert (second["output"], second["exit_code"]) == ("a b", 0)
    assert [use.command for use in host.uses] == [told["prompts"][0][0][1], "printf %s 'a b'"]
    assert "a b" in "".join(event.text for event in of_kind(events, base.ToolOutput))


async def test_a_terminal_that_is_killed_says_so_and_leaves_nothing(rig: AcpRig, place: Place) -> None:
    await play(rig, place, steps(["kill_terminal", "sleep 600"]))
    assert rig.heard("killed")[0]["signal"] == "SIGKILL"


async def test_a_denied_command_does_not_run(rig: AcpRig, place: Place) -> None:
    await play(rig, place, steps(["terminal", "touch here"]), Host(deny=True))
    assert not (place.worktree / "here").exists()
    assert "not today" in rig.heard("terminal")[0]["data"]["details"]


async def test_what_was_asked_for_in_so_many_words_is_not_asked_again(rig: AcpRig, place: Place) -> None:
    mark = str(place.worktree / "a.txt")
    given = {"path": mark, "content": "a", "really": "a"}
    host = Host()
    asked = ["call", "1", "edit", "Write it", given, "allow_once"]
    await play(rig, place, steps(asked, ["write", mark, "b"]), host)
    assert (place.worktree / "a.txt").read_text() == "b"
    assert len(host.uses) == 2  # the permission, and what was written without one


async def test_what_is_written_is_asked_about_when_it_is_not_what_was_shown(rig: AcpRig, place: Place) -> None:
    mark = str(place.worktree / "a.txt")
    host = Host()
    given = {"path": mark, "content": "harmless", "really": "harmful"}
    await play(rig, place, steps(["call", "1", "edit", "Write it", given, "allow_once"]), host)
    shown, really = host.details
    assert ("+harmless" in shown, "+harmful" in shown) == (True, False)
    assert ("+harmless" in really, "+harmful" in really) == (False, True)


async def test_a_command_is_judged_with_the_variables_that_are_set_for_it(rig: AcpRig, place: Place) -> None:
    host = Host()
    (place.worktree / "sub").mkdir()
    told = steps(
        ["terminal_with", {"GREETING": "hello you"}, 'echo "$GREETING"'],
        ["terminal_in", str(place.worktree / "sub"), {"A": "1"}, "true; pwd"],
        ["terminal_with", {"A=1; rm -rf . #": "x"}, "true"],
    )
    await play(rig, place, told, host)
    first, second, refused = rig.heard("terminal")
    assert first["output"] == "hello you\n"
    assert second["output"] == f"{place.worktree}/sub\n"
    assert "No variable can be called" in refused["data"]["details"]
    judged = ["GREETING='hello you' echo \"$GREETING\"", "cd sub && export A=1 && true; pwd"]
    assert [use.command for use in host.uses] == judged
    assert host.details == judged


CHECK = {"command": "./check.sh"}


@pytest.mark.parametrize(
    ("given", "where", "variables", "judged"),
    [
        (CHECK, ".", {}, ["./check.sh"]),
        (CHECK, "sub", {}, ["./check.sh", "cd sub && ./check.sh"]),
        (CHECK, ".", {"BASH_ENV": "/evil"}, ["./check.sh", "BASH_ENV=/evil ./check.sh"]),
        ({**CHECK, "cwd": "sub", "env": {"A": "1"}}, "sub", {"A": "1"}, ["cd sub && A=1 ./check.sh"]),
        ({**CHECK, "cwd": "sub", "env": [{"name": "A", "value": "1"}]}, ".", {"A": "1"},
         ["cd sub && A=1 ./check.sh", "A=1 ./check.sh"]),
    ],
)  # fmt: skip
async def test_a_permission_is_for_the_command_where_and_with_what_it_was_shown(
    rig: AcpRig, place: Place, given: dict[str, Any], where: str, variables: dict[str, str], judged: list[str]
) -> None:
    (place.worktree / "sub").mkdir()
    host = Host()
    terminal = [str(place.worktree / where), variables, "./check.sh"]
    await play(rig, place, steps(["call", "1", "execute", "Run", {**given, "terminal": terminal}, "allow_once"]), host)
    assert [use.command for use in host.uses] == judged
    assert host.details == judged


async def test_no_variable_of_a_terminal_reaches_what_starts_the_sandbox(rig: AcpRig, place: Place) -> None:
    outside = place.folder / "outside"
    outside.mkdir()
    variables = {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(outside / "written")}
    await play(rig, place, steps(["terminal_with", variables, "echo ran"]))
    assert "ran\n" in rig.heard("terminal")[0]["output"]
    assert list(outside.iterdir()) == []


# Permissions


@pytest.mark.parametrize(
    ("kinds", "deny", "chosen"),
    [
        ("allow_always allow_once reject_once", False, "o-allow_once"),
        ("allow_always reject_once", False, "o-allow_always"),
        ("allow_once reject_always reject_once", True, "o-reject_once"),
        ("allow_once", True, None),
    ],
)
async def test_the_answer_is_for_once_where_it_can_be(
    rig: AcpRig, place: Place, kinds: str, deny: bool, chosen: str | None
) -> None:
    given = {"command": "true"}
    await play(rig, place, steps(["call", "1", "execute", "Run", given, kinds]), Host(deny=deny))
    permission = rig.heard("permission")[0]  # a denied one is tried again, having been told why
    assert permission["option"] == chosen
    assert (permission["outcome"] == "cancelled") == (chosen is None)


async def test_the_policy_is_asked_about_what_a_call_would_do(rig: AcpRig, place: Place) -> None:
    calls: list[tuple[str, dict[str, Any], Use]] = [
        ("read", {"path": "a.txt"}, Use("Read", Effect.READ, path="a.txt")),
        ("delete", {"path": "/etc/passwd"}, Use("Delete", Effect.WRITE, path="/etc/passwd")),
        ("execute", {"command": ["sh", "-c", "true | wc"]}, Use("Bash", Effect.EXECUTE, command="true | wc")),
        ("fetch", {"url": "https://example.com/a"}, Use("WebFetch", Effect.FETCH, host="example.com")),
        ("other", {"x": 1}, Use("Other", Effect.OTHER)),
    ]
    (place.worktree / "a.txt").write_text("x")
    host = Host()
    told = [["call", str(number), kind, "A call", given, "allow_once"] for number, (kind, given, _) in enumerate(calls)]
    await play(rig, place, steps(*told), host)
    assert host.uses == [use for _, _, use in calls]


async def test_a_call_of_several_files_is_allowed_only_if_each_of_them_is(rig: AcpRig, place: Place) -> None:
    update = {
        "sessionUpdate": "tool_call",
        "toolCallId": "1",
        "title": "Edit two",
        "kind": "move",
        "status": "pending",
        "content": [{"type": "diff", "path": path, "newText": "x"} for path in ("a.txt", "/etc/hosts")],
    }
    host = Host()
    await play(rig, place, steps(["update", update], ["call", "1", "move", "Edit two", {}, "allow_once"]), host)
    assert [use.path for use in host.uses] == ["a.txt", "/etc/hosts"]


# Conversations


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


# Plans


class Planner(Host):
    """Approves a plan once it has heard of two."""

    plans: tuple[str, ...] = ()

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        self.uses.append(use)
        if use.tool != "ExitPlanMode":
            return Verdict(Judgement.ALLOW, "policy: free")
        self.plans = (*self.plans, detail)
        allowed = len(self.plans) > 1
        edited = {"plan": "Second, better"} if allowed else None
        return Verdict(Judgement.ALLOW, "approved by ada", edited) if allowed else Verdict(Judgement.DENY, "too vague")


async def test_a_plan_is_proposed_rejected_changed_and_then_carried_out(rig: AcpRig, place: Place) -> None:
    prompts = [[["say", "Plan one"]], [["say", "Plan two"]], [["say", "Carried out."]]]
    host = Planner()
    scenario = {"prompts": prompts, "modes": ["default", "plan"], "load": True}
    events = await play(rig, place, scenario, host, plan=True)
    assert host.plans == ("Plan one", "Plan two")
    texts = [event["text"] for event in rig.heard("prompt")]
    assert "too vague" in texts[1]
    assert texts[2] == "The plan is approved with changes. Carry out this one:\n\nSecond, better"
    assert [event["mode"] for event in rig.heard("mode")] == ["plan"]  # the next process begins in its first one
    assert [event["session"] for event in rig.heard("load")] == ["session-1"]
    assert events[-1] == base.Ended("Carried out.")


WRITES = ["call", "1", "execute", "Write", {"command": "echo new > new.txt; cat new.txt; true"}]  # it asks nobody
PROPOSES = ["call", "2", "switch_mode", "Plan", {"plan": "Write new.txt"}, "allow_once reject_once"]


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("proposal", [["say", "Write new.txt"], PROPOSES])
async def test_a_program_cannot_write_before_its_plan_is_approved_and_then_can(
    rig: AcpRig, place: Place, proposal: list[Any], remembers: bool
) -> None:
    there: list[bool] = []

    class Approves(Host):
        async def decide(
            self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
        ) -> Verdict:
            assert detail == "Write new.txt"
            there.append((place.worktree / "new.txt").exists())
            return Verdict(Judgement.ALLOW, "approved by ada")

    prompts = [[WRITES, proposal], [WRITES]][: 2 if remembers else 1]  # another conversation begins with the first
    scenario = {"prompts": prompts, "load": remembers, "modes": ["default", "plan"]}
    events = await play(rig, place, scenario, Approves(), plan=True)
    assert there[:1] == [False]
    assert (place.worktree / "new.txt").read_text() == "new\n"
    told = rig.heard("prompt")[1]["text"]
    assert told.endswith("The plan is approved. Carry it out.")
    assert ("Write new.txt" in told, "Do the work" in told) == (not remembers, not remembers)
    assert len(of_kind(events, base.ConversationNamed)) == (1 if remembers else 2)
    assert of_kind(events, base.Ended)


async def test_under_a_policy_that_lets_it_read_only_a_program_cannot_write(rig: AcpRig, place: Place) -> None:
    events = await play(rig, place, steps(WRITES), read_only=True)
    assert not (place.worktree / "new.txt").exists()
    assert events[-1] == base.Ended("All done.")


async def test_a_decision_about_one_content_is_none_about_another(rig: AcpRig, place: Place) -> None:
    class Asked(Host):
        calls: tuple[ToolCall, ...] = ()

        async def decide(self, turn: int, call: ToolCall, *more: Any, **named: Any) -> Verdict:
            self.calls = (*self.calls, call)
            return await super().decide(turn, call, *more, **named)

    def edit(number: str, text: str) -> list[list[Any]]:
        diff = [{"type": "diff", "path": "a.txt", "newText": text}]
        told = {"sessionUpdate": "tool_call", "toolCallId": number, "title": "Edit", "kind": "edit", "content": diff}
        return [["update", told], ["call", number, "edit", "Edit", {"path": "a.txt"}, "allow_once"]]

    host = Asked()
    long = "x" * 120_000
    await play(
        rig, place, steps(*edit("1", "a"), *edit("2", "b"), *edit("3", f"{long}a"), *edit("4", f"{long}b")), host
    )
    assert len({json.dumps(call.input) for call in host.calls}) == 4
    assert host.details[2] == host.details[3]  # as far as they are shown
    assert host.details[2].endswith(" characters more]")


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


# What it is started with


async def test_it_sees_its_own_home_and_neither_keys_nor_the_variable_that_upsets_adapters(
    rig: AcpRig, place: Place
) -> None:
    endpoint = Endpoint(None, "secret-key", environment={"OPENAI_API_KEY": "other-key"})
    more = rig.scenario(steps())
    brief = place.brief(more, endpoint=endpoint)
    context = replace(brief.context, environment={**brief.context.environment, "IS_SANDBOX": "yes"})
    await follow(AcpBackend(), replace(brief, context=context))
    environment = rig.heard("new")[0]["environment"]
    assert environment["HOME"] == str(place.state / "home")
    assert "IS_SANDBOX" not in environment
    assert "secret-key" not in json.dumps(environment)
    assert "other-key" not in json.dumps(environment)


async def test_a_call_that_is_in_progress_before_it_is_asked_about_has_not_started(rig: AcpRig, place: Place) -> None:
    call = {"toolCallId": "1", "title": "Run", "kind": "execute", "rawInput": {"command": "true"}}
    begun = {"sessionUpdate": "tool_call", "status": "pending", **call}
    going = {"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "in_progress"}
    asked = ["call", "1", "execute", "Run", {"command": "true"}, "allow_once reject_once"]
    scenario = {"prompts": [[["update", begun], ["update", going], asked], [["say", "I stop."]]]}
    events = await play(rig, place, scenario, Host(deny=True))
    assert not of_kind(events, base.ToolStarted)
    assert of_kind(events, base.ToolFinished)[0].denied == "not today"


def with_endpoint(place: Place, endpoint: Endpoint, network: Network | None = None) -> Brief:
    brief = place.brief({}, endpoint=endpoint)
    return replace(brief, context=replace(brief.context, network=network)) if network else brief


def test_a_program_gets_its_own_keys_and_no_other(place: Place) -> None:
    keys = {"OPENAI_API_KEY": "openai", "GEMINI_API_KEY": "gemini"}
    brief = with_endpoint(place, Endpoint("https://proxy.example", "anthropic", environment=keys))
    claude = own_keys(CLAUDE, brief)
    assert claude == {"ANTHROPIC_API_KEY": "anthropic", "ANTHROPIC_BASE_URL": "https://proxy.example"}
    assert own_keys(CODEX, brief) == {"OPENAI_API_KEY": "openai"}
    assert own_keys(None, brief) == {}


def test_a_program_reaches_its_models_hosts_and_what_the_project_allows(place: Place) -> None:
    plain = with_endpoint(place, Endpoint(None))
    assert network_of(CLAUDE, plain) == Network(NetworkMode.HOSTS, ("api.anthropic.com",))
    assert network_of(None, plain) == Network()
    local = with_endpoint(place, Endpoint("http://127.0.0.1:8123/v1"))
    assert network_of(CLAUDE, local) == Network(NetworkMode.HOSTS, ("127.0.0.1:8123",))
    more = with_endpoint(place, Endpoint(None), Network(NetworkMode.HOSTS, ("docs.example.org",)))
    assert network_of(CLAUDE, more).hosts == ("api.anthropic.com", "docs.example.org")
    assert network_of(CLAUDE, with_endpoint(place, Endpoint(None), EVERYWHERE)) == EVERYWHERE


def test_the_sign_in_state_is_copied_and_nothing_that_the_program_planted_is_followed(tmp_path: Path) -> None:
    person, home, elsewhere = tmp_path / "person", tmp_path / "home", tmp_path / "elsewhere"
    for folder in (person / ".codex", home, elsewhere):
        folder.mkdir(parents=True)
    (person / ".codex" / "auth.json").write_text("first")
    (person / ".codex" / "config.toml").write_text('approval_policy = "never"')
    bring_sign_in(CODEX, person, home)
    assert [(path.name, path.read_text()) for path in (home / ".codex").iterdir()] == [("auth.json", "first")]
    (home / ".codex" / "auth.json").write_text("refreshed by the program")
    bring_sign_in(CODEX, person, home)
    assert (home / ".codex" / "auth.json").read_text() == "refreshed by the program"
    later = (home / ".codex" / "auth.json").stat().st_mtime_ns + 10**9
    (person / ".codex" / "auth.json").write_text("second")
    os.utime(person / ".codex" / "auth.json", ns=(later, later))
    bring_sign_in(CODEX, person, home)
    assert (home / ".codex" / "auth.json").read_text() == "second"
    (home / ".codex" / "auth.json").unlink()
    (home / ".codex").rmdir()
    (home / ".codex").symlink_to(elsewhere)
    bring_sign_in(CODEX, person, home)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ('{"security": {"auth": {"selectedType": "oauth-personal", "more": 1}, "disableYoloMode": false},'
         ' "mcpServers": {"x": {"env": {"TOKEN": "secret"}}}, "tools": {"allowed": ["run_shell_command"]}}',
         {"security": {"auth": {"selectedType": "oauth-personal"}}}),
        ('{"selectedAuthType": "gemini-api-key", "security": []}', {"selectedAuthType": "gemini-api-key"}),
        ('{"selectedAuthType": {"mcpServers": {}}}', {}),
        ("[" * 100_000, None),
    ],
)  # fmt: skip
def test_of_settings_only_how_it_is_signed_in_is_copied(
    tmp_path: Path, settings: str, kept: dict[str, Any] | None
) -> None:
    person, home = tmp_path / "person", tmp_path / "home"
    (person / ".gemini").mkdir(parents=True)
    home.mkdir()
    (person / ".gemini" / "settings.json").write_text(settings)
    (person / ".gemini" / "oauth_creds.json").write_text("a token")
    bring_sign_in(GEMINI, person, home)
    copied = home / ".gemini" / "settings.json"
    assert (json.loads(copied.read_text()) if copied.exists() else None) == kept
    assert (home / ".gemini" / "oauth_creds.json").read_text() == "a token"


async def test_a_conversation_that_is_taken_up_is_put_into_the_mode_that_it_began_in(rig: AcpRig, place: Place) -> None:
    scenario = {"prompts": [[["say", "So."]]], "load": True, "modes": ["default", "yolo"]}
    first = await play(rig, place, scenario)
    (named,) = of_kind(first, base.ConversationNamed)
    await play(rig, place, {**scenario, "modes": ["yolo", "default"]}, **later(conversation=named.name))
    assert [event["mode"] for event in rig.heard("mode")] == ["default"]


@pytest.mark.parametrize(
    "config",
    [
        AgentConfig(),
        AgentConfig(preset="nobody"),
        AgentConfig(preset="codex"),
        AgentConfig(command="no-such-program-here --acp"),
    ],
)
def test_a_program_that_is_not_there_is_said_to_be_missing(
    config: AgentConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AgentPaneError) as caught:
        program_of(config)
    assert caught.value.code is ErrorCode.AGENT_BACKEND_MISSING
    assert caught.value.hint


def test_each_preset_is_started_as_its_program_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for preset in PRESETS.values():
        program = tmp_path / preset.program
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        found = program_of(AgentConfig(preset=preset.name))
        assert found.script.split()[:2] == ["exec", str(program)]
        assert found.path == program
        assert all(is_model_variable(name) for name in preset.keys)
    assert program_of(AgentConfig(preset="gemini")).script.endswith(" --acp --approval-mode default")
    assert program_of(AgentConfig(preset="opencode")).script.endswith(" acp")


def test_a_program_of_a_package_manager_is_seen_with_all_its_packages(tmp_path: Path) -> None:
    packages = tmp_path / "node_modules"
    real = packages / "@scope" / "agent" / "dist" / "index.js"
    real.parent.mkdir(parents=True)
    real.write_text("")
    (packages / ".bin").mkdir()
    (packages / ".bin" / "agent").symlink_to(real)
    assert packages in installation(packages / ".bin" / "agent")
