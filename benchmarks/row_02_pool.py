"""Row 2: a card is given a worktree that was kept ready, over starting `git --version`; 50,000 files over 1,000.

Ours is what a card waits for instead of a checkout: the free name of its branch, and the hand-over itself. Not in it is
the question to git whether some program has written deep inside of it, which is asked before the agent begins: the
third figure has it, over git making the worktree. It runs on the engine's own kind of loop.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from pathlib import Path

from agentpane.orchestrator.main import loop_factory
from agentpane.worktrees import Repository, Worktree, Worktrees
from benchmarks.checkouts import FRESH_SECONDS, git, make_repository, spawn_git
from benchmarks.harness import Figure, at_most, compare, milliseconds, scratch_folder

FEW, MANY = 1_000, 50_000
ROUNDS = 11


def run() -> list[Figure]:
    with scratch_folder() as folder, asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_measure(folder))


async def _measure(folder: Path) -> list[Figure]:
    worktrees = Worktrees()
    few, many = [await _Project.make(worktrees, folder / str(files), files) for files in (FEW, MANY)]
    await asyncio.sleep(FRESH_SECONDS)
    gc.freeze()  # as the engine does: what is loaded is not looked at again
    spawn = milliseconds(spawn_git)
    figures = [
        ("ready worktree given / git --version", few.given, spawn, 0.5, ROUNDS),
        (f"the same, {MANY:,} files / {FEW:,} files", many.given, few.given, 1.2, ROUNDS),
        (f"given and looked through, {MANY:,} files / git worktree add", many.examined, many.added, 0.5, 7),
    ]
    found = [
        await asyncio.to_thread(compare, name, ours, floor, at_most(bound), "ms", rounds)
        for name, ours, floor, bound, rounds in figures
    ]
    gc.unfreeze()
    await worktrees.close()
    return found


class _Project:
    """A repository with one worktree that is ready, given to a card, and taken back for the next round."""

    def __init__(self, worktrees: Worktrees, repository: Repository, base: str, ready: Worktree) -> None:
        self._worktrees, self._repository, self._base, self._ready = worktrees, repository, base, ready
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()

    @classmethod
    async def make(cls, worktrees: Worktrees, folder: Path, files: int) -> _Project:
        base = await asyncio.to_thread(make_repository, folder, files)
        repository = await worktrees.open_repository(folder)
        ready = await worktrees.ready.make(repository, folder / ".worktrees" / "ready-1", base, "bench")
        return cls(worktrees, repository, base, ready)

    def given(self) -> float:
        return self._round(examine=False)

    def examined(self) -> float:
        return self._round(examine=True)

    def added(self) -> float:
        path = self._repository.path / ".worktrees" / f"plain-{next(self._numbers)}"
        taken = milliseconds(
            lambda: git(self._repository.path, "worktree", "add", "-q", "-b", path.name, str(path), self._base)
        )()
        git(self._repository.path, "worktree", "remove", "--force", str(path))
        return taken

    def _round(self, examine: bool) -> float:
        name = f"card-{next(self._numbers)}"
        given: list[Worktree] = []

        async def give() -> None:
            branch = await self._worktrees.ready.free_branch(self._repository, f"agentpane/{name}")
            path = self._ready.path.with_name(name)
            assert branch is not None
            card = await self._worktrees.ready.hand_over(self._repository, self._ready, self._base, path, branch)
            assert card is not None
            if examine:
                assert await self._worktrees.ready.is_untouched(self._repository, card)
            given.append(card)

        async def take_back() -> None:
            card = given[0]
            card.path.rename(self._ready.path)
            moved = Worktree(card.path, card.git_dir, card.branch, card.mark)
            assert await self._worktrees.ready.put_back(self._repository, moved, self._base) is not None
            assert await self._worktrees.ready.advance(self._repository, self._ready, self._base)

        async def timed() -> float:
            gc.collect()
            gc.disable()
            start = time.perf_counter()
            await give()
            taken = (time.perf_counter() - start) * 1_000
            gc.enable()
            await take_back()
            return taken

        return asyncio.run_coroutine_threadsafe(timed(), self._loop).result()
