"""The real programs, each pointed at a model on loopback. One that is not on PATH is skipped, and that is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentpane.domain.acp_presets import PRESETS
from agentpane.domain.agents import AgentConfig
from agentpane.domain.policy import Effect
from agentpane.domain.sandbox import Network, NetworkMode, Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.base import Brief, Endpoint
from tests.backends.conformance import Host, Place
from tests.backends.playing import BOUND, check_order, follow
from tests.backends.rig import of_kind
from tests.backends.wire import Answer, Reply, ScriptedServer, say, use

pytestmark = [pytest.mark.long, pytest.mark.timeout(4 * BOUND)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        made = Place(tmp_path, stack)
        made.worktree.mkdir()
        made.state.mkdir()
        if made.context().sandbox.tier is Tier.NONE:
            pytest.skip("without a sandbox there is no list of hosts to hold the program to")
        yield made


def installed(preset: str) -> str:
    program = PRESETS[preset].program
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: {PRESETS[preset].install}")
    return preset


def writes_a_file(place: Place) -> Any:
    """A model that has a file written, by whichever tool it is offered, and then is done."""
    path = str(place.worktree / "hello.txt")

    def answer(number: int, body: Mapping[str, object]) -> Reply:
        offered = body.get("tools")
        names = {tool["name"] for tool in offered} if isinstance(offered, list) else set()
        messages = body["messages"]
        assert isinstance(messages, list)
        if not names or any(message["role"] == "assistant" for message in messages):
            return Answer([say("Done.")])
        if "Write" in names:
            return Answer([say("On it."), use("Write", file_path=path, content="hello\n")])
        return Answer([say("On it."), use("write", filePath=path, content="hello\n")])

    return answer


def brief_for(place: Place, preset: str, endpoint: Endpoint, *hosts: str) -> Brief:
    brief = place.brief({"agent": AgentConfig(preset=preset)}, endpoint=endpoint)
    network = Network(NetworkMode.HOSTS, hosts) if hosts else brief.context.network
    environment = {**brief.context.environment, "HOME": str(place.folder / "person")}
    return replace(brief, context=replace(brief.context, network=network, environment=environment))


def check(events: list[base.BackendEvent], host: Host, place: Place) -> None:
    check_order(events)
    assert (place.worktree / "hello.txt").read_text() == "hello\n"
    assert [(use.effect, use.path) for use in host.uses] == [(Effect.WRITE, "hello.txt")]
    assert "+hello" in host.details[0]
    assert events[-1] == base.Ended("Done.")
    finished = of_kind(events, base.TurnFinished)[-1]
    assert finished.usage is not None
    assert finished.usage.input > 0


async def test_claude_code_asks_before_it_writes(place: Place) -> None:
    preset, host = installed("claude"), Host()
    with ScriptedServer(script=writes_a_file(place)) as server:
        events = await follow(AcpBackend(), brief_for(place, preset, Endpoint(server.url, server.key)), host)
    check(events, host, place)


async def test_claude_code_reads_that_a_write_was_denied(place: Place) -> None:
    preset, host = installed("claude"), Host(deny=True)
    with ScriptedServer(script=writes_a_file(place)) as server:
        events = await follow(AcpBackend(), brief_for(place, preset, Endpoint(server.url, server.key)), host)
        told = json.dumps([seen.messages for seen in server.requests])
    assert not (place.worktree / "hello.txt").exists()
    assert of_kind(events, base.ToolFinished)[0].denied == "not today"
    assert "not today" in told


async def test_claude_code_is_started_again_for_its_approved_plan_and_remembers_it(place: Place) -> None:
    preset, host, path = installed("claude"), Host(), place.worktree / "hello.txt"

    def answer(number: int, body: Mapping[str, object]) -> Reply:
        offered, messages = body.get("tools"), body["messages"]
        assert isinstance(messages, list)
        said = json.dumps(messages)
        if not isinstance(offered, list) or not offered or "toolu_write" in said:
            return Answer([say("Done.")])
        if "The plan is approved." in said:
            return Answer([{**use("Write", file_path=str(path), content="hello\n"), "id": "toolu_write"}])
        return Answer([say("Planned."), use("ExitPlanMode", plan="Write hello.txt")])

    with ScriptedServer(script=answer) as server:
        brief = replace(brief_for(place, preset, Endpoint(server.url, server.key)), plan=True)
        events = await follow(AcpBackend(), brief, host)
    assert [asked.tool for asked in host.uses] == ["ExitPlanMode", "Edit"]
    assert host.details[0] == "Write hello.txt"
    assert path.read_text() == "hello\n"
    assert len(of_kind(events, base.ConversationNamed)) == 1


async def test_opencode_asks_before_it_writes(place: Place) -> None:
    preset, host = installed("opencode"), Host()
    with ScriptedServer(script=writes_a_file(place)) as server:
        model = "anthropic/claude-sonnet-4-5"
        options = {"options": {"baseURL": f"{server.url}/v1", "apiKey": server.key}}
        config = {"model": model, "small_model": model, "provider": {"anthropic": options}}
        file = place.state / "home" / ".config" / "opencode" / "opencode.json"  # the person's own is not read
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(config))
        brief = brief_for(place, preset, Endpoint(None), f"127.0.0.1:{server.port}")
        events = await follow(AcpBackend(), brief, host)
    check(events, host, place)


@pytest.mark.parametrize(("name", "how"), [("codex", "codex login"), ("gemini", "GEMINI_API_KEY")])
async def test_one_that_is_not_signed_in_says_how_to_sign_in(place: Place, name: str, how: str) -> None:
    preset = installed(name)
    with pytest.raises(AgentPaneError) as caught:
        await follow(AcpBackend(), brief_for(place, preset, Endpoint(None)))
    assert caught.value.code is ErrorCode.BACKEND_AUTH
    assert how in caught.value.hint
