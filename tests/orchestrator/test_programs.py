"""Agents that are programs, in an engine: they are there or not, and they ask while they wait for the answer."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from agentpane.api import commands as c
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.approvals import Approval
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.claude_code import program
from tests.backends.conformance import STAND_IN
from tests.orchestrator.conftest import Bench, git, running


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
