"""Tool servers: what a configuration of one may say, and what of a server's tools is let through.

A server's words are foreign: names are held to the Messages API's pattern, descriptions are cut and freed of hidden
characters, and a schema that the API or our own check of inputs could stumble over keeps its tool out.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from agentpane.domain.engine import McpServer
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import check_line, check_text, invalid
from agentpane.domain.sandbox import Network, NetworkMode
from agentpane.errors import AgentPaneError, ErrorCode

CONFIG_PATH = ".mcp.json"
PREFIX = "mcp__"
MOST_SERVERS = 20
MOST_TOOLS = 100  # of one server
DESCRIPTION_LIMIT = 2_000  # characters
SCHEMA_LIMIT = 32 * 1024  # characters of JSON
SCHEMA_DEPTH = 20
NAME_LIMIT = 128  # characters of a tool's whole name

_SERVER_NAME = re.compile(r"[a-zA-Z0-9-]([a-zA-Z0-9_-]{0,38}[a-zA-Z0-9-])?\Z")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]+\Z")
_PROPERTY_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_KINDS = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_RULED_OUT = frozenset({"oneOf", "allOf", "anyOf"})  # at the top of a schema, where the Messages API refuses them


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool of a server as it is offered. name: the whole one; own_name: what the server calls it."""

    name: str
    own_name: str
    description: str
    input_schema: JsonObject


