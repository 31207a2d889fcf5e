"""Row 12: the merge of an approval with the target checked out nowhere, over git's three plumbing commands alone.

Ours is `Worktrees.merge`, from the plan to the moved branch, its journal call included (the journal itself does nothing
here). The floor starts `git merge-tree`, `commit-tree` and `update-ref` one after the other, with no check at all.
Both sides have edited other files of a repository of 2,000 files.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from agentpane.worktrees import Merged, MergeIntent, MergePlan, Worktrees
from benchmarks.harness import Figure, at_most, compare, milliseconds, scratch_folder

FILES = 2_000
FRESH_SECONDS = 2.5  # a configuration that was only just written is read anew at every call, as no real one is


def run() -> list[Figure]:
    with scratch_folder() as folder, asyncio.Runner() as runner:
        return [runner.run(_measure(folder / "repository"))]


async def _measure(folder: Path) -> Figure:
    old, reviewed = await asyncio.to_thread(_make, folder)
    worktrees = Worktrees()
    await asyncio.sleep(FRESH_SECONDS)
    repository = await worktrees.open_repository(folder)
    plan = MergePlan("main", reviewed, "bench", "merge", "merge\n", base_sha=_git(folder, "merge-base", old, reviewed))
    loop = asyncio.get_running_loop()

    async def nothing(intent: MergeIntent) -> None:
        return None

    async def merge() -> None:
        outcome = await worktrees.merge(repository, plan, nothing)
        assert isinstance(outcome, Merged), outcome

    def ours() -> float:
        _git(folder, "update-ref", "refs/heads/main", old)
        return milliseconds(lambda: asyncio.run_coroutine_threadsafe(merge(), loop).result())()

    def floor() -> float:
        _git(folder, "update-ref", "refs/heads/main", old)
        return milliseconds(lambda: _plumbing(folder, old, reviewed))()

    figure = await asyncio.to_thread(
        compare, "merge on approve / merge-tree + commit-tree + update-ref", ours, floor, at_most(1.3), "ms", 21
    )
    await worktrees.close()
    return figure


def _plumbing(folder: Path, old: str, reviewed: str) -> None:
    tree = _git(folder, "merge-tree", "--write-tree", "-z", "--messages", old, reviewed).split("\0")[0]
    new = _git(folder, "commit-tree", tree, "-p", old, "-p", reviewed, "-m", "merge")
    _git(folder, "update-ref", "refs/heads/main", new, old)


def _make(folder: Path) -> tuple[str, str]:
    folder.mkdir()
    _git(folder, "init", "-q", "-b", "main")
    _git(folder, "config", "user.name", "Bench")
    _git(folder, "config", "user.email", "bench@example.invalid")
    for number in range(FILES):
        place = folder / f"d{number % 40}"
        place.mkdir(exist_ok=True)
        (place / f"f{number}.txt").write_text(f"{number}\n" * 20)
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "base")
    _git(folder, "checkout", "-q", "-b", "work")
    (folder / "d1" / "f1.txt").write_text("agent\n")
    _git(folder, "commit", "-q", "-a", "-m", "agent")
    reviewed = _git(folder, "rev-parse", "HEAD")
    _git(folder, "update-ref", "refs/agentpane/run/bench/reviewed", reviewed)
    _git(folder, "checkout", "-q", "main")
    (folder / "d2" / "f2.txt").write_text("person\n")
    _git(folder, "commit", "-q", "-a", "-m", "person")
    old = _git(folder, "rev-parse", "HEAD")
    _git(folder, "checkout", "-q", "work")
    return old, reviewed


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip("\n")
