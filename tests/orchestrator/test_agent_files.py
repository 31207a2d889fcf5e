"""Agents as files: the person's in the data folder, a repository's once trusted; and tool servers of a whole run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.api.events import AgentRemoved, HealthChanged, Published
from agentpane.domain.agents import Agent, AgentConfig, BackendName
from agentpane.domain.board import Column
from agentpane.domain.budgets import Budget
from agentpane.domain.engine import McpServer
from agentpane.domain.projects import Project
from agentpane.domain.sandbox import Tier
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents import agent_files
from agentpane.sandbox import detect
from tests.backends.claude_stand_in import claude_stand_in
from tests.backends.wire import say, use
from tests.orchestrator.conftest import BOUND, Bench, git, running, scripted

RUDE = Path(__file__).parents[1] / "tool_servers" / "rude.py"
WHOLE = b"""\
---
name: Reviewer
backend: anthropic
model: claude-opus-4-5
tools: [Read, Grep, mcp__notes]
max_turns: 12
budget: {usd: 1.5, tokens: 200000}
policy: careful
plan: true
---

Review what changed. Change nothing.
"""


def file_of(name: str, *lines: str, body: str = "Be kind.") -> str:
    return "\n".join(["---", f"name: {name}", *lines, "---", body, ""])


def test_a_file_says_all_that_an_agent_can_be() -> None:
    agent = agent_files.parse("reviewer.md", WHOLE)
    assert (agent.name, agent.backend) == ("Reviewer", BackendName.ANTHROPIC)
    assert agent.config == AgentConfig(
        model="claude-opus-4-5",
        allowed_tools=("Read", "Grep", "mcp__notes"),
        max_turns=12,
        system_prompt="Review what changed. Change nothing.",
        plan=True,
        policy="careful",
        budget=Budget(1.5, 200_000),
    )


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("no front matter", "file"),
        ("---\nname: [\n---\n", "file"),
        ("---\n- a\n---\n", "file"),
        ("---\na: &a [x]\nname: *a\n---\n", "file"),
        (file_of("A", "tool: [Read]"), "tool"),
        (file_of("A", "tools: [Nothing]"), "allowed_tools"),
        (file_of("A", "backend: oracle"), "backend"),
        (file_of("A", "backend: command"), "command"),
        (file_of("A", "backend: acp", "preset: nobody"), "preset"),
        (file_of("A", "command: ls"), "command"),
        (file_of("A", "max_turns: many"), "max_turns"),
        (file_of("A", "budget: {euro: 3}"), "budget"),
        (file_of("A", "policy: reckless"), "policy"),
        (file_of("A", "plan: perhaps"), "plan"),
        ("---\nmodel: x\n---\n", "name"),
        ("---\nname: !!python/object/apply:os.system ['true']\n---\n", "file"),
    ],
)
def test_a_wrong_file_is_left_out_by_name_and_field_and_stops_no_other(content: str, field: str) -> None:
    read = agent_files.read({"bad.md": content.encode(), "good.md": file_of("Good").encode()})
    assert [agent.name for agent in read.agents] == ["Good"]
    (problem,) = read.problems
    assert problem.error.code is ErrorCode.PROJECT_CONFIG_INVALID
    assert problem.error.details == {"file": "bad.md", "field": field}
    assert "bad.md" in problem.error.message


async def listed(bench: Bench, project: Project) -> dict[str, Agent]:
    return {agent.name: agent for agent in await bench.engine.do(c.ListAgents(project.id))}


async def test_the_persons_files_are_agents_of_every_project_and_are_followed(data: Path, repository: Path) -> None:
    folder = data / "agents"
    folder.mkdir(parents=True)
    (folder / "helper.md").write_text(file_of("Helper"))
    (folder / "claude.md").write_text(file_of("Claude"))
    (folder / "broken.md").write_text("nothing")
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        helper = (await listed(bench, project))["Helper"]
        assert (helper.source, helper.config.system_prompt) == (str(folder / "helper.md"), "Be kind.")
        problems = await bench.engine.do(c.CheckAgentFiles(project.id))
        assert {Path(problem.where).name for problem in problems} == {"broken.md", "claude.md"}, "made by hand stays"
        report = await bench.engine.do(c.Doctor())
        assert {Path(found.where).name for found in report.findings if found.where.endswith(".md")} == {
            "broken.md",
            "claude.md",
        }

        with pytest.raises(AgentPaneError) as caught:
            await bench.engine.do(c.EditAgent(helper.id, name="Other"))
        assert "helper.md" in caught.value.message
        assert (await bench.engine.do(c.EditAgent(helper.id, default=True))).is_default

        (folder / "helper.md").write_text(file_of("Helper", body="Be brief, and kind."))
        assert (await listed(bench, project))["Helper"].config.system_prompt == "Be brief, and kind."
        (folder / "helper.md").write_text("broken for a while")
        assert (await listed(bench, project))["Helper"].id == helper.id, "a file that is being written removes nobody"
        (folder / "helper.md").unlink()
        news = bench.engine.events()
        assert set(await listed(bench, project)) == {"Claude"}
        async with asyncio.timeout(BOUND):
            told = await anext(news)
            while isinstance(told, Published) and isinstance(told.event, HealthChanged):  # the doctor's first look
                told = await anext(news)
        assert isinstance(told, Published) and told.event == AgentRemoved(helper.id, project.id)
        (folder / "helper.md").write_text(file_of("Helper"))
        assert set(await listed(bench, project)) == {"Claude", "Helper"}


async def test_a_card_that_is_dragged_or_added_to_be_started_has_its_agent_as_the_file_stands(
    data: Path, repository: Path
) -> None:
    file = data / "agents" / "writer.md"
    file.parent.mkdir(parents=True)

    def writes(word: str) -> None:
        file.write_text(file_of("Writer", "backend: command", f"command: echo {word} > word.txt"))

    writes("first")
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        dragged = await bench.card(project, agent="Writer")
        writes("second")
        await bench.engine.do(c.MoveTask(dragged.card.id, Column.IN_PROGRESS))
        assert word_of(await bench.reviewed(dragged)) == "second"
        writes("third")
        added = await bench.card(project, agent="Writer", start=True)
        assert word_of(await bench.reviewed(added)) == "third"


def word_of(task: Task) -> str:
    assert task.worktree is not None
    return (Path(task.worktree) / "word.txt").read_text().strip()


async def test_a_repositorys_agents_and_servers_are_there_once_trusted(data: Path, repository: Path) -> None:
    folder = repository / ".agentpane" / "agents"
    folder.mkdir(parents=True)
    (folder / "fixer.md").write_text(file_of("Fixer", "backend: command", "command: make format"))
    (folder / "bad.md").write_text(file_of("Bad", "colour: red"))
    servers = {"notes": {"command": "python3", "args": ["serve notes.py"]}}
    (repository / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "agents")
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        assert project.trust_pending == (
            "tool server notes: python3 'serve notes.py'",
            "agent Fixer (.agentpane/agents/fixer.md): backend command, command: make format, told: “Be kind.”",
        )
        assert set(await listed(bench, project)) == {"Claude"}
        named = await bench.engine.do(c.ListRepositoryServers(project.id))
        assert ([server.name for server in named.servers], named.trusted, named.problem) == (["notes"], False, "")
        assert project.trust_digest is not None
        await bench.engine.do(c.TrustProject(project.id, project.trust_digest))
        assert (await bench.engine.do(c.ListRepositoryServers(project.id))).trusted
        fixer = (await listed(bench, project))["Fixer"]
        assert (fixer.source, fixer.config.command) == (".agentpane/agents/fixer.md", "make format")
        (problem,) = await bench.engine.do(c.CheckAgentFiles(project.id))
        assert "bad.md" in problem.what and "colour" in problem.what

        (folder / "fixer.md").write_text(file_of("Fixer", "backend: command", "command: curl evil"))
        git(repository, "commit", "-q", "-a", "-m", "changed")
        again = await bench.engine.do(c.GetProject(project.id))
        assert again.trust_digest not in {None, project.trust_digest}
        assert (await listed(bench, project))["Fixer"].config.command == "make format", "as it was trusted"

        git(repository, "rm", "-q", "-r", ".agentpane", ".mcp.json")
        git(repository, "commit", "-q", "-m", "gone")
        assert set(await listed(bench, project)) == {"Claude"}


async def test_a_file_for_servers_that_cannot_be_read_stops_nothing(data: Path, repository: Path) -> None:
    (repository / ".mcp.json").write_text('{"mcpServers": {"x": {"command": "echo ${HOME}"}}}')
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "servers")
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        assert project.trusted
        (problem,) = await bench.engine.do(c.CheckAgentFiles(project.id))
        assert problem.where == ".mcp.json" and "variable" in problem.what
        named = await bench.engine.do(c.ListRepositoryServers(project.id))
        assert named.servers == () and "variable" in named.problem


async def test_a_run_calls_a_servers_tool_under_the_policy_and_goes_on_without_a_broken_server(
    data: Path, repository: Path
) -> None:
    turns = (
        (say("I ask."), use("mcp__notes__plain")),
        (use("Write", file_path="new.txt", content="new\n"),),
        (say("Done."),),
    )
    with scripted(*turns) as server:
        async with running(data, server.environment) as bench:
            notes = McpServer("notes", command=f"{sys.executable} {RUDE} kind")
            broken = McpServer("broken", command=f"{sys.executable} {RUDE} dies_at_once")
            await bench.engine.do(c.AddMcpServer(notes))
            await bench.engine.do(c.AddMcpServer(broken))
            task = await bench.card(await bench.project(repository))
            await bench.start(task)
            await bench.until(task, lambda now: bool(now.card.approvals_pending))
            (asked,) = await bench.engine.do(c.ListApprovals(task.card.id))
            assert asked.tool == "mcp__notes__plain"
            await bench.engine.do(c.DecideApproval(asked.id, allow=True, environment=server.environment))
            await bench.reviewed(task)
            events = await bench.session(task)
    results = [event.data for event in events if event.kind is EventKind.TOOL_RESULT]
    assert results[0]["content"] == "hello"
    said = [event.data for event in events if event.data.get("state") == "tool_server"]
    assert {(each["server"], "problem" in each) for each in said} >= {("notes", False), ("broken", True)}
    first = server.requests[0].body
    tools = first["tools"]
    assert isinstance(tools, list) and "mcp__notes__plain" in {tool["name"] for tool in tools}


async def test_claude_code_calls_a_servers_tool_by_its_own_name_under_the_policy(
    data: Path, repository: Path, tmp_path: Path
) -> None:
    called = use("mcp__agentpane__mcp__notes__plain", about="cents")
    turns = [[called], [use("Write", file_path="new.txt", content="new\n")], [say("Done.")]]
    environment = {"ANTHROPIC_API_KEY": "of-this-test"}
    with claude_stand_in(tmp_path / "bin", {"turns": turns}):
        async with running(data, environment) as bench:
            await bench.engine.do(c.AddMcpServer(McpServer("notes", command=f"{sys.executable} {RUDE} kind")))
            project = await bench.project(repository)
            await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.CLAUDE_CODE))
            task = await bench.card(project, agent="Own")
            await bench.start(task)
            await bench.until(task, lambda now: bool(now.card.approvals_pending))
            (asked,) = await bench.engine.do(c.ListApprovals(task.card.id))
            assert (asked.tool, asked.summary) == ("mcp__notes__plain", '{"about": "cents"}')
            await bench.engine.do(c.DecideApproval(asked.id, allow=True, environment=environment))
            await bench.reviewed(task)
            events = await bench.session(task)
    results = [event.data for event in events if event.kind is EventKind.TOOL_RESULT]
    assert results[0]["content"] == "hello"


async def test_servers_are_stored_without_their_secrets(data: Path) -> None:
    async with running(data, {}) as bench:
        server = McpServer("notes", command=f"{sys.executable} {RUDE} kind", secret_environment=("HIDDEN",))
        await bench.engine.do(c.AddMcpServer(server, {"HIDDEN": "s3cret-value"}))
        found = await bench.engine.do(c.CheckMcpServer("notes"))
        assert [tool.name for tool in found.tools] == ["mcp__notes__plain"]
        kept = [path for path in data.rglob("*") if path.is_file() and b"s3cret-value" in path.read_bytes()]
        assert [path.name for path in kept] == ["secrets.json"]
        with pytest.raises(AgentPaneError) as caught:
            await bench.engine.do(c.AddMcpServer(McpServer("a__b", command="true")))
        assert caught.value.code is ErrorCode.VALIDATION_ERROR
        assert (await bench.engine.do(c.RemoveMcpServer("notes"))).mcp_servers == ()
        assert not (data / "secrets.json").exists()


STAND_IN = """\
#!/usr/bin/env python3
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), 1).close()
except OSError:
    pass
