"""Attempts to take too much: each is small, and meets a sandbox that is told to give little."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import Appetite, BareSandbox, BubblewrapSandbox, LandlockSandbox, Sandbox

from .commands import Oracle, Ran, in_worktree, run_plain
from .scene import Scene

MEGABYTE = 1024**2
GENEROUS_S, STAY_S = 60.0, 20
PROCESSES, MEMORY, DISK = 100, 200 * MEGABYTE, 300 * MEGABYTE


@dataclass(frozen=True, slots=True)
class Hog:
    """timeout_s: what the command is given in a tier. disk: whether its appetite for the disk is looked at.

    @stay@ in a script is how many seconds it stays when it has what it wants: a moment when nothing protects, and in a
    tier so long that it cannot be missed.
    """

    name: str
    script: str
    seen: Oracle
    timeout_s: float = GENEROUS_S
    disk: bool = False
    prepare: Callable[[Scene], object] | None = None
    needs: tuple[str, ...] = ()
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    held: frozenset[Tier] = frozenset()
    scoped: bool = False

    async def unprotected(self, scene: Scene) -> bool:
        self._prepare(scene)
        scene.lay("stay", 0)
        ran = await asyncio.to_thread(run_plain, scene, scene.filled(self.script), GENEROUS_S, True)
        return self.seen(scene, ran, {})

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        self._prepare(scene)
        scene.lay("stay", STAY_S)
        free_disk = shutil.disk_usage(scene.worktree).free - DISK if self.disk else 0
        strict = _strict(sandbox, Appetite(processes=PROCESSES, memory=MEMORY, free_disk=free_disk))
        outcome = await strict.run(in_worktree(scene, scene.filled(self.script), timeout_s=self.timeout_s))
        return self.seen(scene, Ran(outcome.output), {})

    def _prepare(self, scene: Scene) -> None:
        if self.prepare is not None:
            self.prepare(scene)


def _strict(sandbox: Sandbox, appetite: Appetite) -> Sandbox:
    if isinstance(sandbox, BareSandbox):
        return BareSandbox(appetite)
    if isinstance(sandbox, BubblewrapSandbox):
        return BubblewrapSandbox(sandbox._program, appetite)
    assert isinstance(sandbox, LandlockSandbox)
    return LandlockSandbox(sandbox._version, appetite)
