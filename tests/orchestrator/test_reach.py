"""Rules about hosts hold for commands: on a real proxy, with a real server behind it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.domain.agents import AgentConfig
from tests.backends.wire import say, use
from tests.orchestrator.conftest import running, scripted
from tests.web import web_server

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"


@pytest.fixture
def page() -> Iterator[int]:
    """A web server of this machine; its port."""
    with web_server() as port:
        yield port


def fetch(*addresses: str) -> list[dict[str, object]]:
    """One call a host, through the proxy that the command is told of."""
    script = "no_proxy= NO_PROXY= python3 -c " + shlex.quote(FETCH)
    return [use("Bash", command=f"{script} http://{address} 2>&1 | tail -1") for address in addresses]


async def test_an_agents_rules_change_what_the_proxy_lets_through(data: Path, repository: Path, page: int) -> None:
    listed, denied = f"127.0.0.1:{page}/listed", f"127.0.0.2:{page}/denied"
    with scripted(fetch(listed, denied, "localhost/allowed", "evil.example/"), [say("Nothing to do.")]) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            hosts = (f"127.0.0.1:{page}", f"127.0.0.2:{page}")
            config = replace(project.config, network="hosts", hosts=hosts, rules=("deny Network(127.0.0.2)",))
            await bench.engine.do(c.EditProject(project.id, config=config))
            (agent,) = await bench.engine.do(c.ListAgents(project.id))
            allowing = AgentConfig(rules=("allow Network(localhost)",))
            await bench.engine.do(c.EditAgent(agent.id, config=allowing))
            task = await bench.settled(await bench.start(await bench.card(project)))
            noted = [event.data for event in await bench.session(task) if event.data.get("state") == "host_refused"]
    results = server.requests[-1].messages[-1]["content"]
    assert isinstance(results, list)
    shown = [str(result["content"]) for result in results]
    assert shown[0] == f"/listed None 127.0.0.1:{page}"
    assert "403" in shown[1] and f"The network refused 127.0.0.2:{page}" in shown[1]
    assert "403" not in shown[2] and "The network refused" not in shown[2]  # let through to a port where nobody listens
    assert "403" in shown[3] and "The network refused evil.example:80" in shown[3]
    assert [data["host"] for data in noted] == [f"127.0.0.2:{page}", "evil.example:80"]
    system = json.dumps(server.requests[0].body["system"])
    assert "localhost, but not 127.0.0.2" in system
