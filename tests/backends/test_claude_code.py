"""What Claude Code alone is held to: its permissions, its account, its faults, its pauses and its plan."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agentpane.domain.json import JsonObject
from agentpane.domain.policy import Effect, Judgement, Use, Verdict
from agentpane.domain.runs import PauseReason
from agentpane.domain.tasks import Todo, TodoState
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.base import BackendEvent, Endpoint, ToolCall
from agentpane.orchestrator.backends.claude_code import ClaudeCodeBackend, find_program, signed_in
from agentpane.sandbox import BareSandbox
from tests.backends.claude_stand_in import CLAUDE_TOOLS, OWN_BASH, claude_stand_in
from tests.backends.conformance import Host, Place, said
from tests.backends.rig import of_kind, pending
from tests.backends.wire import say, think, use

KEY = "key-of-this-test"
DONE = [say("All done.")]


@dataclass(slots=True)
class Person(Host):
    """Decides by tool: a rule of denial, or a pause. Says and stops as `TestHost` does."""

    __test__ = False
    denials: Mapping[str, str] = field(default_factory=dict)
    edits: Mapping[str, JsonObject] = field(default_factory=dict)
    absent_for: frozenset[str] = frozenset()

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        verdict = await Host.decide(self, turn, call, use, summary, detail, others)
        if call.name in self.absent_for:
            raise base.RunPaused(PauseReason.APPROVAL)
        if call.name in self.denials:
            return Verdict(Judgement.DENY, self.denials[call.name])
        return replace(verdict, edited=self.edits.get(call.name))


@dataclass(slots=True)
class Stage:
    """One worktree, and a stand-in that follows a scenario. `events` are what the last run yielded."""

    place: Place
    events: list[BackendEvent] = field(default_factory=list)

    async def play(self, host: Host | None = None, *, scenario: Mapping[str, Any], **changes: Any) -> str:
        """Its last words; what it raises passes."""
        self.events = []
        with claude_stand_in(self.place.folder / "bin", dict(scenario)):
            values = {"tools": CLAUDE_TOOLS, "endpoint": Endpoint(None, api_key=KEY)} | changes
            brief = self.place.brief(values)
            brief = replace(brief, context=replace(brief.context, sandbox=BareSandbox()))
            backend = ClaudeCodeBackend()
            async with aclosing(backend.play(brief, host or Host())) as told:
                async for event in told:
                    self.events.append(event)
            await backend.close()
        ended = self.events[-1]
        assert isinstance(ended, base.Ended)
        return ended.text

    def of(self, kind: type[Any]) -> list[Any]:
        return of_kind(self.events, kind)

    @property
    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.place.state / "heard.jsonl").read_text().splitlines()]

    @property
    def messages(self) -> list[str]:
        """What the program was told as messages of the person."""
        users = [one["said"]["message"] for one in self.heard if one["said"]["type"] == "user"]
        return ["".join(block["text"] for block in message["content"]) for message in users]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        place.worktree.mkdir()
        (place.worktree / "a.txt").write_text("hello\n")
        yield Stage(place)


def turns(*told: Any, **more: Any) -> dict[str, Any]:
    return {"turns": list(told), **more}


# Permissions


async def test_every_call_reads_included_is_decided_by_what_it_would_do(stage: Stage) -> None:
    host = Host()
    await stage.play(
        host,
        scenario=turns(
            [use("Read", file_path="a.txt"), use("Glob", pattern="*.txt"), use("Read", file_path="/etc/hostname")],
            [use("Edit", file_path="a.txt", old_string="hello", new_string="bye"), use(OWN_BASH, command="cat a.txt")],
            DONE,
        ),
    )
    assert host.uses == [
        Use("Read", Effect.READ, path="a.txt"),
        Use("Glob", Effect.READ, path="."),
        Use("Read", Effect.READ, path="/etc/hostname"),
        Use("Edit", Effect.WRITE, path="a.txt"),
        Use("Bash", Effect.EXECUTE, command="cat a.txt"),
    ]
    assert "-hello\n+bye" in host.details[3]
    assert host.details[4] == "cat a.txt"
    finished = {event.call.name: event.result for event in stage.of(base.ToolFinished)}
    assert finished["Bash"].content == "bye"
    assert finished["Bash"].data["exit_code"] == 0
    assert [event.text for event in stage.of(base.ToolOutput)] == ["bye\n"]


async def test_a_call_begins_only_after_the_answer_that_asks_for_it_is_whole(stage: Stage) -> None:
    await stage.play(scenario=turns([use(OWN_BASH, command="true"), say("and more words after it")], DONE))
    kinds = [type(event).__name__ for event in stage.events]
    assert kinds.index("TurnFinished") < kinds.index("ToolStarted")


async def test_a_call_of_a_tool_that_is_not_there_is_told_after_its_turn(stage: Stage) -> None:
    host = Host()
    await stage.play(host, scenario=turns([use("Bash", command="touch no"), say("words")], DONE))
    kinds = [type(event).__name__ for event in stage.events]
    assert kinds.index("TurnFinished") < kinds.index("ToolFinished")
    assert host.asked == []
    assert not (stage.place.worktree / "no").exists()


async def test_the_agent_reads_why_a_call_was_denied(stage: Stage) -> None:
    host = Person(denials={"Write": "Not that file, says the person."})
    await stage.play(host, scenario=turns([use("Write", file_path="b.txt", content="x")], DONE))
    (finished,) = stage.of(base.ToolFinished)
    assert finished.denied == "Not that file, says the person."
    assert finished.result.content == "Not that file, says the person."
    assert finished.result.error_code is ErrorCode.AGENT_TOOL_NOT_ALLOWED
    assert not (stage.place.worktree / "b.txt").exists()


async def test_its_own_folder_with_its_conversation_is_not_the_agents_to_read(stage: Stage) -> None:
    host = Host()
    await stage.play(host, scenario=turns([use("Read", file_path=str(stage.place.state / "heard.jsonl"))], DONE))
    (finished,) = stage.of(base.ToolFinished)
    assert finished.denied is not None
    assert host.asked == []


async def test_it_is_told_of_its_tools_and_started_without_its_own_shell_or_any_settings(stage: Stage) -> None:
    await stage.play(scenario=turns(DONE))
    arguments = stage.heard[0]["argv"]
    tools = arguments[arguments.index("--tools") + 1].split(",")
    assert tools == ["Read", "Write", "Edit", "NotebookEdit", "Glob", "Grep", "TodoWrite", "AskUserQuestion"]
    assert {"--restricted", "--strict-mcp-config", "--setting-sources=", "--disable-slash-commands"} <= set(arguments)
    system = Path(arguments[arguments.index("--append-system-prompt-file") + 1])
    assert system.read_text() == "You are careful."
    user = next(one["said"] for one in stage.heard if one["said"]["type"] == "user")
    assert user["client_composed"] is True  # a task that begins with a slash is no command


async def test_an_agent_that_may_only_read_is_offered_no_tool_that_writes(stage: Stage) -> None:
    await stage.play(scenario=turns([use("Write", file_path="b.txt", content="x")], DONE), tools=("Read", "Grep"))
    arguments = stage.heard[0]["argv"]
    assert arguments[arguments.index("--tools") + 1] == "Read,Grep"
    assert not (stage.place.worktree / "b.txt").exists()


# Its account


async def test_the_program_has_its_own_key_and_no_other_secret(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("IS_SANDBOX", "yes")
    endpoint = Endpoint("http://127.0.0.1:9", api_key=KEY)
    await stage.play(scenario=turns([use(OWN_BASH, command="env")], DONE), endpoint=endpoint)
    environment = stage.heard[0]["environment"]
    assert environment["ANTHROPIC_API_KEY"] == KEY
    assert environment["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"
    assert environment["HOME"] == environment["CLAUDE_CONFIG_DIR"] == str(stage.place.state)
    assert environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == environment["DISABLE_AUTOUPDATER"] == "1"
    assert not {"OPENAI_API_KEY", "IS_SANDBOX"} & set(environment)
    (finished,) = stage.of(base.ToolFinished)
    assert KEY not in finished.result.content  # a command of the agent's does not


async def test_without_a_key_the_persons_own_sign_in_is_used_and_cannot_be_renewed(stage: Stage, home: Path) -> None:
    sign_in(home, time.time() + 3_600)
    await stage.play(scenario=turns(DONE), endpoint=Endpoint(None))
    environment = stage.heard[0]["environment"]
    assert environment["CLAUDE_CODE_OAUTH_TOKEN"] == "for-some-hours"
    assert "renews" not in (stage.place.state / "heard.jsonl").read_text()
    assert signed_in()


@pytest.mark.parametrize("ends", [None, 0.0], ids=["never signed in", "sign-in ended"])
async def test_without_key_and_sign_in_nothing_is_started(stage: Stage, home: Path, ends: float | None) -> None:
    if ends is not None:
        sign_in(home, ends)
    with pytest.raises(AgentPaneError) as caught:
        await stage.play(scenario=turns(DONE), endpoint=Endpoint(None))
    assert caught.value.code is ErrorCode.BACKEND_AUTH
    assert not (stage.place.state / "heard.jsonl").exists()
    assert signed_in() is (None if sys.platform == "darwin" and ends is None else False)


def sign_in(home: Path, ends: float) -> None:
    (home / ".claude").mkdir()
    account = {"accessToken": "for-some-hours", "refreshToken": "renews", "expiresAt": round(ends * 1000)}
    (home / ".claude" / ".credentials.json").write_text(json.dumps({"claudeAiOauth": account}))


async def test_its_folder_is_the_persons_alone(stage: Stage) -> None:
    await stage.play(scenario=turns(DONE))
    assert stat.S_IMODE(stage.place.state.stat().st_mode) == 0o700


# Where it is


def test_a_machine_without_the_program_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(AgentPaneError) as caught:
        find_program()
    assert caught.value.code is ErrorCode.AGENT_BACKEND_MISSING


def test_the_program_of_an_installed_package_is_found_without_importing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bundled = tmp_path / "claude_agent_sdk" / "_bundled" / "claude"
    bundled.parent.mkdir(parents=True)
    (bundled.parent.parent / "__init__.py").write_text("raise SystemExit")
    bundled.write_text("#!/bin/sh\n")
    bundled.chmod(0o700)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert find_program() == bundled


# Questions, lists, plans


async def test_answers_reach_the_agent_question_by_question(stage: Stage) -> None:
    questions = [
        {"question": "Which colour?", "header": "C", "options": [{"label": "red"}], "multiSelect": False},
        {"question": "Which size?", "header": "S", "options": [{"label": "big"}], "multiSelect": False},
    ]
    host = Host(answer="neither")
    await stage.play(host, scenario=turns([use("AskUserQuestion", questions=questions)], DONE))
    assert host.questions == [("Which colour?", ("red",)), ("Which size?", ("big",))]
    (finished,) = stage.of(base.ToolFinished)
    assert '"Which size?"="neither"' in finished.result.content


async def test_its_list_of_todos_is_shown(stage: Stage) -> None:
    todos = [
        {"content": "Look", "status": "completed", "activeForm": "Looking"},
        {"content": "Write", "status": "in_progress", "activeForm": "Writing"},
    ]
    await stage.play(scenario=turns([use("TodoWrite", todos=todos)], DONE))
    (changed,) = stage.of(base.TodosChanged)
    assert changed.todos == (Todo("Look", TodoState.COMPLETED), Todo("Write", TodoState.IN_PROGRESS))


async def test_nothing_is_changed_before_the_plan_is_approved(stage: Stage) -> None:
    host = Host()
    plan = stage.place.state / "plans" / "the-plan.md"
    plan.parent.mkdir(parents=True)
    await stage.play(
        host,
        plan=True,
        scenario=turns(
            [use("Write", file_path="early.txt", content="x"), use(OWN_BASH, command="touch early")],
            [use("Write", file_path=str(plan), content="First this, then that.")],
            [use("ExitPlanMode")],
            [use("Write", file_path="late.txt", content="x")],
            DONE,
        ),
    )
    assert sorted(os.listdir(stage.place.worktree)) == ["a.txt", "late.txt"]
    assert host.uses == [Use("ExitPlanMode", Effect.OTHER), Use("Write", Effect.WRITE, path="late.txt")]
    assert host.details[0] == "First this, then that."
    early = [event for event in stage.of(base.ToolFinished) if event.denied]
    assert [event.call.name for event in early] == ["Write", "Bash"]


async def test_a_plan_that_the_person_changed_is_the_one_that_counts(stage: Stage) -> None:
    host = Person(edits={"ExitPlanMode": {"plan": "That first."}})
    await stage.play(host, plan=True, scenario=turns([use("ExitPlanMode", plan="This first.")], DONE))
    file = next(stage.place.state.glob("projects/*/*.jsonl"))
    assert "That first." in file.read_text()


async def test_a_call_is_made_as_the_person_changed_it(stage: Stage) -> None:
    host = Person(edits={"Bash": {"command": "echo softly"}})
    await stage.play(host, scenario=turns([use(OWN_BASH, command="echo loudly")], DONE))
    (finished,) = stage.of(base.ToolFinished)
    assert finished.result.content == "softly"


async def test_what_runs_is_what_was_judged_and_runs_once(stage: Stage) -> None:
    judged = "echo judged >> made.txt"
    other = [{"command": "touch evil"}, {"command": judged, "run_in_background": True}, {}]
    calls = [
        use(OWN_BASH, command=judged) | {"made": [{"command": judged}] * 3},
        use(OWN_BASH, command="true") | {"made": other},
        use(OWN_BASH, command="touch evil") | {"asked_as": "Read"},
    ]
    host = Host()
    await stage.play(host, scenario=turns(calls, DONE))
    assert [used.command for used in host.uses] == [judged, "true"]
    assert (stage.place.worktree / "made.txt").read_text() == "judged\n"
    assert not (stage.place.worktree / "evil").exists()
    assert [started.call.input["command"] for started in stage.of(base.ToolStarted)] == [judged, "true"]
    refused = [str(one["said"]) for one in stage.heard if "-32602" in str(one["said"])]
    assert ["carried out already" in one for one in refused] == [True] * 2 + [False] * 3
    assert all("not the call that was allowed" in one for one in refused[2:])


async def test_a_plan_that_is_denied_is_made_anew(stage: Stage) -> None:
    host = Person(denials={"ExitPlanMode": "Think of the tests too."})
    scenario = turns([use("ExitPlanMode", plan="Just do it.")], [use("Write", file_path="b.txt", content="x")], DONE)
    await stage.play(host, plan=True, scenario=scenario)
    assert host.details == ["Just do it."]
    assert not (stage.place.worktree / "b.txt").exists()
    assert stage.of(base.ToolFinished)[0].result.content == "Think of the tests too."


# Turns


async def test_thoughts_and_figures_of_each_turn(stage: Stage) -> None:
    await stage.play(scenario=turns([think("I wonder."), use("Read", file_path="a.txt")], DONE))
    assert stage.of(base.ThinkingBlock) == [base.ThinkingBlock(1, "I wonder.", "sig")]
    assert [event.text for event in stage.of(base.ThinkingDelta)] == ["I wonder."]
    first, second = stage.of(base.TurnFinished)
    assert first.usage == second.usage == base.Usage(input=100, output=20)
    assert first.model == "claude-sonnet-5-5"
    assert first.cost_usd is not None and 0 < first.cost_usd < 0.01
    assert (first.turn, first.stop_reason, second.stop_reason) == (1, "tool_use", "end_turn")


async def test_an_invented_price_is_not_passed_on(stage: Stage) -> None:
    await stage.play(scenario=turns(DONE), model="mystery-9")
    (finished,) = stage.of(base.TurnFinished)
    assert finished.usage is not None
    assert finished.cost_usd is None


async def test_an_answer_that_is_not_streamed_counts_too(stage: Stage) -> None:
    await stage.play(scenario=turns({"whole": [say("I look."), use("Read", file_path="a.txt")]}, DONE))
    assert [event.text for event in stage.of(base.TextBlock)] == ["I look.", "All done."]
    assert [event.usage for event in stage.of(base.TurnFinished)] == [base.Usage(input=100, output=20)] * 2
    assert len(stage.of(base.ToolFinished)) == 1


async def test_each_request_is_asked_for_even_one_that_the_program_makes_by_itself(stage: Stage) -> None:
    host = Host()
    cut = {"blocks": [say("cut")], "stop_reason": "max_tokens"}
    await stage.play(host, scenario=turns(cut, [use("Read", file_path="a.txt")], DONE), first_turn=4)
    assert host.turns == [4, 5, 6]
    assert [event.turn for event in stage.of(base.TurnStarted)] == [4, 5, 6]
    assert [event.turn for event in stage.of(base.TurnFinished)] == [4, 5, 6]


async def test_what_the_person_says_meanwhile_is_read_before_the_next_request(stage: Stage) -> None:
    scenario = turns([use("Read", file_path="a.txt")], DONE)
    await stage.play(Host(says={1: ("And hurry.",), 2: ("Be brief.",)}), scenario=scenario)
    assert stage.messages == ["Do the work\n\nThe person says: And hurry."]
    file = next(stage.place.state.glob("projects/*/*.jsonl"))
    assert "The person says: Be brief." in file.read_text()


async def test_a_request_that_is_tried_again_takes_back_what_was_shown(stage: Stage) -> None:
    retry = {"retry": {"status": 529, "error": "overloaded", "cut": [say("half an ans")]}, "after": DONE}
    assert await stage.play(scenario=turns(retry)) == "All done."
    (retrying,) = stage.of(base.Retrying)
    assert (retrying.attempt, retrying.of, retrying.code) == (2, 10, ErrorCode.BACKEND_UNAVAILABLE)
    kinds = [type(event).__name__ for event in stage.events]
    assert kinds.index("TextDelta") < kinds.index("TurnDiscarded") < kinds.index("Retrying")
    assert kinds.count("TurnStarted") == 1


# Pauses and what comes after


async def test_a_pause_before_a_request_ends_the_program_and_the_conversation_goes_on_later(stage: Stage) -> None:
    scenario = turns([say("I begin."), use(OWN_BASH, command="touch one")], DONE)
    with pytest.raises(base.RunPaused):
        await stage.play(Host(pause_at=2), scenario=scenario)
    (named,) = stage.of(base.ConversationNamed)
    assert len(stage.of(base.ToolFinished)) == 1
    history = (said("user", "Do the work"), said("assistant", "I begin."), said("user", "Be brief."))
    words = await stage.play(scenario=scenario, conversation=named.name, history=history, first_turn=2)
    assert words == "All done."
    assert stage.messages[-1] == "Be brief."
    assert stage.of(base.ConversationNamed) == []


async def test_a_call_that_a_person_had_to_decide_is_asked_for_again(stage: Stage) -> None:
    write = use("Write", file_path="b.txt", content="x")
    with pytest.raises(base.RunPaused):
        await stage.play(Person(absent_for=frozenset({"Write"})), scenario=turns([write], [write], DONE))
    assert any(one["said"].get("request", {}).get("subtype") == "interrupt" for one in stage.heard)
    assert not (stage.place.worktree / "b.txt").exists()
    (named,) = stage.of(base.ConversationNamed)
    asked = {"type": "tool_use", "id": "one", "name": "Write", "input": write["input"]}
    history = (said("user", "Do the work"), {"role": "assistant", "content": [asked]})
    open_call = pending("one", "Write", started=False, file_path="b.txt", content="x")
    await stage.play(
        scenario=turns([write], [write], DONE), conversation=named.name, history=history, pending=(open_call,)
    )
    assert "Write b.txt" in stage.messages[-1]
    assert "make the same call again" in stage.messages[-1]
    assert (stage.place.worktree / "b.txt").exists()


async def test_a_conversation_that_is_lost_is_told_again(stage: Stage) -> None:
    history = (said("user", "Do the work"), said("assistant", "I began with it."), said("user", "Go on."))
    words = await stage.play(scenario=turns(DONE), conversation="not-here", history=history)
    assert words == "All done."
    (message,) = stage.messages
    assert "I began with it." in message
    assert message.endswith("Go on.")
    assert len(stage.of(base.ConversationNamed)) == 1


# Faults

FAILURES: Mapping[str, tuple[dict[str, Any], ErrorCode]] = {
    "no login": ({"status": None, "error": "authentication_failed", "words": "Not logged in"}, ErrorCode.BACKEND_AUTH),
    "a key that is retried": (
        {"status": 401, "error": "authentication_failed", "words": "Invalid API key", "retries": 9},
        ErrorCode.BACKEND_AUTH,
    ),
    "rate": ({"status": 429, "error": "rate_limit", "words": "slow down"}, ErrorCode.BACKEND_RATE_LIMITED),
    "money": ({"status": 400, "error": "billing_error", "words": "too low"}, ErrorCode.BACKEND_RATE_LIMITED),
    "server": ({"status": 500, "error": "server_error", "words": "boom"}, ErrorCode.BACKEND_UNAVAILABLE),
    "model": ({"status": 404, "error": "model_not_found", "words": "no model"}, ErrorCode.BACKEND_REFUSED),
    "network": ({"status": None, "error": "unknown", "words": "no route"}, ErrorCode.BACKEND_UNAVAILABLE),
    "too long": (
        {"status": 400, "error": "invalid_request", "words": "Prompt is too long", "reason": "prompt_too_long"},
        ErrorCode.BACKEND_CONTEXT_FULL,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_success_that_is_an_error_is_an_error(stage: Stage, name: str) -> None:
    fault, code = FAILURES[name]
    with pytest.raises(AgentPaneError) as caught:
        await stage.play(scenario=turns({"fail": fault}))
    assert caught.value.code is code
    assert caught.value.hint
    assert caught.value.details.get("spend_limit", False) is (name == "money")
    assert stage.of(base.TextBlock) == []  # the program's own words are no answer of the model


async def test_its_own_limit_of_turns_is_a_pause(stage: Stage) -> None:
    result = {"subtype": "error_max_turns", "is_error": True, "errors": ["Reached maximum number of turns (1)"]}
    with pytest.raises(base.RunPaused) as caught:
        await stage.play(scenario=turns({"result": result}))
    assert caught.value.reason is PauseReason.TURN_LIMIT


async def test_an_error_of_its_own_is_told_in_its_words_without_the_key(stage: Stage) -> None:
    result = {"subtype": "error_during_execution", "is_error": True, "errors": [f"it broke over {KEY}"]}
    with pytest.raises(AgentPaneError, match=r"it broke over \[key\]") as caught:
        await stage.play(scenario=turns({"result": result}))
    assert caught.value.code is ErrorCode.AGENT_EXECUTION_ERROR


async def test_a_refusal_is_said(stage: Stage) -> None:
    result = {"stop_reason": "refusal", "result": "I will not."}
    with pytest.raises(AgentPaneError, match="I will not") as caught:
        await stage.play(scenario=turns({"result": result}))
    assert caught.value.code is ErrorCode.BACKEND_REFUSED


async def test_its_last_words_are_told_when_it_dies(stage: Stage) -> None:
    with pytest.raises(AgentPaneError, match="out of luck") as caught:
        await stage.play(scenario=turns([use("Read", file_path="a.txt")], {"die": 3, "words": f"out of luck {KEY}"}))
    assert caught.value.code is ErrorCode.AGENT_EXECUTION_ERROR
    assert "exit code 3" in caught.value.message
    assert KEY not in caught.value.message


async def test_one_that_never_begins_is_unavailable(stage: Stage) -> None:
    with pytest.raises(AgentPaneError, match="bad flag") as caught:
        await stage.play(scenario=turns(DONE, start={"die": 2, "words": "bad flag"}))
    assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE


async def test_one_that_does_not_block_on_our_silence_is_not_worked_with(stage: Stage) -> None:
    with pytest.raises(AgentPaneError, match="does not ask before") as caught:
        await stage.play(scenario=turns(DONE, old=True))
    assert caught.value.code is ErrorCode.BACKEND_PROTOCOL
    assert stage.messages == []


async def test_stray_lines_are_borne_with_up_to_a_point(stage: Stage) -> None:
    assert await stage.play(scenario=turns({"raw": "[debug] hello"}, DONE)) == "All done."
    with pytest.raises(AgentPaneError) as caught:
        await stage.play(scenario=turns({"raw": "\n".join(["[debug]"] * 50)}, DONE), state=stage.place.folder / "new")
    assert caught.value.code is ErrorCode.BACKEND_PROTOCOL


async def test_silence_for_ever_is_ended(stage: Stage) -> None:
    with claude_stand_in(stage.place.folder / "bin", turns({"hang": True})):
        backend = ClaudeCodeBackend(silence_s=0.2)
        brief = stage.place.brief({"endpoint": Endpoint(None, api_key=KEY)})
        with pytest.raises(AgentPaneError, match="said nothing") as caught:
            async with aclosing(backend.play(brief, Host())) as told:
                async for _ in told:
                    pass
        await backend.close()
    assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE
