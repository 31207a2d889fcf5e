"""The person's tool servers: added, taken away and tried out. Their secrets are kept as keys are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agentpane.api import commands as c
from agentpane.api.events import SettingsChanged
from agentpane.db import audit, settings
from agentpane.domain.budgets import Budget
from agentpane.domain.engine import McpServer, Settings
from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.limits import invalid
from agentpane.domain.mcp import McpCheck, check_server, check_servers
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.agents.secrets import SecretStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.mcp.servers import Servers, secret_name

Change = Callable[[tuple[McpServer, ...]], tuple[McpServer, ...]]
OWN_CHAIN = "agentpane"  # the audit chain of what belongs to no project


@dataclass(frozen=True, slots=True)
class Registry:
    core: Core
    servers: Servers
    secrets: SecretStore

    async def add(self, command: c.AddMcpServer) -> Settings:
        """Store a server, in the place of one with the same name, and its secrets beside."""
        server = check_server(command.server)
        for name in command.secrets:
            if name not in server.secret_environment:
                raise invalid("secrets", f"“{name}” is not among the names of the server's secrets.")
        if not all(command.secrets.values()):
            raise invalid("secrets", "A secret is empty.")
        before = await self._stored()
        changed = await self._change("mcp.add", server, lambda now: (*_without(now, server.name), server))
        await self.forget_unused(before, changed)
        for name, value in command.secrets.items():
            await self.secrets.put(secret_name(server.name, name), value)
        return changed

    async def remove(self, command: c.RemoveMcpServer) -> Settings:
        before = await self._stored()
        server = _named(before, command.name)
        changed = await self._change("mcp.remove", server, lambda now: _without(now, command.name))
        await self.forget_unused(before, changed)
        return changed

    async def check(self, command: c.CheckMcpServer) -> McpCheck:
        return await self.servers.check(_named(await self._stored(), command.name))

    async def forget_unused(self, before: Settings, now: Settings) -> None:
        """Forget the secrets that no server has any more."""
        for gone in _secrets(before) - _secrets(now):
            await self.secrets.put(gone, "")

    async def _stored(self) -> Settings:
        return await self.core.db.read(settings.get)

    async def _change(self, act: str, server: McpServer, change: Change) -> Settings:
        entry = self.core.record(act, OWN_CHAIN, input=_told(server))

        def store(connection: settings.Connection) -> Settings:
            now = settings.get(connection)
            wanted = replace(now, mcp_servers=check_servers(change(now.mcp_servers)))
            settings.put(connection, wanted, self.core.clock.now())
            audit.append(connection, (entry,))
            return wanted

        changed = await self.core.db.write(store)
        self.core.bus.publish(SettingsChanged(changed))
        return changed


def told_of_setting(value: object) -> JsonValue:
    """A setting as the audit log is told of it."""
    match value:
        case Budget():
            return {"usd": value.usd, "tokens": value.tokens}
        case McpServer():
            return _told(value)
        case tuple():
            return [told_of_setting(each) for each in value]
        case bool() | int() | float() | str() | None:
            return value
        case _:
            return str(value)


def _told(server: McpServer) -> JsonObject:
    """What the audit log is told of a server: the names of what it is given, and no values."""
    return {
        "name": server.name,
        "command": server.command,
        "url": server.url,
        "environment": [name for name, _ in server.environment],
        "secret_environment": list(server.secret_environment),
    }


def _secrets(chosen: Settings) -> set[str]:
    return {secret_name(server.name, name) for server in chosen.mcp_servers for name in server.secret_environment}


def _without(servers: tuple[McpServer, ...], name: str) -> tuple[McpServer, ...]:
    return tuple(server for server in servers if server.name != name)


def _named(chosen: Settings, name: str) -> McpServer:
    for server in chosen.mcp_servers:
        if server.name == name:
            return server
    known = ", ".join(server.name for server in chosen.mcp_servers) or "none"
    raise _unknown(name, known)


def _unknown(name: str, known: str) -> AgentPaneError:
    return invalid("name", f"There is no tool server “{name}”; there are: {known}.", "`agentpane mcp list` shows them.")
