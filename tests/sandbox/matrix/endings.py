"""Attempts to outlive: a command leaves something behind that runs on after its end, after Stop, after the engine.

What is left is known by its first word, which is the scene's mark.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import Process, Sandbox

from .commands import in_worktree
from .scene import Scene

READY_S = 30.0
LOOKS = 12
STOPPED_S, KILLED_S = 1.0, 2.0  # by then nothing may be left
TRIES = 3

ENGINE = """
import asyncio, sys
from pathlib import Path
from agentpane.domain.sandbox import NO_NETWORK, Tier
from agentpane.sandbox import SandboxCommand, detect, tool_environment

tier, spoken_with, worktree, script = Tier(sys.argv[1]), sys.argv[2] == "True", Path(sys.argv[3]), sys.argv[4]
command = SandboxCommand(script, worktree, (), tool_environment(worktree), 600.0, NO_NETWORK)
async def main():
    sandbox = detect(tier)
    if spoken_with:
        await (await sandbox.open(command)).wait()
    else:
        await sandbox.run(command)
asyncio.run(main())
"""


class Until(Enum):
    END = "its command's end"
    STOP = "Stop"
    KILL = "the engine's death"


@dataclass(frozen=True, slots=True)
class Outliving:
    """script: starts something whose first word is @mark@, and comes back. spoken_with: opened, and not run."""

    name: str
    script: str
    until: Until
    spoken_with: bool = False
    needs: tuple[str, ...] = ()
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    held: frozenset[Tier] = frozenset()
    scoped: bool = False

    async def unprotected(self, scene: Scene) -> bool:
        return await asyncio.to_thread(self._outlives_a_shell, scene)

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        return not await self._prevented(scene, sandbox)

    async def _prevented(self, scene: Scene, sandbox: Sandbox) -> bool:
        """Whether nothing is left. What was only late is tried again: a busy machine is late once, not always."""
        for _ in range(TRIES):
            try:
                late = await self._late(scene, sandbox)
                if lives(scene.mark):
                    return False
            finally:
                await asyncio.to_thread(kill, scene.mark)
            if not late:
                return True
        return False

    async def _late(self, scene: Scene, sandbox: Sandbox) -> bool:
        """Bring it to its end; whether that took too long."""
        script = scene.filled(self._whole())
        if self.until is Until.KILL:
            return await asyncio.to_thread(_kill_engine, scene, sandbox.tier, self.spoken_with, script)
        command = in_worktree(scene, script)
        if self.spoken_with:
            return await self._late_in_conversation(scene, await sandbox.open(command))
        running = asyncio.create_task(sandbox.run(command))
        if self.until is Until.END:
            await running
            return False
        try:
            await asyncio.to_thread(_appeared, scene)
        finally:
            began = time.monotonic()
            running.cancel()
            await asyncio.wait([running])
        return time.monotonic() - began > STOPPED_S

    async def _late_in_conversation(self, scene: Scene, process: Process) -> bool:
        try:
            if self.until is Until.END:
                await process.wait()
                return False
            await asyncio.to_thread(_appeared, scene)
        finally:
            began = time.monotonic()
            await process.end()
        return time.monotonic() - began > STOPPED_S

    def _outlives_a_shell(self, scene: Scene) -> bool:
        script = scene.filled(self._whole())
        with subprocess.Popen(
            # one shell more than needed, so that a command that kills its parent does not find the test
            ["/bin/bash", "-c", '/bin/bash -c -- "$0"; :', script],
            cwd=scene.worktree,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                _appeared(scene)
            finally:
                if self.until is not Until.END:
                    process.kill()
                _waited(process)
        left = lives(scene.mark)
        kill(scene.mark)
        with contextlib.suppress(ProcessLookupError):  # what waited beside it
            os.killpg(process.pid, signal.SIGKILL)
        return left

    def _whole(self) -> str:
        """The command's end comes when the other process is there; without Stop it would not come."""
        wait = "until grep -qs ^@mark@ /proc/[0-9]*/cmdline; do :; done"
        return f"{self.script}\n{wait if self.until is Until.END else 'sleep 600'}"


def _waited(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(READY_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _kill_engine(scene: Scene, tier: Tier, spoken_with: bool, script: str) -> bool:
    """An engine of its own, which is killed; whether anything was left after the time for it."""
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE, tier.value, str(spoken_with), str(scene.worktree), script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(root))},
    ) as engine:
        try:
            _appeared(scene)
        finally:
            engine.kill()
            engine.wait()
    deadline = time.monotonic() + KILLED_S
    while lives(scene.mark):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.01)
    return False


def _appeared(scene: Scene) -> None:
    deadline = time.monotonic() + READY_S
    while not alive(scene.mark):
        if time.monotonic() > deadline:
            raise TimeoutError("nothing was left running that could outlive its command")
        time.sleep(0.005)


def lives(mark: str) -> bool:
    """Whether anything of that mark is left, even if it is never for long the same process."""
    return any(alive(mark) for _ in range(4))


def alive(mark: str, before: bytes = b"") -> list[int]:
    """The processes whose first word is the mark."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                if file.read(64).startswith(before + mark.encode()):
                    found.append(int(name))
    return found


def kill(mark: str) -> None:
    """Until none is left, whatever they do meanwhile; one that is always on the move is missed by a single look."""
    unseen = 0
    while unseen < LOOKS:
        left = [*alive(mark), *alive(mark, b"k")]
        unseen = 0 if left else unseen + 1
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        time.sleep(0.002)
