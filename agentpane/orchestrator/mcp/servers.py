"""The tool servers of a run: started with it, asked for their tools once, and ended with it.

The person's own run as the person; a repository's, once trusted, run in the sandbox with the project's network. What
a server offers is read when the run starts and stays so until its end: a request's prefix is cached, tools included.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentpane.domain.engine import McpServer
from agentpane.domain.json import JsonObject
from agentpane.domain.mcp import McpCheck, McpTool, is_chosen, may_connect, offered
from agentpane.domain.sandbox import EVERYWHERE, Network, Tier
from agentpane.orchestrator.agents.secrets import SecretStore
from agentpane.orchestrator.mcp.launch import Launch, ServerFailedError
from agentpane.orchestrator.mcp.tools import Call, ServerTool
from agentpane.orchestrator.tools.base import Tool, ToolContext, ToolResult
from agentpane.sandbox import BareSandbox, Sandbox, tool_environment
from agentpane.sandbox.supervise import uninterrupted

if TYPE_CHECKING:
    from mcp.types import CallToolResult

    from agentpane.orchestrator.mcp.connection import Connection

CALL_SECONDS = 120.0
STATE = "tool_server"  # of the session's events about servers

Note = Callable[[JsonObject], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run may have of tool servers.

    own, of_repository: the servers of the person's settings, and those of the repository that are trusted.
    agent_tools, project_tools: the lists of allowed tools, as in `domain.mcp.is_chosen`.
    """

    own: Sequence[McpServer]
    of_repository: Sequence[McpServer]
    worktree: Path
    readable: tuple[Path, ...]
    network: Network
    agent_tools: Sequence[str] | None
    project_tools: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sdk:
    """What the modules that are slow to import give us."""

    connection: Callable[[Launch], Connection]
    result_of: Callable[[CallToolResult, ToolContext, Collection[str]], Awaitable[ToolResult]]


@dataclass(slots=True)
class _Running:
    """A server that answered, and what is to be hidden of it."""

    launch: Launch
    sdk: Sdk
    connection: Connection
    tools: tuple[McpTool, ...]
    refused: tuple[str, ...]
    told: bool = field(default=False)  # that it has failed since


