"""What goes into a sandbox and what comes out: plain values, and the Protocol that every tier implements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentpane.domain.sandbox import Network, Tier

OUTPUT_LIMIT = 4 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class SandboxCommand:
    """A script, and all that it may have.

    script: run by `bash -c`, or by `sh -c` where there is no bash.
    readable: may be read but not written, such as the repository's common git folder.
    writable: may be written beside the worktree, such as the folder in which an agent keeps its conversations; a
        folder that is not there is made.
    environment: the whole environment of the script; nothing is inherited.
    cwd: where it starts; the worktree unless given.
    read_only: the worktree may be read and not written either. Where there is no sandbox, such a command is refused.
    """

    script: str
    worktree: Path
    readable: tuple[Path, ...]
    environment: Mapping[str, str]
    timeout_s: float
    network: Network
    output_limit: int = OUTPUT_LIMIT
    stdin: bytes = b""
    cwd: Path | None = None
    writable: tuple[Path, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. By then nothing that the command started is left.

    exit_code: None when it was ended because its time was over; 128 + n when signal n ended it.
    output: stdout and stderr in the order in which they came; of too much, the head and the tail with a note between.
    refused_hosts: `host:port` of each that was asked for and is not listed. What goes past the proxy is not among it.
    killed_for: why it was ended before its time, in words that are also at the end of its output: it took too many
        processes, too much memory or the last of the disk.
    """

    exit_code: int | None
    output: bytes
    truncated: bool
    timed_out: bool
    duration_ms: int
    refused_hosts: tuple[str, ...] = ()
    killed_for: str | None = None


class Process(Protocol):
    """A command that was started and is spoken with; its errors come on a stream of their own."""

    @property
    def stdin(self) -> asyncio.StreamWriter: ...

    @property
    def stdout(self) -> asyncio.StreamReader: ...

    @property
    def stderr(self) -> asyncio.StreamReader: ...

    @property
    def refused_hosts(self) -> tuple[str, ...]:
        """See Outcome; those up to this moment."""
        ...

    @property
    def killed_for(self) -> str | None:
        """See Outcome; None as long as it may run on."""
        ...

    async def wait(self) -> int:
        """Wait until the command itself has ended; its exit code, 128 + n when signal n ended it."""
        ...

    async def end(self) -> None:
        """Kill everything that the command started and wait until nothing is left. May be called at any time, often."""
        ...


class Sandbox(Protocol):
    @property
    def tier(self) -> Tier: ...

    async def run(self, command: SandboxCommand, on_output: Callable[[bytes], None] | None = None) -> Outcome:
        """Run the command to its end, or to the end of its time, and end everything that it started.

        on_output is given each chunk as it comes. Cancelling kills everything the command started, waits until
        nothing is left and raises CancelledError.
        Raises AgentPaneError with SECURITY_SANDBOX_UNAVAILABLE when the command could not be started confined; it
        has not run then.
        """
        ...

    async def open(self, command: SandboxCommand) -> Process:
        """Start the command in order to speak with it; `timeout_s`, `output_limit` and `stdin` are not looked at.

        Whoever opens it ends it. It is confined, and ended when the engine dies, as in `run`. Raises as `run` does.
        """
        ...
