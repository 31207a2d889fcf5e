"""The policy on a real engine: rules, what "always" adds, plans, agents that wait alive, unattended runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.domain.approvals import Approval
from agentpane.domain.board import Column
from agentpane.domain.json import JsonObject
from agentpane.domain.policy import Effect, Judgement, Policy, Use, Verdict
from agentpane.domain.projects import Project
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Ended, Host, ToolCall
from agentpane.orchestrator.permissions import judging
from agentpane.sandbox import BareSandbox
from tests.backends.wire import Block, say, use
from tests.orchestrator.conftest import BOUND, Bench, running, scripted

DONE = [say("Done.")]
WRITE = [use("Write", file_path="new.txt", content="new\n")]
PLAN = "1. Change a.txt"


async def ruled(bench: Bench, folder: Path, *rules: str, **config: object) -> Project:
    project = await bench.project(folder)
    changed = replace(project.config, rules=rules, **config)  # type: ignore[arg-type]
    return await bench.engine.do(c.EditProject(project.id, config=changed))


async def asked_for(bench: Bench, task: Task) -> Approval:
    (asked,) = await bench.engine.do(c.ListApprovals(task.card.id))
    return asked


async def decide(bench: Bench, asked: Approval, allow: bool = True, **fields: object) -> Approval:
    command = c.DecideApproval(asked.id, allow, environment=bench.environment, **fields)  # type: ignore[arg-type]
    return await bench.engine.do(command)


async def rules_in_audit(bench: Bench, task: Task, tool: str) -> list[object]:
    entries = await bench.engine.do(c.ListAudit(task.card.project_id))
    return [(entry.record.output or {}).get("rule") for entry in entries if entry.record.tool == tool]


async def test_a_rule_denies_what_the_preset_would_allow_and_the_audit_names_it(data: Path, repository: Path) -> None:
    with scripted([use("Bash", command="true && echo x > new.txt")], WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await ruled(bench, repository, "deny Write(new.txt)", "allow Bash(true:*)")
            task = await bench.card(project)
            done = await bench.settled(await bench.start(task))
            assert done.card.code == ErrorCode.TASK_NO_DIFF
            assert "deny Write(new.txt)" in str(server.requests[1].messages[-1])
            entries = await bench.engine.do(c.ListAudit(project.id))
            actors = [entry.record.actor for entry in entries if entry.record.tool in {"Bash", "Write"}]
            assert actors == ["rule: rule: deny Write(new.txt)"] * 2


async def test_a_search_shows_nothing_that_a_rule_keeps_from_being_read(data: Path, repository: Path) -> None:
    searches = [
        use("Grep", pattern=".", path="a.txt", output_mode="content"),
        use("Grep", pattern=".", output_mode="content"),
        use("Grep", pattern="two", output_mode="count"),
    ]
    with scripted(searches, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await ruled(bench, repository, "deny Read(**/a.txt)")
            await bench.settled(await bench.start(await bench.card(project)))
            answers = str(server.requests[1].messages[-1])
            assert answers.count("deny Read(**/a.txt)") == 1
            assert "two" not in answers
            assert "a.txt:" not in answers
            assert answers.count("Nothing matches.") >= 1


async def test_each_allowance_is_in_the_audit_with_its_rule(data: Path, repository: Path) -> None:
    with scripted([use("Read", file_path="a.txt"), *WRITE], DONE) as server:
        async with running(data, server.environment) as bench:
            project = await ruled(bench, repository, "allow Write(*.txt)", policy="careful")
            task = await bench.reviewed(await bench.start(await bench.card(project)))
            assert await rules_in_audit(bench, task, "Write") == ["rule: allow Write(*.txt)"]
            assert await rules_in_audit(bench, task, "Read") == ["read-only tool"]


async def test_a_question_shows_the_diff_and_the_rules_and_always_stores_them(data: Path, repository: Path) -> None:
    read = [use("Read", file_path="a.txt")]
    edit = [use("Edit", file_path="a.txt", old_string="two", new_string="zwei")]
    with scripted(read, edit, DONE, read, edit, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            task = await bench.card(project)
            await bench.settled(await bench.start(task, policy=Policy.CAREFUL))
            asked = await asked_for(bench, task)
            assert asked.detail == "--- a.txt\n+++ a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n"
            assert asked.rules == ("allow Write(a.txt)",)
            assert await rules_in_audit(bench, task, "approval.request") == ["policy: careful"]
            await decide(bench, asked, always=True)
            await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert await rules_in_audit(bench, task, "Edit") == ["approved by person"]
            again = await bench.reviewed(await bench.start(await bench.card(project), policy=Policy.CAREFUL))
            assert await rules_in_audit(bench, again, "Edit") == [
                "approved by person",
                "always allowed in this project: allow Write(a.txt)",
            ]


async def test_always_is_refused_where_no_rule_can_stand_for_the_call(data: Path, repository: Path) -> None:
    with scripted([use("Bash", command="echo $HOME; rm -f $X")], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            await bench.settled(await bench.start(task, policy=Policy.CAREFUL))
            asked = await asked_for(bench, task)
            assert (asked.detail, asked.rules) == ("echo $HOME; rm -f $X", ())
            with pytest.raises(AgentPaneError) as caught:
                await decide(bench, asked, always=True)
            assert caught.value.code is ErrorCode.VALIDATION_ERROR
            assert (await asked_for(bench, task)).id == asked.id


async def test_a_rule_that_cannot_be_read_is_not_stored(data: Path, repository: Path) -> None:
    with scripted() as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            with pytest.raises(AgentPaneError) as caught:
                await ruled(bench, repository.parent / "repository", "permit Bash")
            assert caught.value.code in {ErrorCode.VALIDATION_ERROR, ErrorCode.PROJECT_PATH_EXISTS}
            with pytest.raises(AgentPaneError) as caught:
                wrong = replace(project.config, rules=("permit Bash",))
                await bench.engine.do(c.EditProject(project.id, config=wrong))
            assert "permit Bash" in caught.value.message
            assert (await bench.engine.do(c.GetProject(project.id))).config.rules == ()


def propose(plan: str = PLAN) -> list[Block]:
    return [use("ExitPlanMode", plan=plan)]


async def test_a_plan_is_approved_before_anything_changes_even_over_a_restart(data: Path, repository: Path) -> None:
    with scripted(WRITE, propose(), WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            paused = await bench.settled(await bench.start(task, plan=True))
            assert (paused.runs[-1].status, paused.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.PLAN)
            assert paused.worktree is not None and not (Path(paused.worktree) / "new.txt").exists()
            assert "the plan is not approved yet" in str(server.requests[1].messages[-1])
            assert "ExitPlanMode" in str(server.requests[0].body["tools"])
        async with running(data, server.environment) as bench:
            asked = await asked_for(bench, task)
            assert (asked.tool, asked.detail) == ("ExitPlanMode", PLAN)
            await decide(bench, asked, edited={"plan": "1. Write new.txt"})
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert done.card.files_changed == 1
            assert "1. Write new.txt" in str(server.requests[2].messages[-1])


async def test_a_plan_that_is_sent_back_is_proposed_again(data: Path, repository: Path) -> None:
    with scripted(propose(), propose("2. Better"), WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            (agent, *_) = await bench.engine.do(c.ListAgents(project.id))
            await bench.engine.do(c.EditAgent(agent.id, config=replace(agent.config, plan=True)))
            task = await bench.card(project)
            await bench.settled(await bench.start(task))
            first = await asked_for(bench, task)
            with pytest.raises(AgentPaneError):
                await decide(bench, first, edited={"plan": " "})
            await decide(bench, first, allow=False, message="Too short.")
            again = await bench.until(task, lambda now: now.runs[-1].status is RunStatus.PAUSED)
            assert again.runs[-1].pause_reason is PauseReason.PLAN
            assert "Too short." in str(server.requests[1].messages[-1])
            await decide(bench, await asked_for(bench, task))
            await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            denied = [entry for entry in await bench.engine.do(c.ListAudit(project.id)) if entry.record.error]
            assert [entry.record.actor for entry in denied] == ["person"]


@pytest.mark.parametrize("unconfined", [False, True])
async def test_a_run_that_nobody_attends_needs_a_sandbox_or_the_persons_word(
    data: Path, repository: Path, unconfined: bool
) -> None:
    with scripted([use("Bash", command="echo new > new.txt")], DONE) as server:
        async with running(data, server.environment, BareSandbox()) as bench:
            task = await bench.card(await ruled(bench, repository, unconfined=unconfined))
            if unconfined:
                done = await bench.reviewed(await bench.start(task, policy=Policy.FREE))
                assert done.card.files_changed == 1
                return
            with pytest.raises(AgentPaneError) as caught:
                await bench.start(task, policy=Policy.FREE)
            assert caught.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.BACKLOG


@dataclass(slots=True)
class Waiting:
    """A backend that is a program of its own: it puts one call after the other to the host, and waits."""

    calls: list[tuple[str, JsonObject]]
    name: str = "anthropic"
    verdicts: list[Verdict] = field(default_factory=list)

    async def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        for number, (tool, given) in enumerate(self.calls):
            call = ToolCall(f"{brief.first_turn}-{number}-{len(self.verdicts)}", tool, given)
            used = Use(tool, Effect.EXECUTE, command=str(given["command"]))
            self.verdicts.append(await host.decide(1, call, used, str(given["command"])))
        yield Ended("Done.")

    async def close(self) -> None:
        return None


def puts(bench: Bench, monkeypatch: pytest.MonkeyPatch, *commands: str) -> Waiting:
    backend = Waiting([("Shell", {"command": command}) for command in commands])
    monkeypatch.setattr(bench.engine.services.backends, "get", lambda name: backend)
    return backend


async def pending(bench: Bench, task: Task, condition: Callable[[Task], bool] | None = None) -> Approval:
    await bench.until(task, condition or (lambda now: now.runs[-1].status is RunStatus.PAUSED))
    return await asked_for(bench, task)


async def test_an_agent_that_waits_alive_goes_on_with_the_decision(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as server:
        async with running(data, server.environment) as bench:
            backend = puts(bench, monkeypatch, "ls", "rm x")
            task = await bench.start(await bench.card(await bench.project(repository)), policy=Policy.CAREFUL)
            asked = await pending(bench, task)
            assert (asked.detail, asked.rules) == ("ls", ("allow Bash(ls:*)",))
            assert bench.engine.alive_runs == 1
            await decide(bench, asked)
            second = await pending(
                bench, task, lambda now: now.runs[-1].status is RunStatus.PAUSED and len(backend.verdicts) == 1
            )
            await decide(bench, second, allow=False, message="Keep it.")
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
            assert [verdict.judgement for verdict in backend.verdicts] == [Judgement.ALLOW, Judgement.DENY]
            assert backend.verdicts[1].rule == "denied by the person: Keep it."
            states = [event.data.get("state") for event in await bench.session(task)]
            assert states.count("queued") == 1


async def test_a_decision_that_came_while_nobody_waited_answers_one_equal_call(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as server:
        async with running(data, server.environment) as bench:
            puts(bench, monkeypatch, "make")
            task = await bench.start(await bench.card(await bench.project(repository)), policy=Policy.CAREFUL)
            asked = await pending(bench, task)
            await bench.engine.pause_all()
            paused = await bench.until(task, lambda now: bench.engine.alive_runs == 0)
            reasons = [event.data.get("reason") for event in await bench.session(task)]
            assert paused.runs[-1].pause_reason is PauseReason.APPROVAL and reasons[-1] == "approval"
        async with running(data, server.environment) as bench:
            backend = puts(bench, monkeypatch, "make", "make")
            await decide(bench, asked)
            again = await pending(
                bench, task, lambda now: now.runs[-1].status is RunStatus.PAUSED and len(backend.verdicts) == 1
            )
            assert again.id != asked.id
            assert backend.verdicts[0].rule == "approved by person"
            await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            assert bench.engine.alive_runs == 0


async def test_an_approval_is_no_answer_to_another_call_of_the_same_name(data: Path, repository: Path) -> None:
    good, evil = (use("Bash", command=f"echo {word} > {word}.txt") | {"id": "toolu_same"} for word in ("good", "evil"))
    with scripted([good], [evil], [evil], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)), policy=Policy.CAREFUL)
            first = await pending(bench, task)
            assert first.detail == "echo good > good.txt"
        async with running(data, server.environment) as bench:
            await decide(bench, first)
            for answers in (2, 3):  # the last one is even equal to the one before
                now = await bench.until(task, lambda now, turns=answers: now.runs[-1].turns == turns)  # type: ignore[misc]
                asked = await pending(bench, task)
                assert asked.detail == "echo evil > evil.txt"
                await decide(bench, asked, allow=False)
            done = await bench.reviewed(task)
            assert now.worktree is not None and (Path(now.worktree) / "good.txt").exists()
            assert not (Path(now.worktree) / "evil.txt").exists()
            assert done.card.files_changed == 1
        made, answered = (
            [block[key] for message in server.requests[-1].messages for block in message["content"] if key in block]
            for key in ("name", "tool_use_id")
        )
        called = [
            block["id"] for message in server.requests[-1].messages for block in message["content"] if "name" in block
        ]
        assert made == ["Bash"] * 3 and called == answered == ["toolu_same", "toolu_same_t2", "toolu_same_t3"]


@dataclass(slots=True)
class Renaming(Waiting):
    """All its calls go by one name. They are (tool, input, what is shown); it pauses for each that asks."""

    shown: list[str] = field(default_factory=list)
    asked: int = 0

    async def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        for number, (tool, given) in enumerate(self.calls):
            call = ToolCall("same", tool, given)
            self.asked += 1
            if self.shown:
                used = Use(tool, Effect.WRITE, path="a.txt")
                self.verdicts.append(await host.decide(1, call, used, "a.txt", self.shown[number]))
            else:
                self.verdicts.append(await host.authorize(1, call, str(given)))
        yield Ended("Done.")


@pytest.mark.parametrize("alive", [False, True])
async def test_what_a_person_has_seen_is_what_is_approved(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    writes: list[tuple[str, JsonObject]] = [("Write", {"file_path": "a.txt", "content": word}) for word in ("A", "B")]
    with scripted() as server:
        async with running(data, server.environment) as bench:
            before = Renaming(writes[:1], shown=["+A"] if alive else [])
            monkeypatch.setattr(bench.engine.services.backends, "get", lambda name: before)
            task = await bench.start(await bench.card(await bench.project(repository)), policy=Policy.CAREFUL)
            first = await pending(bench, task)
            assert "+A" in first.detail
            await bench.engine.pause_all()
            await bench.until(task, lambda now: bench.engine.alive_runs == 0)
        async with running(data, server.environment) as bench:
            # Then comes the same call with another diff to be seen, or another call of the same name.
            after = Renaming(writes[:1], shown=["+B"]) if alive else Renaming(writes)
            monkeypatch.setattr(bench.engine.services.backends, "get", lambda name: after)
            await decide(bench, first)
            answered = 0 if alive else 1
            second = await pending(
                bench, task, lambda now: now.runs[-1].status is RunStatus.PAUSED and after.asked > answered
            )
            assert second.id != first.id and "+B" in second.detail
            assert [verdict.rule for verdict in after.verdicts] == ["approved by person"] * answered
            await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))


async def test_a_run_that_waits_too_long_gives_up_its_place_and_goes_on_when_it_is_decided(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "PAUSED_PLACE_SECONDS", 0.05)
    with scripted() as server:
        async with running(data, server.environment) as bench:
            backend = puts(bench, monkeypatch, "make")
            task = await bench.start(await bench.card(await bench.project(repository)), policy=Policy.CAREFUL)
            async with asyncio.timeout(BOUND):
                while bench.engine.services.supervisor.active:  # noqa: ASYNC110  # nothing announces the end of a job
                    await asyncio.sleep(0.02)
            asked = await pending(bench, task)
            await decide(bench, asked)
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
            assert [verdict.judgement for verdict in backend.verdicts] == [Judgement.ALLOW]
            assert EventKind.APPROVAL_DECIDED in await bench.kinds(task)


async def test_a_rule_of_the_project_speaks_of_another_programs_tools(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as server:
        async with running(data, server.environment) as bench:
            backend = puts(bench, monkeypatch, "git push origin", "ls")
            project = await ruled(bench, repository, "deny Bash(git push:*)")
            await bench.settled(await bench.start(await bench.card(project)))
            assert [verdict.rule for verdict in backend.verdicts] == [
                "rule: deny Bash(git push:*)",
                "policy: balanced",
            ]
