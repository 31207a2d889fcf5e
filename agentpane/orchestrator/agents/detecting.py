"""Which backends this machine has: looked up in folders and files, and asked for their version without a network.

A file that a sign-in leaves behind counts by being there; none is opened, and no program is started but to say its
version, in the full sandbox, with an empty home. Without that sandbox a program that has no version beside it is not
started at all.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.acp_presets import PRESETS, AcpPreset
from agentpane.domain.agents import BackendName, DetectedBackend
from agentpane.domain.engine import KeySource
from agentpane.domain.sandbox import NO_NETWORK, Tier
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.agents.keys import KeyChain
from agentpane.orchestrator.backends.claude_code.program import find_program
from agentpane.sandbox import Sandbox, SandboxCommand, tool_environment
from agentpane.temporary import TemporaryFolder

VERSION_SECONDS = 5.0
CLAUDE_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
CLAUDE_SIGN_IN = (".claude/.credentials.json",)
_VERSION = re.compile(r"\d+\.\d+[0-9A-Za-z.+-]*")


@dataclass(frozen=True, slots=True)
class Detector:
    sandbox: Sandbox
    keys: KeyChain

    async def detect(self, environment: Mapping[str, str]) -> tuple[DetectedBackend, ...]:
        """Every backend and every known program. environment: the client's own ANTHROPIC_* variables."""
        known = {**os.environ, **environment}
        found = await asyncio.gather(
            self._anthropic(environment),
            self._claude_code(known),
            *(self._acp(preset, known) for preset in PRESETS.values()),
        )
        return (*found, COMMAND)

    async def _anthropic(self, environment: Mapping[str, str]) -> DetectedBackend:
        status = await self.keys.status(environment)
        there = status.source is not KeySource.NONE
        note = (
            f"key from the {status.source}" if there else "no key: enter one in the settings, or set ANTHROPIC_API_KEY"
        )
        version = await asyncio.to_thread(_distribution, "anthropic")
        return DetectedBackend(BackendName.ANTHROPIC, None, "Anthropic API", None, version, there, there, note)

    async def _claude_code(self, known: Mapping[str, str]) -> DetectedBackend:
        title, backend = "Claude Code", BackendName.CLAUDE_CODE
        try:
            program = str(await asyncio.to_thread(find_program))
        except AgentPaneError:
            note = "not installed: install Claude Code, or AgentPane with its extra “claude”"
            return DetectedBackend(backend, None, title, None, None, None, False, note)
        version = await self.version(program)
        signed_in = _evidence(CLAUDE_SIGN_IN, CLAUDE_KEYS, known)
        return DetectedBackend(backend, None, title, program, version, signed_in, True, _sign_in_words(signed_in))

    async def _acp(self, preset: AcpPreset, known: Mapping[str, str]) -> DetectedBackend:
        program = shutil.which(preset.program)
        if program is None:
            note = f"not installed: {preset.install}"
            return DetectedBackend(BackendName.ACP, preset.name, preset.title, None, None, None, False, note)
        version = await self.version(program)
        signed_in = _evidence(preset.sign_in, preset.keys, known)
        note = _sign_in_words(signed_in) if signed_in else f"{_sign_in_words(signed_in)}: {preset.sign_in_hint}"
        return DetectedBackend(BackendName.ACP, preset.name, preset.title, program, version, signed_in, True, note)

    async def version(self, program: str) -> str | None:
        """What lies beside the program says, else the program itself; None if neither does."""
        beside = await asyncio.to_thread(_package_version, Path(program))
        if beside is not None or self.sandbox.tier is not Tier.BUBBLEWRAP:
            return beside
        with TemporaryFolder("version") as empty:
            command = SandboxCommand(
                script=f"exec {shlex.quote(program)} --version",
                worktree=empty,
                readable=(Path(program), Path(os.path.realpath(program))),
                environment={**tool_environment(empty), "HOME": str(empty)},
                timeout_s=VERSION_SECONDS,
                network=NO_NETWORK,
                output_limit=4096,
            )
            try:
                outcome = await self.sandbox.run(command)
            except AgentPaneError:
                return None
        said = _VERSION.search(outcome.output.decode("utf-8", "replace"))
        return said.group() if said is not None and outcome.exit_code == 0 else None


COMMAND = DetectedBackend(
    BackendName.COMMAND, None, "Any command", None, None, None, True, "any shell command can be an agent"
)


def _evidence(files: Sequence[str], variables: Sequence[str], known: Mapping[str, str]) -> bool | None:
    """True where a sign-in has left its traces. Without any nobody knows: it may keep them in a keyring."""
    if any(known.get(name) for name in variables):
        return True
    return True if any((Path.home() / name).exists() for name in files) else None


def _sign_in_words(signed_in: bool | None) -> str:
    return "signed in, as far as its files and variables show" if signed_in else "whether it is signed in is not known"


def _package_version(program: Path) -> str | None:
    """The version of the npm package that a program belongs to. Blocks."""
    real = Path(os.path.realpath(program))
    for folder in list(real.parents)[:6]:
        if "node_modules" not in folder.parts:
            return None
        try:
            content = (folder / "package.json").read_bytes()[: 256 * 1024]
            version = json.loads(content).get("version")
        except (OSError, ValueError, AttributeError):
            continue
        return version if isinstance(version, str) and _VERSION.fullmatch(version) else None
    return None


def _distribution(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
