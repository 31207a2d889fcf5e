"""What a repository says about itself, and what of it needs the person's trust.

It says it in `.agentpane/config.toml`, in `.mcp.json` (tool servers) and in `.agentpane/agents/*.md` (agents). They are
trusted together, by the exact bytes of them all.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agentpane.domain.agent_files import AgentFile
from agentpane.domain.checks import DEFAULT_TIMEOUT_S, Check, check_checks
from agentpane.domain.engine import McpServer
from agentpane.domain.limits import beginning
from agentpane.domain.projects import ProjectConfig
from agentpane.errors import AgentPaneError, ErrorCode

CONFIG_PATH = ".agentpane/config.toml"
INSTRUCTION_PATHS = ("AGENTS.md", "CLAUDE.md")
MOST_OF_A_VALUE = 200  # characters of a variable or header that a person is shown
MOST_ABOUT_SERVER = 4_000  # of all those of one server


@dataclass(frozen=True, slots=True)
class RepoConfig:
    """What the files say; None or empty where they say nothing. `digest` identifies their exact bytes.

    servers, agents: what `.mcp.json` and the agents' files say. problems: (file, what is wrong with it) for each of
    these that cannot be read; the others hold all the same.
    """

    digest: str
    env_file: str | None = None
    copy_files: tuple[str, ...] = ()
    install_command: str | None = None
    init_script: str | None = None
    allowed_tools: tuple[str, ...] | None = None
    servers: tuple[McpServer, ...] = ()
    agents: tuple[AgentFile, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    checks: tuple[Check, ...] = ()

    def needs_trust(self) -> tuple[str, ...]:
        """What can run a command, widen a grant or hand a private file to an agent, one line each."""
        lines = []
        if self.install_command is not None:
            lines.append(f"install: {self.install_command}")
        if self.init_script is not None:
            lines.append(f"init_script: {self.init_script}")
        if self.allowed_tools is not None:
            lines.append(f"allowed_tools: {', '.join(self.allowed_tools)}")
        if self.env_file is not None:
            lines.append(f"env_file: {self.env_file}")
        if self.copy_files:
            lines.append(f"copy_files: {', '.join(self.copy_files)}")
        lines += [_about_check(check) for check in self.checks]
        lines += [_about_server(server) for server in self.servers]
        lines += [agent.about() for agent in self.agents]
        return tuple(lines)


def _about_check(check: Check) -> str:
    kind = "check" if check.required else "optional check"
    return f"{kind} {check.name}, at most {check.timeout_s} s: {check.command}"


def _about_server(server: McpServer) -> str:
    """What it runs or speaks to, and what it is given: a variable can make a harmless program run anything."""
    shown, room = [f"tool server {server.name}: {server.command or server.url}"], MOST_ABOUT_SERVER
    given = [f"{name}={beginning(value, MOST_OF_A_VALUE)}" for name, value in server.environment]
    given += [f"{name} (a kept secret)" for name in server.secret_environment]
    for at, one in enumerate(given):
        room -= len(one)
        if room < 0:
            shown.append(f"and {len(given) - at} more, which are not shown here")
            break
        shown.append(f"{'env' if server.command is not None else 'header'} {one}")
    return ", ".join(shown)


_KEYS: Mapping[str, tuple[str, type]] = {
    "env_file": ("env_file", str),
    "copy_files": ("copy_files", list),
    "install": ("install_command", str),
    "init_script": ("init_script", str),
    "allowed_tools": ("allowed_tools", list),
}


def parse(content: bytes) -> RepoConfig:
    """Read the file's bytes. Keys that are not known are left for later versions.

    Raises AgentPaneError with PROJECT_CONFIG_INVALID, naming the key or the place at fault.
    """
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise _invalid(str(fault)) from fault
    fields: dict[str, object] = {}
    for key, (name, kind) in _KEYS.items():
        if key not in table:
            continue
        value = table[key]
        if not isinstance(value, kind):
            raise _invalid(f"“{key}” must be {'a list of strings' if kind is list else 'a string'}")
        if isinstance(value, list):
            if not all(isinstance(item, str) for item in value):
                raise _invalid(f"“{key}” must be a list of strings")
            value = tuple(value)
        fields[name] = value
    if "checks" in table:
        fields["checks"] = _checks(table["checks"])
    return replace(RepoConfig(hashlib.sha256(content).hexdigest()), **fields)  # type: ignore[arg-type]


def _checks(tables: object) -> tuple[Check, ...]:
    """Each is a table with `name` and `run`; `required` is true and `timeout` ten minutes in seconds unless given."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _invalid("“checks” must be tables, each under [[checks]]")
    found: list[Check] = []
    for table in tables:
        name, command = table.get("name"), table.get("run")
        required, timeout = table.get("required", True), table.get("timeout", DEFAULT_TIMEOUT_S)
        if not isinstance(name, str) or not isinstance(command, str):
            raise _invalid("each of “checks” needs a “name” and a “run”, both strings")
        if not isinstance(required, bool) or type(timeout) is not int:
            raise _invalid(f"of the check “{name}”, “required” must be true or false and “timeout” whole seconds")
        found.append(Check(name, command, required, timeout))
    try:
        return check_checks(found)
    except AgentPaneError as error:
        raise _invalid(error.message.removesuffix(".")) from error


def digest_of(files: Mapping[str, bytes]) -> str:
    """Names the exact content of the files that are trusted together; of the configuration alone, its own hash."""
    if set(files) == {CONFIG_PATH}:
        return hashlib.sha256(files[CONFIG_PATH]).hexdigest()
    whole = hashlib.sha256()
    for path in sorted(files):
        name = path.encode("utf-8", "surrogateescape")
        whole.update(b"%d %d\n" % (len(name), len(files[path])) + name + files[path])
    return whole.hexdigest()


def merged(project: ProjectConfig, repository: RepoConfig | None, trusted: bool) -> ProjectConfig:
    """The project's configuration over the repository's, which fills what the person has left at its default.

    The checks of both hold; one of the person's takes the place of the repository's of the same name.
    """
    if repository is None or not trusted:
        return project
    default = ProjectConfig()
    changes: dict[str, object] = {}
    for name in ("env_file", "copy_files", "install_command", "init_script", "allowed_tools"):
        said = getattr(repository, name)
        if said and getattr(project, name) == getattr(default, name):
            changes[name] = said
    changes["checks"] = (*project.checks, *beside(project.checks, repository))
    return replace(project, **changes)  # type: ignore[arg-type]


def beside(own: tuple[Check, ...], repository: RepoConfig | None) -> tuple[Check, ...]:
    """The repository's checks that the person has none of the same name for."""
    names = {check.name for check in own}
    return tuple(check for check in (repository.checks if repository else ()) if check.name not in names)


def _invalid(what: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.PROJECT_CONFIG_INVALID,
        f"The repository's {CONFIG_PATH} cannot be read: {what}.",
        hint="Correct the file on the base branch and commit it. Nothing has been changed.",
    )
