"""A command below a helper (`reaper.py`) that outlives neither the command nor the engine, in tiers B and C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import ceiling, reaper, strays
from agentpane.sandbox.command import Outcome, SandboxCommand
from agentpane.sandbox.conversation import LINE_LIMIT
from agentpane.sandbox.environment import shell
from agentpane.sandbox.gateway import Gateway, gateway
from agentpane.sandbox.limits import LIMITS
from agentpane.sandbox.startup import set_inside

HELPER = Path(reaper.__file__)
HELPER_TIMEOUT_S = reaper.GIVE_UP_FIGHTING_S + 5.0


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the helper's child gives up before it becomes the command; see landlock.confine.

    guarded: the worktree's `.git` and its content, put back afterwards. private: a folder of this command alone.
    """

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    devices: tuple[str, ...]
    program: bytes
    guarded: tuple[Path, bytes] | None
    private: Path

    def order(self, ports: tuple[int, ...] | None) -> Mapping[str, Any]:
        """For the helper. ports: where TCP may connect to; None: everywhere."""
        guard = self.guarded and [str(self.guarded[0].parent), self.guarded[0].name, self.guarded[1].hex()]
        return {
            "confine": {
                "readable": self.readable,
                "writable": self.writable,
                "devices": self.devices,
                "ports": ports,
                "program": self.program.hex(),
            },
            "guard": guard,
            "private": str(self.private),
        }


class Swept:
    """One helper, and the command below it."""

    process: asyncio.subprocess.Process

    def __init__(self, tasks: int, confinement: Confinement | None = None, connects_anywhere: bool = True) -> None:
        self._tasks = tasks
        self._group: Path | None = None
        self._confinement = confinement
        self._connects_anywhere = connects_anywhere
        self._gateway: Gateway | None = None
        self._control: int | None = None
        self._status: int | None = None
        self._left = 0  # processes that the helper was not allowed to kill
        self._put_back = False
        self._exit_code = reaper.NOT_ENDED
        self._helper_done = asyncio.Event()
        self._reported = False  # the helper came to its own end
        self._mark = strays.new_mark()
        self._ending = asyncio.Lock()

    @property
    def root(self) -> int:
        return self.process.pid

    @property
    def refused(self) -> tuple[str, ...]:
        return () if self._gateway is None else self._gateway.refused

    async def start(self, command: SandboxCommand, spoken_with: bool = False) -> Swept:
        try:
            self._group = await asyncio.to_thread(ceiling.make, self._tasks)
            self._gateway = gateway(command.network)
            environment = {**command.environment, strays.MARK: self._mark}
            if self._gateway is not None:
                await self._gateway.open_here()
                environment.update(self._gateway.environment)
            await self._start(set_inside(replace(command, environment=environment)), spoken_with)
        except (OSError, ValueError) as error:
            await self._let_go()
            raise AgentPaneError(
                ErrorCode.SECURITY_SANDBOX_UNAVAILABLE, f"The command could not be started: {error}"
            ) from error
        return self

    async def _start(self, command: SandboxCommand, spoken_with: bool) -> None:
        control_out, self._control = os.pipe()
        self._status, status_in = os.pipe()
        with tempfile.TemporaryFile() as order:
            order.write(json.dumps(self._order()).encode())
            order.seek(0)
            handed_over = (control_out, status_in, order.fileno())
            try:
                self.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", str(HELPER), *map(str, handed_over), shell(), command.script),
                    stdin=asyncio.subprocess.PIPE if command.stdin or spoken_with else asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE if spoken_with else asyncio.subprocess.STDOUT,
                    limit=LINE_LIMIT,
                    env=dict(command.environment),
                    cwd=command.cwd or command.worktree,
                    pass_fds=handed_over,
                    start_new_session=True,
                )
            except BaseException:
                os.close(self._control)
                os.close(self._status)
                raise
            finally:
                os.close(control_out)
                os.close(status_in)
        asyncio.get_running_loop().add_reader(self._status, self._hear_of_the_end, self._status)

    def _order(self) -> Mapping[str, Any]:
        common = {"limits": LIMITS, "group": self._group and str(self._group)}
        if self._confinement is None:
            return common
        ports = None if self._connects_anywhere else self._gateway.ports if self._gateway is not None else ()
        return {**common, **self._confinement.order(ports)}

    async def finished(self) -> int:
        await self._gone()
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
                    await self._gone()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.process.pid, signal.SIGKILL)
                await self._gone()
            self._read_status()
            if not self._reported:
                await asyncio.to_thread(strays.end_marked, self._mark)
            await self._let_go()

    async def _gone(self) -> None:
        """Wait until the helper has ended. asyncio's own waiting goes on as long as anybody holds its pipes."""
        await self._helper_done.wait()
        while self.process.returncode is None:  # noqa: ASYNC110 - its end is known, and its code comes in a moment
            await asyncio.sleep(reaper.LAP_S)

    def _hear_of_the_end(self, status: int) -> None:
        """The helper has written its report, or is gone without one."""
        asyncio.get_running_loop().remove_reader(status)
        self._helper_done.set()

    def told(self, outcome: Outcome) -> Outcome:
        """The outcome, with what the helper has to say about it. Raises AgentPaneError when nothing was run."""
        if self._exit_code == reaper.NOT_CONFINED:
            said = outcome.output.decode("utf-8", "replace").strip()
            raise AgentPaneError(
                ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
                f"The sandbox could not be started, and the command was not run: {said}",
                "`agentpane doctor` says what this machine offers.",
            )
        notes = ""
        if self._left:
            notes += f"\n[{self._left} processes of this command belong to another user and still run]\n"
        if self._put_back:
            notes += "\n[this command has changed the worktree's .git, which has been put back]\n"
        return replace(outcome, output=outcome.output + notes.encode()) if notes else outcome

    async def _let_go(self) -> None:
        if self._gateway is not None:
            await self._gateway.close()
        ceiling.remove(self._group)
        if self._confinement is not None:  # the helper removes it, unless something has ended the helper
            await asyncio.to_thread(shutil.rmtree, self._confinement.private, True)

    def _read_status(self) -> None:
        """The helper is gone, so that this does not wait: the exit code, and what there is to tell."""
        if self._status is None:
            return
        told = os.read(self._status, 64).split()
        os.close(self._status)
        self._status = None
        if len(told) == 3:
            self._reported = True
            self._exit_code, self._left, self._put_back = int(told[0]), int(told[1]), told[2] == b"1"
