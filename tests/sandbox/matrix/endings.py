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
from agentpane.sandbox import Sandbox

from .commands import in_worktree
from .scene import Scene

READY_S = 20.0
STOPPED_S, KILLED_S = 1.0, 2.0  # by then nothing may be left

ENGINE = """
import asyncio, sys
from pathlib import Path
from agentpane.domain.sandbox import NO_NETWORK, Tier
from agentpane.sandbox import SandboxCommand, detect, tool_environment

tier, worktree, script = Tier(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
command = SandboxCommand(script, worktree, (), tool_environment(worktree), 600.0, NO_NETWORK)
asyncio.run(detect(tier).run(command))
"""


class Until(Enum):
    END = "its command's end"
    STOP = "Stop"
    KILL = "the engine's death"


@dataclass(frozen=True, slots=True)
class Outliving:
    """script: starts something whose first word is @mark@, and comes back."""

    name: str
    script: str
    until: Until
    needs: tuple[str, ...] = ()
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    held: frozenset[Tier] = frozenset()

    async def unprotected(self, scene: Scene) -> bool:
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
                await _appeared(scene)
            finally:
                if self.until is not Until.END:
                    process.kill()
                await asyncio.to_thread(_waited, process)
        left = lives(scene.mark)
        kill(scene.mark)
        return left

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        try:
            if self.until is Until.KILL:
                return await _killed(scene, sandbox.tier, scene.filled(self._whole()))
            command = in_worktree(scene, scene.filled(self._whole()))
            running = asyncio.create_task(sandbox.run(command))
            if self.until is Until.END:
                await running
                return lives(scene.mark)
            await _appeared(scene)
            began = time.monotonic()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            return time.monotonic() - began > STOPPED_S or lives(scene.mark)
        finally:
            kill(scene.mark)

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


async def _killed(scene: Scene, tier: Tier, script: str) -> bool:
    """An engine of its own, which is killed."""
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE, tier.value, str(scene.worktree), script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(root))},
    ) as engine:
        try:
            await _appeared(scene)
        finally:
            engine.kill()
            engine.wait()
    deadline = time.monotonic() + KILLED_S
    while lives(scene.mark):
        if time.monotonic() > deadline:
            return True
        await asyncio.sleep(0.01)
    return False


async def _appeared(scene: Scene) -> None:
    deadline = time.monotonic() + READY_S
    while not alive(scene.mark):
        if time.monotonic() > deadline:
            raise TimeoutError("nothing was left running that could outlive its command")
        await asyncio.sleep(0.005)


def lives(mark: str) -> bool:
    """Whether anything of that mark is left, even if it is never for long the same process."""
    return any(alive(mark) for _ in range(12))


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
    """Until none is left, whatever they do meanwhile."""
    while left := [*alive(mark), *alive(mark, b"k")]:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        time.sleep(0.002)
