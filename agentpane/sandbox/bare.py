"""Tier C: no confinement, and still an end to everything that a command starts.

The command runs below a helper process (`reaper.py`) that outlives neither the command nor the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import reaper
from agentpane.sandbox.command import Outcome, Process, SandboxCommand
from agentpane.sandbox.conversation import LINE_LIMIT, converse
from agentpane.sandbox.environment import shell
from agentpane.sandbox.limits import LIMITS
from agentpane.sandbox.mounts import make_writable
from agentpane.sandbox.supervise import supervise

HELPER = Path(reaper.__file__)
HELPER_TIMEOUT_S = reaper.GIVE_UP_S + 5.0


class BareSandbox:
    """Runs commands as the person. One instance serves many runs at once."""

    tier = Tier.NONE

    async def run(self, command: SandboxCommand, on_output: Callable[[bytes], None] | None = None) -> Outcome:
        """See Sandbox.run."""
        child = _Swept()
        outcome = await supervise(lambda: child.start(command), command, on_output)
        if child.left:
            note = f"\n[{child.left} processes of this command belong to another user and still run]\n"
            return replace(outcome, output=outcome.output + note.encode())
        return outcome

    async def open(self, command: SandboxCommand) -> Process:
        """See Sandbox.open."""
        return await converse(lambda: _Swept().start(command, spoken_with=True))


class _Swept:
    """One helper, and the command below it."""

    process: asyncio.subprocess.Process

    def __init__(self) -> None:
        self._control: int | None = None
        self._status: int | None = None
        self.left = 0  # processes that the helper was not allowed to kill
        self._exit_code = -1
        self._ending = asyncio.Lock()

    async def start(self, command: SandboxCommand, spoken_with: bool = False) -> _Swept:
        await asyncio.to_thread(make_writable, command)
        control_out, self._control = os.pipe()
        self._status, status_in = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(HELPER), str(control_out), str(status_in)),
                *(shell(), command.script),
                *(f"{kind}:{limit}" for kind, limit in LIMITS),
                stdin=asyncio.subprocess.PIPE if command.stdin or spoken_with else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE if spoken_with else asyncio.subprocess.STDOUT,
                limit=LINE_LIMIT,
                env=dict(command.environment),
                cwd=command.cwd or command.worktree,
                pass_fds=(control_out, status_in),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(self._control)
            os.close(self._status)
            raise AgentPaneError(
                ErrorCode.SECURITY_SANDBOX_UNAVAILABLE, f"The command could not be started: {error}"
            ) from error
        finally:
            os.close(control_out)
            os.close(status_in)
        return self

    async def finished(self) -> int:
        await self.process.wait()
        self._read_status()
        if self._exit_code >= 0:
            return self._exit_code
        code = self.process.returncode  # the command has killed its helper
        return 128 - code if code is not None and code < 0 else 127

    async def end(self) -> None:
        async with self._ending:
            if self._control is not None:
                os.close(self._control)
                self._control = None
            try:
                async with asyncio.timeout(HELPER_TIMEOUT_S):
                    await self.process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.process.pid, signal.SIGKILL)
                await self.process.wait()
            self._read_status()

    def _read_status(self) -> None:
        """The helper is gone, so that this does not wait: the exit code, and how many it had to leave."""
        if self._status is None:
            return
        told = os.read(self._status, 64).split()
        os.close(self._status)
        self._status = None
        if len(told) == 2:
            self._exit_code, self.left = int(told[0]), int(told[1])