class Servers:
    """Starts servers. It holds nothing of a run."""

    def __init__(self, sandbox: Sandbox, secrets: SecretStore) -> None:
        self._sandbox = sandbox
        self._secrets = secrets

    @asynccontextmanager
    async def of_run(self, wanted: Wanted, note: Note) -> AsyncIterator[tuple[Tool, ...]]:
        """The further tools of a run. note: is told how each server fares; a failed one only lacks.

        When the context ends, nothing that a server started is left.
        """
        launches = await self._launches(wanted, note)
        running = await self._started(launches, note)
        try:
            yield tuple(
                ServerTool(tool, self._caller(server, note))
                for server in running
                for tool in server.tools
                if is_chosen(tool.name, wanted.agent_tools, wanted.project_tools)
            )
        finally:
            await uninterrupted(_closed([server.connection for server in running]))

    async def check(self, server: McpServer) -> McpCheck:
        """Start one of the person's own servers, list its tools, and end it."""
        problems: list[JsonObject] = []
        try:
            launch = await self._own(server)
        except ServerFailedError as failure:
            return McpCheck(server.name, str(failure))
        running = await self._started([launch], problems.append)
        await uninterrupted(_closed([each.connection for each in running]))
        if not running:
            return McpCheck(server.name, str(problems[0]["problem"]))
        return McpCheck(server.name, "", running[0].tools, running[0].refused)

    async def _launches(self, wanted: Wanted, note: Note) -> list[Launch]:
        launches: list[Launch] = []
        for server in wanted.own:
            if server.enabled:
                try:
                    launches.append(await self._own(server))
                except ServerFailedError as failure:
                    note(_problem(server, str(failure)))
        taken = {server.name.lower() for server in wanted.own}
        for server in wanted.of_repository:
            if server.name.lower() in taken:
                note(_problem(server, "a server of your own has this name; the repository's is left out"))
                continue
            try:
                launches.append(self._of_repository(server, wanted))
            except ServerFailedError as failure:
                note(_problem(server, str(failure)))
        return launches

    async def _own(self, server: McpServer) -> Launch:
        """As the person, from the home folder: a worktree holds what an agent has written."""
        values: dict[str, str] = {}
        for name in server.secret_environment:
            value = await self._secrets.get(secret_name(server.name, name))
            if value is None:
                raise ServerFailedError(f"its secret {name} is not stored; add the server again with it")
            values[name] = value
        home = Path.home()
        given = {**dict(server.environment), **values}
        return Launch(
            server=server,
            sandbox=BareSandbox(),
            worktree=home,
            folder=home,
            readable=(),
            network=EVERYWHERE,
            environment={**tool_environment(home), **given} if server.url is None else {},
            headers=given if server.url is not None else {},
            secrets=frozenset(values.values()),
        )

    def _of_repository(self, server: McpServer, wanted: Wanted) -> Launch:
        if server.url is not None and not may_connect(server.url, wanted.network):
            raise ServerFailedError("the project's network does not reach it")
        if server.url is None and self._sandbox.tier is Tier.NONE:
            raise ServerFailedError("there is no sandbox, and a repository's server is not started without one")
        given = dict(server.environment)
        return Launch(
            server=server,
            sandbox=self._sandbox,
            worktree=wanted.worktree,
            folder=wanted.worktree,
            readable=wanted.readable,
            network=wanted.network,
            environment={**tool_environment(wanted.worktree), **given} if server.url is None else {},
            headers=given if server.url is not None else {},
        )

    async def _started(self, launches: Sequence[Launch], note: Note) -> list[_Running]:
        """Start them side by side. Cancelled meanwhile, nothing of them is left."""
        if not launches:
            return []
        sdk = await asyncio.to_thread(_load)
        connections = [sdk.connection(launch) for launch in launches]
        try:
            answers = await asyncio.gather(*(each.open() for each in connections), return_exceptions=True)
        except BaseException:
            await uninterrupted(_closed(connections))
            raise
        running = []
        for launch, connection, answer in zip(launches, connections, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, ServerFailedError):
                    await uninterrupted(_closed(connections))
                    raise answer
                note(_problem(launch.server, str(answer)))
                continue
            tools, refused = offered(launch.server.name, answer)
            running.append(_Running(launch, sdk, connection, tools, refused))
            note({"state": STATE, "server": launch.server.name, "tools": len(tools), "refused": list(refused)})
        return running

    def _caller(self, server: _Running, note: Note) -> Call:
        sdk = server.sdk

        async def call(tool: McpTool, input: Mapping[str, object], context: ToolContext) -> ToolResult:
            try:
                answer = await server.connection.call(tool.own_name, input, CALL_SECONDS)
            except ServerFailedError as failure:
                name = server.launch.server.name
                if not server.told:
                    server.told = True
                    note(_problem(server.launch.server, str(failure)))
                words = f"The tool server “{name}” gave no result: {failure}."
                return ToolResult(words, True, f"no result: {failure}", {"server": name})
            return await sdk.result_of(answer, context, server.launch.secrets)

        return call


def secret_name(server: str, name: str) -> str:
    """Under which name a server's secret is kept."""
    return f"mcp:{server}:{name}"


def _load() -> Sdk:
    """Runs in a thread: the SDK takes over a second."""
    from agentpane.orchestrator.mcp.connection import Connection
    from agentpane.orchestrator.mcp.results import result_of

    return Sdk(Connection, result_of)


def _problem(server: McpServer, why: str) -> JsonObject:
    return {"state": STATE, "server": server.name, "problem": why}


async def _closed(connections: Sequence[Connection]) -> None:
    await asyncio.gather(*(each.close() for each in connections), return_exceptions=True)
