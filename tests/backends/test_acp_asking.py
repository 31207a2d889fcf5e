"""What an agent that speaks the Agent Client Protocol may do here: files, commands, permissions and plans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentpane.domain.policy import Effect, Judgement, Use, Verdict
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.base import ToolCall
from tests.backends.acp_play import play, steps
from tests.backends.backend_rigs import AcpRig
from tests.backends.conformance import Host, Place
from tests.backends.rig import of_kind

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


async def test_a_call_that_is_in_progress_before_it_is_asked_about_has_not_started(rig: AcpRig, place: Place) -> None:
    call = {"toolCallId": "1", "title": "Run", "kind": "execute", "rawInput": {"command": "true"}}
    begun = {"sessionUpdate": "tool_call", "status": "pending", **call}
    going = {"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "in_progress"}
    asked = ["call", "1", "execute", "Run", {"command": "true"}, "allow_once reject_once"]
    scenario = {"prompts": [[["update", begun], ["update", going], asked], [["say", "I stop."]]]}
    events = await play(rig, place, scenario, Host(deny=True))
    assert not of_kind(events, base.ToolStarted)
    assert of_kind(events, base.ToolFinished)[0].denied == "not today"


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
