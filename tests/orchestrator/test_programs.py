"""Agents that are programs, in an engine: they are there or not, and they ask while they wait for the answer."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentpane.api import commands as c
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.approvals import Approval
from agentpane.domain.board import Column
from agentpane.domain.policy import Policy
from agentpane.domain.projects import Project
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.claude_code import program
from agentpane.sandbox import BareSandbox
from tests.backends.conformance import STAND_IN
from tests.backends.wire import say, use
from tests.orchestrator.conftest import Bench, git, running, scripted


def agent_in(repository: Path, steps: list[Any]) -> AgentConfig:
    """A stand-in for a program that speaks the Agent Client Protocol, under the careful policy."""
    shutil.copy(STAND_IN, repository / "agent.py")
    (repository / "story.json").write_text(json.dumps({"prompts": [steps]}))
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "an agent")
    command = f"exec {shlex.join([sys.executable, 'agent.py', 'story.json'])}"
    return AgentConfig(command=command, policy="careful")


async def asked(bench: Bench, task: Any) -> Approval:
    """The one question that waits now."""
    await bench.until(task, lambda now: bool(now.card.approvals_pending))
    (waiting,) = await bench.engine.do(c.ListApprovals(task.card.id))
    return waiting


async def test_a_call_of_several_files_is_one_question_and_another_content_is_another(
    data: Path, repository: Path
) -> None:
    both = {
        "sessionUpdate": "tool_call",
        "toolCallId": "1",
        "title": "Edit two",
        "kind": "edit",
        "status": "pending",
        "content": [{"type": "diff", "path": path, "newText": "x\n"} for path in ("a.txt", "b.txt")],
    }
    other = {"path": "c.txt", "content": "shown\n", "really": "written\n"}
    steps = [
        ["update", both],
        ["call", "1", "edit", "Edit two", {"path": "a.txt"}, "allow_once"],
        ["call", "2", "edit", "Write c", other, "allow_once"],
        ["say", "Done."],
    ]
    config = agent_in(repository, steps)
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.ACP, config=config))
        task = await bench.card(project, agent="Own")
        await bench.start(task)
        details = []
        for _ in range(3):
            waiting = await asked(bench, task)
            details.append(waiting.detail)
            await bench.engine.do(c.DecideApproval(waiting.id, allow=True))
        done = await bench.reviewed(task)
    assert "b/a.txt" in details[0] and "b/b.txt" in details[0]
    assert "+shown" in details[1]
    assert "+written" in details[2]
    assert (Path(done.worktree or "") / "c.txt").read_text() == "written\n"


WRITES = ["call", "1", "execute", "Write", {"command": "echo new > new.txt; true"}]  # it asks nobody
UNASKED = "echo new > new.txt"


async def started(bench: Bench, project: Project, task: Task, **fields: Any) -> ErrorCode | None:
    """The code with which a run is refused; None when it has been queued."""
    before = (await bench.engine.do(c.GetTask(task.card.id))).runs
    try:
        await bench.start(task, **fields)
    except AgentPaneError as error:
        now = await bench.engine.do(c.GetTask(task.card.id))
        assert (now.runs, now.card.column) == (before, Column.BACKLOG)
        assert "Nothing has changed." in error.hint or error.code is ErrorCode.VALIDATION_ERROR
        return error.code
    return None


async def test_a_program_that_acts_by_itself_needs_a_sandbox_or_the_persons_word(data: Path, repository: Path) -> None:
    own = agent_in(repository, [WRITES, ["say", "Done."]])
    refused = ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
    async with running(data, {}, BareSandbox()) as bench:
        project = await bench.project(repository)
        await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.ACP, config=own))
        await bench.engine.do(c.AddAgent(project.id, "Plain", BackendName.COMMAND, config=AgentConfig(command=UNASKED)))
        chosen = replace(own, model="theirs")
        await bench.engine.do(c.AddAgent(project.id, "Theirs", BackendName.ACP, config=chosen))
        models = {each.name: each.model for each in await bench.engine.do(c.ListAgents(project.id))}
        assert (models["Own"], models["Plain"], models["Theirs"]) == ("", "", "theirs")  # a program has its own default
        task = await bench.card(project)
        for agent in ("Own", "Plain"):
            assert await started(bench, project, task, agent=agent, policy=Policy.CAREFUL) is refused
        await bench.engine.do(c.EditProject(project.id, config=replace(project.config, unconfined=True)))
        for agent in ("Own", "Plain"):  # nothing here would keep it from writing
            assert await started(bench, project, task, agent=agent, policy=Policy.READ_ONLY) is refused
        assert await started(bench, project, task, agent="Own", plan=True) is refused
        assert await started(bench, project, task, agent="Plain", plan=True) is ErrorCode.VALIDATION_ERROR
        assert await started(bench, project, task, agent="Own", policy=Policy.CAREFUL) is None
        assert (await bench.reviewed(task)).card.files_changed == 1


async def test_what_a_program_did_that_ended_badly_can_be_taken_as_the_result(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        config = AgentConfig(command="echo x > made.txt; exit 1")
        await bench.engine.do(c.AddAgent(project.id, "Plain", BackendName.COMMAND, config=config))
        task = await bench.settled(await bench.start(await bench.card(project), agent="Plain"))
        assert task.runs[-1].status is RunStatus.ERROR
        done = await bench.engine.do(c.ResumeRun(task.card.id, finish=True))
        assert (done.card.column, done.runs[-1].status) == (Column.WAITING_APPROVAL, RunStatus.COMPLETED)
        assert [file.path for file in (await bench.engine.do(c.GetDiff(task.card.id))).files] == ["made.txt"]


async def test_a_run_does_not_go_on_where_its_sandbox_is_gone(data: Path, repository: Path) -> None:
    asks = ["call", "1", "execute", "Run", {"command": "true"}, "allow_once reject_once"]
    own = agent_in(repository, [asks, ["say", "Done."]])
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.ACP, config=own))
        task = await bench.card(project, agent="Own")
        await bench.start(task)
        await asked(bench, task)
    async with running(data, {}, BareSandbox()) as bench:
        before = await bench.settled(task)
        waiting = await asked(bench, task)
        for going_on in (c.DecideApproval(waiting.id, allow=True), c.ResumeRun(task.card.id)):
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(going_on)
            assert caught.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
            assert "kept" in caught.value.hint
        assert (await bench.engine.do(c.GetTask(task.card.id))).runs == before.runs
    async with running(data, {}) as bench:
        await bench.engine.do(c.ResumeRun(task.card.id))
        assert (await bench.settled(task)).card.code == ErrorCode.TASK_NO_DIFF


async def test_a_sub_agent_that_acts_by_itself_is_not_started_without_a_sandbox(data: Path, repository: Path) -> None:
    own = agent_in(repository, [WRITES, ["say", "Done."]])
    delegates = use("Task", description="do it", prompt="Do it.", agent="Own")
    with scripted([delegates], [say("Then I stop.")]) as server:
        async with running(data, server.environment, BareSandbox()) as bench:
            project = await bench.project(repository)
            await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.ACP, config=own))
            task = await bench.settled(await bench.start(await bench.card(project), policy=Policy.CAREFUL))
            assert "Nobody would be asked about what Own" in str(server.requests[1].messages[-1])
    assert not (Path(task.worktree or "") / "new.txt").exists()


async def test_where_nothing_may_be_changed_a_program_changes_nothing_until_its_plan_is_approved(
    data: Path, repository: Path
) -> None:
    own = agent_in(repository, [WRITES, ["say", "Write new.txt."]])
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.ACP, config=own))
        plain = AgentConfig(command=f"{UNASKED}; true", rules=("allow Bash", "allow Write"))
        await bench.engine.do(c.AddAgent(project.id, "Plain", BackendName.COMMAND, config=plain))
        for agent in ("Own", "Plain"):
            looked = await bench.settled(
                await bench.start(await bench.card(project), agent=agent, policy=Policy.READ_ONLY)
            )
            assert (looked.card.code, looked.runs[-1].error) == (ErrorCode.TASK_NO_DIFF, None)
        task = await bench.start(await bench.card(project), agent="Own", plan=True)
        plan = await asked(bench, task)
        waiting = await bench.engine.do(c.GetTask(task.card.id))
        assert (plan.detail, waiting.runs[-1].pause_reason) == ("Write new.txt.", PauseReason.PLAN)
        assert not (Path(waiting.worktree or "") / "new.txt").exists()
        await bench.engine.do(c.DecideApproval(plan.id, allow=True))
        done = await bench.reviewed(task)
        assert (Path(done.worktree or "") / "new.txt").read_text() == "new\n"


CANNOT_BE_STARTED = (
    (BackendName.ACP, AgentConfig(), ErrorCode.AGENT_BACKEND_MISSING),
    (BackendName.ACP, AgentConfig(preset="nobody"), ErrorCode.AGENT_BACKEND_MISSING),
    (BackendName.ACP, AgentConfig(preset="codex"), ErrorCode.AGENT_BACKEND_MISSING),
    (BackendName.ACP, AgentConfig(command="no-such-program-here"), ErrorCode.AGENT_BACKEND_MISSING),
    (BackendName.CLAUDE_CODE, AgentConfig(), ErrorCode.AGENT_BACKEND_MISSING),
    (BackendName.COMMAND, AgentConfig(), ErrorCode.VALIDATION_ERROR),
)


async def test_an_agent_that_cannot_be_started_is_not_added(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = os.environ["PATH"].split(os.pathsep)
    without = [one for one in folders if not any((Path(one) / name).exists() for name in ("claude", "codex-acp"))]
    monkeypatch.setenv("PATH", os.pathsep.join(without))
    monkeypatch.setattr(program, "PACKAGE", "no_such_package_here")
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        for backend, config, code in CANNOT_BE_STARTED:
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(c.AddAgent(project.id, "Own", backend, config=config))
            assert (caught.value.code, caught.value.hint != "") == (code, True)
        assert "Own" not in {agent.name for agent in await bench.engine.do(c.ListAgents(project.id))}
