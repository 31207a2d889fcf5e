"""What goes into a sandbox and what comes out: plain values, and the Protocol that every tier implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentpane.domain.sandbox import Tier

OUTPUT_LIMIT = 4 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class SandboxCommand:
    """A script, and all that it may have.

    script: run by `bash -c`, or by `sh -c` where there is no bash.
    readable: may be read but not written, such as the repository's common git folder.
    environment: the whole environment of the script; nothing is inherited.
    cwd: where it starts; the worktree unless given.
    """

    script: str
    worktree: Path
    readable: tuple[Path, ...]
    environment: Mapping[str, str]
    timeout_s: float
    network: bool
    output_limit: int = OUTPUT_LIMIT
    stdin: bytes = b""
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. By then nothing that the command started is left.

    exit_code: None when it was ended because its time was over; 128 + n when signal n ended it.
    output: stdout and stderr in the order in which they came; of too much, the head and the tail with a note between.
    """

    exit_code: int | None
    output: bytes
    truncated: bool
    timed_out: bool
    duration_ms: int


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
