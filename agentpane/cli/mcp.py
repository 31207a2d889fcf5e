"""`mcp …`: the tool servers that the person's agents may call."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agentpane.api.commands import AddMcpServer, CheckMcpServer, GetSettings, RemoveMcpServer
from agentpane.cli import commands
from agentpane.cli.exits import DONE, SURROUNDINGS
from agentpane.cli.pane import Pane, line, table
from agentpane.domain.engine import McpServer
from agentpane.domain.limits import invalid
from agentpane.domain.mcp import McpCheck

Name = Annotated[str, typer.Argument(metavar="NAME", help="The server's name; its tools are mcp__NAME__TOOL.")]


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "mcp", "The tool servers of your agents: add, list, remove, check.")
    commands.add(
        noun,
        "add",
        add,
        'mcp add notes --command "npx -y some-notes-server" --env NOTES=~/notes',
        "mcp add tracker --url https://tracker.example/mcp --secret Authorization",
    )
    commands.add(noun, "list", list_, "mcp list")
    commands.add(noun, "remove", remove, "mcp remove notes")
    commands.add(noun, "check", check, "mcp check notes")


def add(
    ctx: typer.Context,
    name: Name,
    command: Annotated[str | None, typer.Option(help="The command that starts it; it speaks on stdio.")] = None,
    url: Annotated[str | None, typer.Option(help="Its address, for streamable HTTP.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A variable for the command, a header for the address.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="K", help="One whose value is kept as keys are: taken from your variable K, else asked."),
    ] = None,
) -> None:
    """Let your agents call the tools of a server. It runs as you, outside the sandbox."""
    pane: Pane = ctx.obj
    names = tuple(dict.fromkeys(secret or ()))
    server = McpServer(name, command, url, tuple(_pair(each) for each in env or ()), names)
    secrets = {each: _secret(pane, each) for each in names}
    stored = pane.call(lambda client: client.do(AddMcpServer(server, secrets)))
    added = next(each for each in stored.mcp_servers if each.name == name)
    pane.result(_shape(added), f"{line(name)} is added. agentpane mcp check {line(name)} tries it out.")


def list_(ctx: typer.Context) -> None:
    """List your tool servers."""
    pane: Pane = ctx.obj
    servers = pane.call(lambda client: client.do(GetSettings())).mcp_servers
    rows = ((each.name, each.command or each.url, "" if each.enabled else "off") for each in servers)
    shown = table(rows, ("NAME", "COMMAND OR ADDRESS", "")) or "No tool server yet: agentpane mcp add NAME --command …"
    pane.result([_shape(each) for each in servers], shown)


def remove(ctx: typer.Context, name: Name) -> None:
    """Forget a server and its secrets."""
    pane: Pane = ctx.obj
    pane.call(lambda client: client.do(RemoveMcpServer(name)))
    pane.result({"name": name, "removed": True}, f"{line(name)} is removed.")


def check(ctx: typer.Context, name: Name) -> None:
    """Start a server, list its tools, and end it."""
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(CheckMcpServer(name)))
    pane.status = SURROUNDINGS if found.problem else DONE
    document = {
        "name": found.name,
        "ok": not found.problem,
        "problem": found.problem or None,
        "tools": [{"name": tool.name, "description": tool.description} for tool in found.tools],
        "refused": list(found.refused),
    }
    pane.result(document, _told(found))


def _told(found: McpCheck) -> str:
    if found.problem:
        return f"{line(found.name)} cannot be used: {line(found.problem)}"
    rows: Sequence[tuple[str, str]] = [(tool.name, tool.description) for tool in found.tools]
    parts = [table(rows, ("TOOL", "WHAT IT SAYS OF ITSELF")) or "It offers no tool."]
    parts += [f"Left out: {line(each)}" for each in found.refused]
    return "\n".join(parts)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise invalid("env", f"“{name}” has no value; write it as K=V.")
    return name, value


def _secret(pane: Pane, name: str) -> str:
    """A secret's value: never from the command line, which others can read."""
    value = os.environ.get(name, "")
    if not value and pane.for_people and sys.stdin.isatty():
        value = str(typer.prompt(f"Value of {name}", hide_input=True, err=True))
    if not value:
        raise invalid("secret", f"There is no value for {name}.", f"Set the variable {name} for this command.")
    return value


def _shape(server: McpServer) -> dict[str, Any]:
    return {
        "name": server.name,
        "command": server.command,
        "url": server.url,
        "environment": dict(server.environment),
        "secrets": list(server.secret_environment),
        "enabled": server.enabled,
    }
