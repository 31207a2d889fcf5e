"""Row 3: a worktree and its branch discarded, as whoever asked for it sees it, over starting `git --version`.

Ours is `Worktrees.remove_worktree`. The files are deleted afterwards; that is waited for between the rounds.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from agentpane.worktrees import WorktreePlan, Worktrees
from benchmarks.checkouts import FRESH_SECONDS, make_repository, spawn_git
from benchmarks.harness import Figure, at_most, compare, milliseconds, scratch_folder

SIZES = (1_000, 50_000)


def run() -> list[Figure]:
    with scratch_folder() as folder, asyncio.Runner() as runner:
        return [runner.run(_measure(folder / str(files), files)) for files in SIZES]


async def _measure(folder: Path, files: int) -> Figure:
    base = await asyncio.to_thread(make_repository, folder, files)
    worktrees = Worktrees()
    await asyncio.sleep(FRESH_SECONDS)
    repository = await worktrees.open_repository(folder)
    loop = asyncio.get_running_loop()
    numbers = itertools.count()

    def ours() -> float:
        name = f"one-{next(numbers)}"
        plan = WorktreePlan(folder / ".worktrees" / name, f"agentpane/{name}", base)
        made = asyncio.run_coroutine_threadsafe(worktrees.create_worktree(repository, plan), loop).result()
        discard = worktrees.remove_worktree
        taken = milliseconds(
            lambda: asyncio.run_coroutine_threadsafe(discard(repository, made.worktree, base), loop).result()
        )()
        asyncio.run_coroutine_threadsafe(worktrees.settled(), loop).result()
        return taken

    name = f"worktree of {files:,} files discarded / git --version"
    figure = await asyncio.to_thread(compare, name, ours, milliseconds(spawn_git), at_most(3))
    await worktrees.close()
    return figure
