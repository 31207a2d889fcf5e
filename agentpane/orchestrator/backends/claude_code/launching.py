"""How the program is started: with which account, which of its tools, and what of the machine it may reach.

Its own shell is left out: commands go through our Bash tool, which runs them beside it, without its account and its
network. The file tools are its own; it works in the sandbox, and what is not mounted there it cannot touch.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from agentpane.domain.sandbox import Network, NetworkMode
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Brief
from agentpane.orchestrator.backends.claude_code.program import SignIn, installation
from agentpane.sandbox import SandboxCommand

HOST = "api.anthropic.com"
SERVER = "agentpane"  # how our own tools are announced to the program
OPEN_ENDED_S = 30 * 86_400.0
SYSTEM_FILE = "instructions.md"

# The program's own tools, by the name that grants them. Those that run commands or speak to the network are not here,
# nor its sub-agents, whose turns could not be counted.
BUILT_IN: Mapping[str, tuple[str, ...]] = {
    "Read": ("Read",),
    "Write": ("Write",),
    "Edit": ("Edit", "NotebookEdit"),
    "Glob": ("Glob",),
    "Grep": ("Grep",),
    "TodoWrite": ("TodoWrite",),
    "AskUser": ("AskUserQuestion",),
}
PLANNING = ("ExitPlanMode",)

QUIET: Mapping[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_ENABLE_TASKS": "0",  # its list of todos comes whole then, in one call
    "CLAUDE_CODE_MAX_RETRIES": "9",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "MCP_TIMEOUT": "60000",
    "MCP_TOOL_TIMEOUT": "86400000",  # ms; our tools have their own limits, and a person may have to be asked
}
PASSED = ("LANG", "LANGUAGE", "LC_ALL", "PATH", "TZ")


def prepare(program: Path, brief: Brief, state: Path, account: SignIn | None, resume: str | None) -> SandboxCommand:
    """Make the program's own folder, and say how it is started and confined. Blocks.

    account: used when the brief has no key. Raises AgentPaneError with BACKEND_AUTH when there is neither.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    system = state / SYSTEM_FILE
    system.unlink(missing_ok=True)
    with os.fdopen(os.open(system, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(brief.system)
    passed = {name: value for name, value in brief.context.environment.items() if name in PASSED}
    return SandboxCommand(
        script=f"exec {shlex.join([str(program), *arguments(brief, system, resume)])}",
        worktree=brief.context.worktree,
        readable=(*brief.context.readable, *installation(program)),
        environment={
            **passed,
            **QUIET,
            **own_account(brief, account),
            "HOME": str(state),
            "CLAUDE_CONFIG_DIR": str(state),
            "TMPDIR": "/tmp",
        },
        timeout_s=OPEN_ENDED_S,
        network=Network(NetworkMode.HOSTS, (model_host(brief),)),
        writable=(state,),
    )


def arguments(brief: Brief, system: Path, resume: str | None) -> list[str]:
    own = {"mcpServers": {SERVER: {"type": "sdk", "name": SERVER}}}
    given = [
        *("--print", "--verbose", "--include-partial-messages"),
        *("--input-format", "stream-json", "--output-format", "stream-json"),
        *("--permission-prompt-tool", "stdio"),
        *("--permission-mode", "plan" if brief.plan else "manual"),
        *("--restricted", "--disable-slash-commands"),
        *("--strict-mcp-config", "--mcp-config", json.dumps(own)),
        "--setting-sources=",  # the machine's and the repository's settings could widen what it may do
        *("--tools", ",".join(offered(brief))),
        *("--append-system-prompt-file", str(system)),
        *("--model", brief.model),
    ]
    if resume:
        given.append(f"--resume={resume}")
    return given


def offered(brief: Brief) -> tuple[str, ...]:
    """Which of the program's own tools this agent has."""
    granted = [tool for name, tools in BUILT_IN.items() if name in brief.tools for tool in tools]
    return (*granted, *(PLANNING if brief.plan else ()))


def own_account(brief: Brief, account: SignIn | None) -> dict[str, str]:
    """The variables of the account that the program draws on, and no other secret."""
    endpoint = brief.endpoint
    given = {"ANTHROPIC_BASE_URL": endpoint.base_url} if endpoint.base_url else {}
    if endpoint.api_key:
        return {**given, "ANTHROPIC_API_KEY": endpoint.api_key}
    if endpoint.auth_token:
        return {**given, "ANTHROPIC_AUTH_TOKEN": endpoint.auth_token}
    if account is None:
        raise AgentPaneError(
            ErrorCode.BACKEND_AUTH,
            "There is no account for Claude Code.",
            "Sign in with it (`claude`, then /login), or store a key in the settings, then resume. Nothing was lost.",
        )
    if account.ended:
        raise AgentPaneError(
            ErrorCode.BACKEND_AUTH,
            "The sign-in of Claude Code has to be renewed.",
            "Start `claude` once in a terminal, which renews it, then resume. Nothing was lost.",
        )
    # Only what is good for some hours is handed over: with the rest of the sign-in the program would renew it here,
    # and the person's own would be worth nothing from then on.
    return {**given, "CLAUDE_CODE_OAUTH_TOKEN": account.token}


def model_host(brief: Brief) -> str:
    """The one place that the program may speak with, as HOST or HOST:PORT."""
    if not brief.endpoint.base_url:
        return HOST
    return urlsplit(brief.endpoint.base_url).netloc.rpartition("@")[2] or HOST
