"""Tool servers as a run has them: real programs and a real address, well behaved and not."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import uvicorn

from agentpane.domain.engine import McpServer
from agentpane.domain.json import JsonObject
from agentpane.domain.mcp import PREFIX
from agentpane.domain.sandbox import NO_NETWORK, Network, NetworkMode, Tier
from agentpane.orchestrator.agents.secrets import SecretStore
from agentpane.orchestrator.mcp import connection, servers
from agentpane.orchestrator.mcp.servers import Servers, Wanted, secret_name
from agentpane.orchestrator.tools import Tool, ToolContext, ToolResult
from agentpane.sandbox import BareSandbox, detect, tool_environment
from tests.tool_servers import honest

HERE = Path(__file__).parent
SECRET = "s3cret-value"


def rude(manner: str, name: str = "rude", **fields: object) -> McpServer:
    return McpServer(name, command=f"{sys.executable} {HERE / 'rude.py'} {manner}", **fields)  # type: ignore[arg-type]


@dataclass
class Stage:
    worktree: Path
    secrets: SecretStore
    notes: list[JsonObject] = field(default_factory=list)

    @property
    def servers(self) -> Servers:
        return Servers(detect(), self.secrets)

    @asynccontextmanager
    async def tools(self, *own: McpServer, **fields: object) -> AsyncIterator[dict[str, Tool]]:
        wanted = self.wanted(own=own, **fields)
        async with self.servers.of_run(wanted, self.notes.append) as tools:
            yield {tool.name.removeprefix(PREFIX): tool for tool in tools}

    def wanted(self, **fields: object) -> Wanted:
        given: dict[str, object] = {
            "own": (),
            "of_repository": (),
            "worktree": self.worktree,
            "readable": (),
            "network": NO_NETWORK,
            "agent_tools": None,
            "project_tools": (),
        }
        return Wanted(**{**given, **fields})  # type: ignore[arg-type]

    async def call(self, tool: Tool, **input: object) -> ToolResult:
        context = ToolContext(self.worktree, BareSandbox(), (), tool_environment(self.worktree), NO_NETWORK)
        return await tool.run(input, context, None)

    def problem(self) -> str:
        return str(next(note["problem"] for note in self.notes if "problem" in note))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "worktree").mkdir()
    (tmp_path / "data").mkdir()
    return Stage(tmp_path / "worktree", SecretStore(tmp_path / "data"))


@pytest.fixture(autouse=True)
def started() -> Iterator[Callable[[], list[str]]]:
    """What the test has started and still runs; nothing at its end. A display of other tests does not count."""
    before = set(psutil.Process().children(recursive=True))

    def found() -> list[str]:
        now = set(psutil.Process().children(recursive=True)) - before
        return [" ".join(child.cmdline()) for child in now if child.is_running()]

    yield found
    assert found() == []


async def test_a_program_of_the_sdk_serves_text_numbers_pictures_failures_and_long_answers(
    stage: Stage, home: Path
) -> None:
    server = McpServer("honest", command=f"{sys.executable} {honest.__file__}", environment=(("GIVEN", "yes"),))
    async with stage.tools(server) as tools:
        assert sorted(tools) == [
            f"honest__{name}" for name in ("add", "fail", "greeting", "long_text", "picture", "surroundings")
        ]
        assert "Adds two numbers." in tools["honest__add"].description
        assert (await stage.call(tools["honest__greeting"], name="Ada")).content == "Hello, Ada."
        assert (await stage.call(tools["honest__add"], a=2, b=3)).content.startswith("5")
        failed = await stage.call(tools["honest__fail"])
        assert failed.is_error and "fail" in failed.content
        (image,) = (await stage.call(tools["honest__picture"])).images
        assert image.media_type == "image/png" and base64.b64decode(image.data) == honest.PIXEL
        long = await stage.call(tools["honest__long_text"], length=100_000)
        assert len(long.content) < 31_000 and "70000 characters left out" in long.content
        about = (await stage.call(tools["honest__surroundings"])).content
        assert f'"cwd": "{home}"' in about, "the worktree holds what an agent wrote"
        assert '"GIVEN": "yes"' in about and '"ANTHROPIC_API_KEY": null' in about
    assert stage.notes == [{"state": "tool_server", "server": "honest", "tools": 6, "refused": []}]


@asynccontextmanager
async def at_an_address() -> AsyncIterator[str]:
    config = uvicorn.Config(honest.over_http(), host="127.0.0.1", port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        await serving


async def test_an_address_serves_as_a_program_does(stage: Stage) -> None:
    async with at_an_address() as url, stage.tools(McpServer("web", url=url)) as tools:
        assert (await stage.call(tools["web__greeting"], name="Ada")).content == "Hello, Ada."


async def test_a_repositorys_address_is_reached_only_where_the_projects_network_reaches(stage: Stage) -> None:
    async with at_an_address() as url:
        server = McpServer("web", url=url)
        async with stage.tools(of_repository=(server,)) as tools:
            assert tools == {}
            assert stage.problem() == "the project's network does not reach it"
        listed = Network(NetworkMode.HOSTS, ("127.0.0.1",))
        async with stage.tools(of_repository=(server,), network=listed) as tools:
            assert "web__greeting" in tools


async def test_nobody_at_an_address_is_said(stage: Stage) -> None:
    async with stage.tools(McpServer("web", url="http://127.0.0.1:9/mcp")) as tools:
        assert tools == {}
    assert stage.problem()


async def test_a_repositorys_program_runs_in_the_sandbox_and_not_without_one(stage: Stage, home: Path) -> None:
    (home / "private.txt").write_text("mine")
    script = (
        (HERE / "rude.py")
        .read_text()
        .replace("hello {os.environ.get('HIDDEN', '')}", "{os.listdir(os.environ['HOME'])}")
    )
    (stage.worktree / "rude.py").write_text(script)
    server = McpServer("theirs", command="python3 rude.py kind")
    bare = Servers(BareSandbox(), stage.secrets)
    async with bare.of_run(stage.wanted(of_repository=(server,)), stage.notes.append) as tools:
        assert tools == ()
        assert "no sandbox" in stage.problem()
    if detect().tier is not Tier.NONE:
        async with stage.tools(of_repository=(server,)) as tools:
            assert "private.txt" not in (await stage.call(tools["theirs__plain"])).content
    async with stage.tools(McpServer("mine", command=f"python3 {stage.worktree}/rude.py kind")) as tools:
        assert "private.txt" in (await stage.call(tools["mine__plain"])).content, "the person's own sees it"


async def test_a_server_that_does_not_answer_holds_nobody_up_and_leaves_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.Connection.open, "__defaults__", (3.0,))
    async with stage.tools(rude("silent"), rude("kind", "kind")) as tools:
        assert list(tools) == ["kind__plain"]
    assert stage.problem() == "it did not answer within 3 s"


async def test_a_server_that_ends_at_once_is_said_with_its_last_words_and_without_its_secret(stage: Stage) -> None:
    await stage.secrets.put(secret_name("rude", "HIDDEN"), SECRET)
    async with stage.tools(rude("dies_at_once", secret_environment=("HIDDEN",))) as tools:
        assert tools == {}
    assert stage.problem() == "it ended with exit code 3; it said: no luck today, •••"


async def test_a_command_that_is_not_there_is_said(stage: Stage) -> None:
    async with stage.tools(McpServer("gone", command="no-such-program-anywhere")) as tools:
        assert tools == {}
    assert "127" in stage.problem()


async def test_a_server_that_dies_in_a_call_gives_an_error_and_says_so_once(stage: Stage) -> None:
    await stage.secrets.put(secret_name("rude", "HIDDEN"), SECRET)
    async with stage.tools(rude("dies", secret_environment=("HIDDEN",))) as tools:
        first = await stage.call(tools["rude__plain"])
        second = await stage.call(tools["rude__plain"])
    assert first.is_error and second.is_error
    assert SECRET not in first.content + second.content + str(stage.notes)
    assert [note.get("problem") is not None for note in stage.notes] == [False, True]


async def test_a_call_that_is_not_answered_ends_in_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "CALL_SECONDS", 0.3)
    async with stage.tools(rude("sleeps")) as tools:
        result = await stage.call(tools["rude__plain"])
    assert result.is_error and "did not answer within 0.3 s" in result.content


async def test_nothing_that_a_server_started_outlives_the_run(stage: Stage, started: Callable[[], list[str]]) -> None:
    async with stage.tools(rude("family")) as tools:
        await stage.call(tools["rude__plain"])
        assert len(started()) >= 3
    assert started() == []


async def test_a_run_that_is_stopped_while_servers_start_leaves_nobody(
    stage: Stage, started: Callable[[], list[str]]
) -> None:
    async def begin() -> None:
        async with stage.tools(rude("silent")):
            pytest.fail("it never answers")

    job = asyncio.create_task(begin())
    async with asyncio.timeout(10):
        while len(started()) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    assert job.cancelled()


async def test_of_a_hostile_server_only_what_is_sound_is_let_through(stage: Stage) -> None:
    async with stage.tools(rude("hostile")) as tools:
        assert sorted(tools) == ["rude__dotted_name", "rude__plain"]
        words = tools["rude__dotted_name"].description
        assert "\u202e" not in words and "\x1b" not in words and len(words) < 2_200
    (note,) = stage.notes
    refused = note["refused"]
    assert isinstance(refused, list) and len(refused) == 10
    assert [str(line).split(":")[0] for line in refused][:3] == ["plain", "spaced out", "line break"]


async def test_too_many_tools_and_endless_pages_are_cut(stage: Stage) -> None:
    async with stage.tools(rude("many"), rude("pages_without_end", "pages")) as tools:
        names = list(tools)
    assert len([name for name in names if name.startswith("rude__")]) == 100
    assert len([name for name in names if name.startswith("pages__")]) == connection.MOST_PAGES
    assert names == sorted(names, key=lambda name: (not name.startswith("rude"), name)), "the order is always the same"


async def test_a_line_without_end_ends_the_server(stage: Stage) -> None:
    async with stage.tools(rude("endless")) as tools:
        assert tools == {}
    assert stage.problem()


async def test_a_pattern_that_takes_for_ever_is_not_tried(stage: Stage) -> None:
    async with asyncio.timeout(20), stage.tools(rude("pattern")) as tools:
        result = await stage.call(tools["rude__plain"])
    assert "aaaa!" in result.content


async def test_words_on_its_output_and_a_claim_to_read_only_change_nothing(stage: Stage) -> None:
    async with stage.tools(rude("chatty", "chatty"), rude("claims_to_read", "reader")) as tools:
        assert (await stage.call(tools["chatty__plain"])).content == "hello"
        assert tools["reader__plain"].mutates


async def test_what_is_neither_text_nor_a_picture_is_told_in_words(stage: Stage) -> None:
    async with stage.tools(rude("odd_blocks")) as tools:
        content = (await stage.call(tools["rude__plain"])).content
    for part in ("audio/wav", "the notes", "file:///blob", "elsewhere", "image/tiff", '"found": 1'):
        assert part in content


async def test_a_secret_reaches_its_server_and_nobody_else(stage: Stage, tmp_path: Path) -> None:
    await stage.secrets.put(secret_name("rude", "HIDDEN"), SECRET)
    kept = tmp_path / "data" / "secrets.json"
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    async with stage.tools(rude("kind", secret_environment=("HIDDEN",)), rude("kind", "other")) as tools:
        assert (await stage.call(tools["rude__plain"])).content == "hello •••"
        assert (await stage.call(tools["other__plain"])).content == "hello"
    await stage.secrets.put(secret_name("rude", "HIDDEN"), "")
    assert not kept.exists()
    async with stage.tools(rude("kind", secret_environment=("HIDDEN",))) as tools:
        assert tools == {}
    assert "HIDDEN is not stored" in stage.problem()


@pytest.mark.parametrize(
    ("agent", "project", "there"),
    [
        (None, ("Read",), ["a__plain", "b__plain"]),
        (None, ("Read", "mcp__a"), ["a__plain"]),
        (("Read",), ("Read",), []),
        (("mcp__b__plain",), ("Read",), ["b__plain"]),
        (("mcp__b__other",), ("Read",), []),
    ],
)
async def test_a_list_of_tools_names_what_an_agent_has_of_servers(
    stage: Stage, agent: tuple[str, ...] | None, project: tuple[str, ...], there: list[str]
) -> None:
    two = (rude("kind", "a"), rude("kind", "b"))
    async with stage.tools(*two, agent_tools=agent, project_tools=project) as tools:
        assert list(tools) == there


async def test_the_persons_server_comes_before_a_repositorys_of_the_same_name(stage: Stage) -> None:
    theirs = McpServer("Rude", command="touch /tmp/never")
    async with stage.tools(rude("kind"), of_repository=(theirs,)) as tools:
        assert list(tools) == ["rude__plain"]
    assert "has this name" in stage.problem()


async def test_a_check_starts_lists_and_ends_a_server(stage: Stage) -> None:
    found = await stage.servers.check(rude("hostile"))
    assert (found.problem, len(found.tools), len(found.refused)) == ("", 2, 10)
    assert (await stage.servers.check(rude("dies_at_once"))).problem.startswith("it ended with exit code 3")
