"""What it takes to start one server for one run: where, as whom, and with which secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.domain.engine import McpServer
from agentpane.domain.sandbox import Network
from agentpane.sandbox import Sandbox, SandboxCommand


class ServerFailedError(Exception):
    """The server cannot be used; the message says why, for people and models."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A server, and the surroundings that it is started in.

    sandbox: what runs its command. worktree: shown to a confined one; folder: where it starts.
    environment: the whole of it, the server's own variables included. headers: sent to an address with each request.
    secrets: values that must appear nowhere; they are part of environment or headers.
    """

    server: McpServer
    sandbox: Sandbox
    worktree: Path
    folder: Path
    readable: tuple[Path, ...]
    network: Network
    environment: Mapping[str, str] = field(repr=False, default_factory=dict)
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    secrets: frozenset[str] = field(repr=False, default=frozenset())

    def command(self) -> SandboxCommand:
        """The server's command, for a sandbox to open."""
        return SandboxCommand(
            script=self.server.command or "",
            worktree=self.worktree,
            readable=self.readable,
            environment={**self.environment, "PWD": str(self.folder)},
            timeout_s=0,
            network=self.network,
            cwd=self.folder,
        )