print("stand-in 4.5.6")
"""


async def test_a_program_is_asked_for_its_version_and_reaches_nobody(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    reached = asyncio.Event()

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    program = tmp_path / "bin" / "gemini"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(port=listener.sockets[0].getsockname()[1]))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    async with listener:
        async with running(data, {}) as bench:
            found = {each.preset or each.backend.value: each for each in await bench.engine.do(c.DetectBackends())}
        assert not reached.is_set()
        await asyncio.to_thread(subprocess.run, [str(program), "--version"], check=True, capture_output=True)
        async with asyncio.timeout(10):
            await reached.wait()  # with nothing in its way it does reach somebody
    assert found["gemini"].program == str(program)
    assert found["gemini"].version == ("4.5.6" if detect().tier is Tier.BUBBLEWRAP else None)
    assert (found["gemini"].signed_in, found["anthropic"].usable, found["command"].usable) == (None, False, True)
    assert found["codex"].usable is False and "codex-acp" in found["codex"].note


async def test_a_sign_in_is_known_by_its_traces_only(
    data: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "node_modules" / "some-agent"
    (folder / "bin").mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "7.8.9"}')
    program = folder / "bin" / "codex-acp"
    program.write_text("#!/bin/sh\ntouch started\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (home / ".codex").mkdir()
    (home / ".codex" / "auth.json").write_text("not json")
    async with running(data, {}) as bench:
        found = await bench.engine.do(c.DetectBackends({"ANTHROPIC_API_KEY": "x"}))
    codex = next(each for each in found if each.preset == "codex")
    assert (codex.signed_in, codex.version, codex.usable) == (True, "7.8.9", True)
    assert found[0].usable and found[0].signed_in
