"""Patches as a client reads them: git's bytes, made once into a file and handed out in parts."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

from agentpane.domain.review import PatchChunk
from agentpane.orchestrator.core import Core
from agentpane.temporary import TemporaryFolder
from agentpane.worktrees import Repository

CHUNK = 1024 * 1024
KEPT = 16


class Patches:
    """Keeps the last few patches in a private temporary folder."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._folder = TemporaryFolder("patches")
        self._made: OrderedDict[str, asyncio.Task[Path]] = OrderedDict()

    async def chunk(self, repository: Repository, base: str, snapshot: str, offset: int) -> PatchChunk:
        """At most 1 MiB of the patch from `offset` on."""
        key = f"{base}-{snapshot}"
        job = self._made.get(key)
        if job is None or (job.done() and (job.cancelled() or job.exception() is not None)):
            job = asyncio.create_task(self._make(repository, base, snapshot, key), name="patch")
            self._made[key] = job
            self._drop_old()
        self._made.move_to_end(key)
        return await asyncio.to_thread(_part, await asyncio.shield(job), offset)

    def close(self) -> None:
        self._folder.close()

    async def _make(self, repository: Repository, base: str, snapshot: str, key: str) -> Path:
        path = self._folder.path / key
        file = await asyncio.to_thread(path.open, "wb")
        try:
            async for part in self._core.git.diff_patch(repository, base, snapshot):
                await asyncio.to_thread(file.write, part)
        finally:
            await asyncio.to_thread(file.close)
        return path

    def _drop_old(self) -> None:
        while len(self._made) > KEPT:
            key, job = self._made.popitem(last=False)
            job.cancel()
            (self._folder.path / key).unlink(missing_ok=True)


def _part(path: Path, offset: int) -> PatchChunk:
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(CHUNK)
        end = file.tell()
    return PatchChunk(data, end if end < path.stat().st_size else None)
