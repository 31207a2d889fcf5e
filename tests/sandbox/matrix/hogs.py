"""Attempts to take too much: each is small, and meets a sandbox that is told to give little."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import Appetite, BareSandbox, BubblewrapSandbox, LandlockSandbox, Sandbox

from .commands import Oracle, Ran, in_worktree, run_plain
from .scene import Scene

MEGABYTE = 1024**2
GENEROUS_S = 30.0
PROCESSES, MEMORY, DISK = 150, 200 * MEGABYTE, 300 * MEGABYTE


@dataclass(frozen=True, slots=True)
class Hog:
    """timeout_s: what the command is given in a tier."""

    name: str
    script: str
    seen: Oracle
    timeout_s: float = GENEROUS_S
    needs: tuple[str, ...] = ()
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    held: frozenset[Tier] = frozenset()

    async def unprotected(self, scene: Scene) -> bool:
        ran = await asyncio.to_thread(run_plain, scene, scene.filled(self.script), GENEROUS_S)
        return self.seen(scene, ran, {})

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        free = shutil.disk_usage(scene.worktree).free
        strict = _strict(sandbox, Appetite(processes=PROCESSES, memory=MEMORY, free_disk=free - DISK))
        outcome = await strict.run(in_worktree(scene, scene.filled(self.script), timeout_s=self.timeout_s))
        return self.seen(scene, Ran(outcome.output), {})


def _strict(sandbox: Sandbox, appetite: Appetite) -> Sandbox:
    if isinstance(sandbox, BareSandbox):
        return BareSandbox(appetite)
    if isinstance(sandbox, BubblewrapSandbox):
        return BubblewrapSandbox(sandbox._program, appetite)
    assert isinstance(sandbox, LandlockSandbox)
    return LandlockSandbox(sandbox._version, appetite)
