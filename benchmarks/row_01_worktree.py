"""Row 1: a new worktree of 10,000 files and its first clean status, over git's `worktree add -b` and its first status.

Ours is `Worktrees.create_worktree` as a card's run calls it where none is ready, and then a plain `git status` in it.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from pathlib import Path

from agentpane.worktrees import WorktreePlan, Worktrees
from benchmarks.checkouts import FRESH_SECONDS, git, make_repository
from benchmarks.harness import Figure, at_most, compare, milliseconds, scratch_folder

FILES = 10_000


def run() -> list[Figure]:
    with scratch_folder() as folder, asyncio.Runner() as runner:
        return [runner.run(_measure(folder))]


async def _measure(folder: Path) -> Figure:
    base = await asyncio.to_thread(make_repository, folder / "repository", FILES)
    worktrees = Worktrees()
    await asyncio.sleep(FRESH_SECONDS)
    repository = await worktrees.open_repository(folder / "repository")
    loop = asyncio.get_running_loop()
    numbers = itertools.count()

    def ours() -> float:
        number = next(numbers)
        plan = WorktreePlan(folder / "worktrees" / f"ours-{number}", f"agentpane/ours-{number}", base)

        def make() -> None:
            made = asyncio.run_coroutine_threadsafe(worktrees.create_worktree(repository, plan), loop).result()
            assert git(made.path, "status", "--porcelain") == ""

        return _taken_away(plan.path, milliseconds(make)())

    def floor() -> float:
        number = next(numbers)
        path = folder / "worktrees" / f"plain-{number}"

        def make() -> None:
            git(repository.path, "worktree", "add", "-q", "-b", f"plain-{number}", str(path), base)
            assert git(path, "status", "--porcelain") == ""

        return _taken_away(path, milliseconds(make)())

    def _taken_away(path: Path, taken: float) -> float:
        shutil.rmtree(path)
        git(repository.path, "worktree", "prune")
        return taken

    name = f"worktree of {FILES:,} files + status / git worktree add -b + status"
    figure = await asyncio.to_thread(compare, name, ours, floor, at_most(0.75), "ms", 9)
    await worktrees.close()
    return figure