@dataclass(frozen=True, slots=True)
class McpCheck:
    """What came of starting a server once. problem: why it cannot be used, empty when it can.

    refused: the tools that are kept out, with the reason, one line each.
    """

    name: str
    problem: str
    tools: tuple[McpTool, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryServers:
    """What a repository's .mcp.json says on the base branch, and whether the person trusts it as it stands.

    problem: why the file cannot be read; empty when it can or is not there.
    """

    servers: tuple[McpServer, ...] = ()
    trusted: bool = True
    problem: str = ""


def check_servers(servers: Sequence[McpServer]) -> tuple[McpServer, ...]:
    """Raises AgentPaneError with VALIDATION_ERROR naming the field."""
    if len(servers) > MOST_SERVERS:
        raise invalid("mcp_servers", f"At most {MOST_SERVERS} tool servers fit.")
    names = [server.name.lower() for server in servers]
    if len(set(names)) != len(names):
        raise invalid("mcp_servers", "Two tool servers have the same name.")
    return tuple(check_server(server) for server in servers)


def check_server(server: McpServer) -> McpServer:
    """Raises AgentPaneError with VALIDATION_ERROR naming the field."""
    if not _SERVER_NAME.match(server.name) or "__" in server.name:
        raise invalid(
            "name",
            f"“{server.name}” cannot be a tool server's name: up to 40 letters, digits, “-” and single “_” inside.",
        )
    if (server.command is None) == (server.url is None):
        raise invalid("command", "A tool server has either a command or an address.")
    if server.command is not None:
        check_text("command", server.command, 4_000)
    if server.url is not None:
        check_url(server.url)
    names = [*(name for name, _ in server.environment), *server.secret_environment]
    if len(set(names)) != len(names):
        raise invalid("environment", "A name is given twice.")
    pattern, what = (_VARIABLE, "variable") if server.command is not None else (_HEADER, "header")
    for name in names:
        if not pattern.match(name) or len(name) > 200:
            raise invalid("environment", f"“{name}” is no {what}'s name.")
    for _, value in server.environment:
        if value:
            check_line("environment", value, 8_000)
    return server


def check_url(url: str) -> None:
    """Raises AgentPaneError with VALIDATION_ERROR."""
    check_line("url", url, 2_000)
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise invalid("url", f"“{url}” is no address.") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise invalid("url", "The address must begin with http:// or https:// and name a host.")
    if "@" in parts.netloc:
        raise invalid("url", "The address must hold no name or password: give a secret instead.")


def parse_servers(content: bytes) -> tuple[McpServer, ...]:
    """Read a repository's .mcp.json: {"mcpServers": {NAME: {command, args, env} or {type: "http", url, headers}}}.

    Raises AgentPaneError with PROJECT_CONFIG_INVALID, naming the server and the key at fault.
    """
    try:
        table = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise _unreadable(str(fault)) from fault
    named = table.get("mcpServers", {}) if isinstance(table, dict) else None
    if not isinstance(named, dict):
        raise _unreadable("“mcpServers” must be an object")
    try:
        return check_servers([_server(name, entry) for name, entry in named.items()])
    except AgentPaneError as fault:
        if fault.code is ErrorCode.PROJECT_CONFIG_INVALID:
            raise
        raise _unreadable(fault.message.rstrip(".")) from fault


def _server(name: str, entry: object) -> McpServer:
    if not isinstance(entry, dict):
        raise _unreadable(f"“{name}” must be an object")
    kind = entry.get("type", "http" if "url" in entry else "stdio")
    if kind in {"http", "streamable-http"}:
        return McpServer(name, url=_words(name, entry, "url"), environment=_table(name, entry, "headers"))
    if kind != "stdio":
        raise _unreadable(f"“{name}” is of type {kind!r}; stdio and http can be used")
    arguments = entry.get("args", [])
    if not isinstance(arguments, list) or not all(isinstance(each, str) for each in arguments):
        raise _unreadable(f"“args” of “{name}” must be a list of strings")
    command = " ".join(_quoted(each) for each in (_words(name, entry, "command"), *arguments))
    return McpServer(name, command=command, environment=_table(name, entry, "env"))


def _words(name: str, entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _unreadable(f"“{key}” of “{name}” must be a string")
    return _no_variables(name, key, value)


def _table(name: str, entry: Mapping[str, object], key: str) -> tuple[tuple[str, str], ...]:
    value = entry.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise _unreadable(f"“{key}” of “{name}” must be an object of strings")
    return tuple((_no_variables(name, key, each), _no_variables(name, key, value[each])) for each in value)


def _no_variables(name: str, key: str, value: str) -> str:
    """A file of a repository gets nothing of the person's environment."""
    if "${" in value:
        raise _unreadable(f"“{key}” of “{name}” refers to a variable, and a repository is given none")
    return value


def _quoted(word: str) -> str:
    """A word for the shell, literally."""
    if word and re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _unreadable(what: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.PROJECT_CONFIG_INVALID,
        f"The repository's {CONFIG_PATH} cannot be read: {what}.",
        hint="Correct the file on the base branch and commit it. Nothing has been changed.",
        details={"file": CONFIG_PATH},
    )


def may_connect(url: str, network: Network) -> bool:
    """Whether a run with this network may speak to the server at `url`."""
    if network.mode is not NetworkMode.HOSTS:
        return network.mode is NetworkMode.ALL
    host = (urlsplit(url).hostname or "").lower()
    if network.refuses(host):
        return False
    for pattern in network.hosts:
        wanted = pattern.lower()
        if wanted in ("*", host) or (wanted.startswith("*.") and host.endswith(wanted[1:])):
            return True
    return False


# What a server offers


def offered(
    server: str, listed: Iterable[tuple[str, str | None, object]]
) -> tuple[tuple[McpTool, ...], tuple[str, ...]]:
    """The tools that are let through, by name, and why others are not, one line each.

    listed: (name, description, input schema) as the server gives them.
    """
    tools: dict[str, McpTool] = {}
    refused: list[str] = []
    for name, description, schema in listed:
        whole, problem = _whole_name(server, name), _schema_problem(schema)
        shown = shown_text(name, 60)
        if whole is None:
            refused.append(f"{shown}: a name that tools cannot have")
        elif whole in tools:
            refused.append(f"{shown}: the name is taken by another tool of this server")
        elif problem is not None:
            refused.append(f"{shown}: {problem}")
        elif len(tools) == MOST_TOOLS:
            refused.append(f"{shown}: a server may have {MOST_TOOLS} tools")
        else:
            assert isinstance(schema, Mapping)
            words = shown_text(description or "", DESCRIPTION_LIMIT, lines=True)
            about = f"From the tool server “{server}”, in its own words: {words or 'nothing'}"
            tools[whole] = McpTool(whole, name, about, schema)
    return tuple(sorted(tools.values(), key=lambda tool: tool.name)), tuple(refused)


def is_chosen(tool: str, own: Sequence[str] | None, of_project: Sequence[str]) -> bool:
    """Whether an agent has this tool of a server.

    own, of_project: the lists of allowed tools. Where one of them names tools of servers, or the agent has a list of
    its own, only what is named is there: a whole tool, or a server as `mcp__SERVER`. Otherwise all are.
    """
    wanted = own if own is not None else of_project
    named = [name for name in wanted if name.startswith(PREFIX)]
    if own is None and not named:
        return True
    return any(tool == name or tool.startswith(f"{name}__") for name in named)


def is_tool_name(name: str) -> bool:
    """Whether a list of allowed tools may hold this name of a server's tools, or of a whole server."""
    rest = name.removeprefix(PREFIX)
    return rest != name and len(name) <= NAME_LIMIT and bool(_TOOL_NAME.match(rest))


def shown_text(text: str, most: int, *, lines: bool = False) -> str:
    """Foreign words without control and format characters, cut to a length; on one line unless `lines`."""
    kept = "".join(
        character if (lines and character == "\n") or not character.isspace() else " "
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    joined = kept.strip() if lines else " ".join(kept.split())
    return joined if len(joined) <= most else joined[: most - 1] + "…"


def _whole_name(server: str, name: str) -> str | None:
    whole = PREFIX + server + "__" + name.replace(".", "_").replace("/", "_")
    return whole if name and len(whole) <= NAME_LIMIT and _TOOL_NAME.match(whole) else None


def _schema_problem(schema: object) -> str | None:
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        return "its input is not described as an object"
    if _RULED_OUT & schema.keys():
        return "its input is described by alternatives"
    try:
        size = len(json.dumps(schema))
    except (TypeError, ValueError, RecursionError):
        return "its input's description is no JSON"
    if size > SCHEMA_LIMIT:
        return f"its input's description has {size:,} characters; {SCHEMA_LIMIT:,} fit"
    return _part_problem(schema, 0)


def _part_problem(schema: object, depth: int) -> str | None:
    """What in a part of a schema our own check of inputs could not read."""
    if depth > SCHEMA_DEPTH:
        return "its input's description is nested too deeply"
    if not isinstance(schema, Mapping):
        return "its input's description has a part that is no object"
    kinds = schema.get("type", ())
    named = (kinds,) if isinstance(kinds, str) else kinds
    if not isinstance(named, Sequence) or not all(isinstance(kind, str) and kind in _KINDS for kind in named):
        return "its input's description names an unknown type"
    required, least = schema.get("required", ()), schema.get("minItems", 0)
    if isinstance(required, str) or not isinstance(required, Sequence) or not isinstance(least, int):
        return "its input's description has a “required” or “minItems” of the wrong kind"
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        return "its input's description has “properties” of the wrong kind"
    wrong = next((name for name in properties if not isinstance(name, str) or not _PROPERTY_NAME.match(name)), None)
    if wrong is not None:
        return f"its input has a field named “{shown_text(str(wrong), 40)}”"
    parts = [*properties.values(), *([schema["items"]] if isinstance(schema.get("items"), Mapping) else [])]
    return next((found for part in parts if (found := _part_problem(part, depth + 1)) is not None), None)


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """`text` with every secret value in it hidden."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, "•••")
    return text
