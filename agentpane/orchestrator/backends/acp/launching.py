"""How the program is started: which one, with which of the person's keys, and what of the machine it may reach."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agentpane.domain.acp_presets import PRESETS, AcpPreset
from agentpane.domain.agents import AgentConfig
from agentpane.domain.sandbox import Network, NetworkMode
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Brief
from agentpane.orchestrator.tools.base import Refusal
from agentpane.orchestrator.tree import files
from agentpane.sandbox import SandboxCommand, tool_environment
from agentpane.sandbox.toolchains import toolchain_folders

NEVER_PASSED = frozenset({"IS_SANDBOX"})  # it makes an adapter refuse to work as root
OPEN_ENDED_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Program:
    """What is started. path: the program's own file, where it is known."""

    title: str
    script: str
    path: Path | None
    preset: AcpPreset | None


def program_of(config: AgentConfig) -> Program:
    """Raises AgentPaneError with AGENT_BACKEND_MISSING when there is none, or none that is installed. Blocks."""
    search = tool_environment(Path("/"))["PATH"]
    if (config.command or "").strip():
        command = (config.command or "").strip()
        first = _first_word(command)
        found = shutil.which(first, path=search) if first else None
        if first and found is None:
            raise missing(f"The program “{first}” is not installed.", "Give the command with its whole path.")
        return Program(first or "the agent", command, Path(found) if found else None, None)
    preset = PRESETS.get(config.preset or "")
    if preset is None:
        known = ", ".join(sorted(PRESETS))
        what = f"There is no preset called “{config.preset}”." if config.preset else "The agent names no program."
        raise missing(what, f"Choose a preset ({known}), or give the command of a program that speaks the protocol.")
    found = shutil.which(preset.program, path=search)
    if found is None:
        raise missing(
            f"{preset.title} is not installed: there is no {preset.program}.", f"Install it: {preset.install}"
        )
    script = f"exec {shlex.join([found, *preset.arguments])}"
    return Program(preset.title, script, Path(found), preset)


def missing(message: str, hint: str) -> AgentPaneError:
    return AgentPaneError(ErrorCode.AGENT_BACKEND_MISSING, message, f"{hint} Nothing has changed.")


def prepare(program: Program, brief: Brief, home: Path, read_only: bool) -> SandboxCommand:
    """Make the program's own home folder, and say how it is confined. Blocks."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if program.preset is not None:
        bring_sign_in(program.preset, Path(brief.context.environment.get("HOME", "/")), home)
    environment = {
        **brief.context.environment,
        **(program.preset.environment if program.preset else {}),
        **own_keys(program.preset, brief),
        "HOME": str(home),
    }
    return SandboxCommand(
        script=program.script,
        worktree=brief.context.worktree,
        readable=(*brief.context.readable, *installation(program.path)),
        environment={name: value for name, value in environment.items() if name not in NEVER_PASSED},
        timeout_s=OPEN_ENDED_S,
        network=network_of(program.preset, brief),
        writable=(home,),
        read_only=read_only,
    )


def own_keys(preset: AcpPreset | None, brief: Brief) -> Mapping[str, str]:
    """The variables of the program's own account, and no other's."""
    if preset is None:
        return {}
    endpoint = brief.endpoint
    known = {
        "ANTHROPIC_API_KEY": endpoint.api_key,
        "ANTHROPIC_AUTH_TOKEN": endpoint.auth_token,
        **endpoint.environment,
    }
    given = {name: value for name in preset.keys if (value := known.get(name))}
    if preset.base_url and endpoint.base_url:
        given[preset.base_url] = endpoint.base_url
    return given


def network_of(preset: AcpPreset | None, brief: Brief) -> Network:
    """Its model's hosts, and what the project allows besides."""
    project = brief.context.network
    if project.mode is NetworkMode.ALL:
        return project
    hosts = list(preset.hosts if preset else ())
    if preset is not None and preset.base_url and brief.endpoint.base_url:
        hosts = [urlsplit(brief.endpoint.base_url).netloc.rpartition("@")[2]]
    if project.mode is NetworkMode.HOSTS:
        hosts += project.hosts
    return Network(NetworkMode.HOSTS, tuple(dict.fromkeys(hosts)), project.refused) if hosts else Network()


def bring_sign_in(preset: AcpPreset, person: Path, home: Path) -> None:
    """Copy the person's sign-in state where it is newer than the program's own copy of it.

    Of a file of settings only what says how it is signed in. The program has written in its home folder before, so
    that nothing there is followed out of it.
    """
    wanted = {**dict.fromkeys(preset.sign_in), **preset.sign_in_settings}
    for name, kept in wanted.items():
        source = person / name
        with contextlib.suppress(OSError, ValueError, RecursionError, Refusal), files.opened(home) as root:
            changed = source.stat().st_mtime_ns
            parts = files.components(home, name)
            before = _present(root, parts)
            if before is None or before.stamp[-1] < changed:
                data = source.read_bytes()
                files.replace(root, parts, data if kept is None else only(data, kept), before)


def only(settings: bytes, kept: Sequence[Sequence[str]]) -> bytes:
    """JSON with the texts at these places and nothing else. Raises ValueError for what is no JSON."""
    found: dict[str, Any] = {}
    for names in kept:
        value = json.loads(settings)
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            *above, last = names
            place = found
            for name in above:
                place = place.setdefault(name, {})
            place[last] = value
    return json.dumps(found).encode()


def _present(root: int, parts: tuple[str, ...]) -> files.FileContent | None:
    try:
        return files.read(root, parts, links=False)
    except FileNotFoundError:
        return None


def installation(program: Path | None) -> tuple[Path, ...]:
    """The folders that the program's own files lie in, such as all packages that were installed with it."""
    if program is None:
        return ()
    home = Path(os.environ.get("HOME") or "/")
    homes = (home, Path("/root"), Path("/home"), Path("/tmp"), Path("/var"), Path("/etc"))
    folders = [*toolchain_folders((program.parent,), homes, (Path("/usr"), Path("/opt")))]
    for one in (program, Path(os.path.realpath(program))):
        folders += [parent for parent in one.parents if parent.name == "node_modules"][-1:]
    return tuple(dict.fromkeys(folders))


def _first_word(command: str) -> str | None:
    """The program that a command line begins with; None when only a shell can tell."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    while words and (words[0] == "exec" or ("=" in words[0] and not words[0].startswith(("/", "=")))):
        words.pop(0)
    return words[0] if words and not any(mark in words[0] for mark in "$`(;|&<>") else None
