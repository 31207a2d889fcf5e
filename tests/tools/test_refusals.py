"""What the sandbox refuses or ends is told in plain words: to the agent in its result, to the session in a note."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from agentpane.domain.agents import AgentConfig
from agentpane.domain.json import JsonObject
from agentpane.domain.sandbox import Network, NetworkMode
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends.acp.library import Loader
from agentpane.orchestrator.backends.acp.terminals import Terminals
from agentpane.orchestrator.backends.base import BackendEvent, Endpoint, ToolFinished
from agentpane.orchestrator.backends.command import CommandBackend
from agentpane.orchestrator.runs.telling import TellingSandbox
from agentpane.orchestrator.tools import ToolContext
from agentpane.orchestrator.tools.shells import ShellEnd, Shells
from agentpane.sandbox import Appetite, BareSandbox
from tests.backends.conformance import Host
from tests.backends.rig import make_brief, of_kind

from .conftest import caller

PROCESSES = 24
BOMB = f"for n in $(seq {PROCESSES * 2}); do sleep 600 & done; wait"
FETCH = "import sys, urllib.request as u\nfor h in sys.argv[1:]:\n  try: u.urlopen('http://' + h, timeout=10)\n"
ASK = shlex.join([sys.executable, "-c", FETCH + "  except Exception as e: print(e)"]) + " evil.example other.example"
REFUSED = "The network refused evil.example:80, other.example:80"


@dataclass
class Bench:
    """A context in which commands may take little and reach one host. notes: what the session is told."""

    context: ToolContext
    notes: list[JsonObject] = field(default_factory=list)
    ends: list[ShellEnd] = field(default_factory=list)

    def told(self) -> list[JsonObject]:
        notes, self.notes[:] = list(self.notes), []
        return notes


@pytest.fixture
async def bench(context: ToolContext) -> AsyncIterator[Bench]:
    made = Bench(context)
    shells = Shells(on_end=made.ends.append)
    sandbox = TellingSandbox(BareSandbox(Appetite(processes=PROCESSES, tasks=200)), made.notes.append)
    network = Network(NetworkMode.HOSTS, ("good.example",))
    made.context = replace(context, sandbox=sandbox, network=network, shells=shells)
    yield made
    await shells.close()


async def by_bash(bench: Bench, command: str) -> tuple[str, object]:
    result = await caller(bench.context)("Bash", command=command)
    return result.content, result.data


async def in_the_background(bench: Bench, command: str) -> tuple[str, object]:
    call = caller(bench.context)
    begun = await call("Bash", command=command, run_in_background=True)
    async with asyncio.timeout(30):
        while not bench.ends:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    result = await call("BashOutput", bash_id=begun.data["shell_id"])
    return result.content, result.data


async def in_a_terminal(bench: Bench, command: str) -> tuple[str, object]:
    terminals = Terminals(await Loader().get(), bench.context)
    try:
        _, terminal = terminals.create(command, {}, None, None, lambda chunk: None)
        await asyncio.wait([terminal.job])
        return terminal.text(), None
    finally:
        await terminals.close()


async def as_an_agent(bench: Bench, command: str) -> tuple[str, object]:
    brief = make_brief(
        bench.context.worktree, Endpoint(None), context=bench.context, agent=AgentConfig(command=command)
    )
    events: list[BackendEvent] = []
    try:
        async for event in CommandBackend().play(brief, Host()):
            events.append(event)
    except AgentPaneError as error:
        assert "The sandbox has ended the command" in error.message
    (finished,) = of_kind(events, ToolFinished)
    return finished.result.content, finished.result.data


Way = Callable[[Bench, str], Awaitable[tuple[str, object]]]


@pytest.mark.parametrize("way", [by_bash, in_the_background, in_a_terminal, as_an_agent])
async def test_a_refused_host_and_an_end_before_its_time_are_told(bench: Bench, way: Way) -> None:
    content, data = await way(bench, ASK)
    assert REFUSED in content and "a person can allow it" in content
    assert bench.told() == [{"state": "host_refused", "host": f"{name}.example:80"} for name in ("evil", "other")]
    bench.ends.clear()
    ended, why = await way(bench, f"echo begun; {BOMB}")
    assert "begun" in ended and f"{PROCESSES} may" in ended and "in smaller parts" in ended
    (note,) = bench.told()
    assert note["state"] == "command_ended" and f"{PROCESSES} may" in str(note["message"])
    if isinstance(data, dict) and isinstance(why, dict):
        assert data["refused_hosts"] == ["evil.example:80", "other.example:80"] and "killed_for" not in data
        assert why["killed_for"] == note["message"] and "refused_hosts" not in why


async def test_a_host_is_told_to_the_session_once_and_to_the_agent_each_time(bench: Bench) -> None:
    for _ in range(2):
        assert REFUSED in (await by_bash(bench, ASK))[0]
    assert len(bench.told()) == 2
    content, data = await by_bash(bench, "echo quiet")
    assert content == "quiet" and not bench.told() and isinstance(data, dict) and "refused_hosts" not in data
