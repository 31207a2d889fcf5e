"""What looks at many files does so on another thread than the loop's."""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from agentpane.worktrees import Merged, MergePlan, MergeStrategy, Repository, Snapshot, Worktrees
from agentpane.worktrees.conflicts import conflicted, resolution
from agentpane.worktrees.merging import obstacles

from .conftest import Bench, Journal, commit_all
from .test_conflicted import stand

MANY = 300


async def test_neither_keeping_nor_reviewing_nor_setting_back_looks_at_a_worktrees_files_on_the_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(MANY):
        (bench.path / f"many-{number}").write_text("1")
    base = commit_all(bench.path)
    for number in range(MANY):
        (bench.path / f"many-{number}").write_text("changed")
        (bench.path / f"many-new-{number}").symlink_to("many-1")
    here, seen = threading.get_ident(), Counter[str]()

    def watched(name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            of_the_many = name == "rmtree" or os.path.basename(os.fsdecode(arguments[0])).startswith("many-")
            seen[name] += of_the_many and threading.get_ident() == here
            return whole(*arguments, **options)

        return called

    for name in ("lstat", "stat", "unlink", "readlink", "access"):
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    monkeypatch.setattr(shutil, "rmtree", watched("rmtree", shutil.rmtree))

    async def keep(also: tuple[str, ...]) -> None:
        assert await bench.worktrees.recovery_snapshot(bench.repo, bench.made.worktree, "r1", also) is not None

    assert (await bench.worktrees.turn_tree(bench.repo, bench.made.worktree, bench.base)).left_out == ()
    await keep(())
    await keep(("many-1",))
    await bench.worktrees.set_back(bench.repo, bench.made.worktree, base, (), keep)
    (bench.path / "many-1").write_text("changed")
    assert (await bench.snap()).stat.files == MANY
    assert {name: calls for name, calls in seen.items() if calls >= MANY or name == "rmtree"} == {"rmtree": 0}


async def test_neither_a_merge_nor_a_conflict_is_read_or_written_on_the_loop(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, on_the_loop, elsewhere = threading.get_ident(), Counter[str](), Counter[str]()

    def watch(module: Any, name: str) -> None:
        whole = getattr(module, name)

        def called(*arguments: Any, **options: Any) -> Any:
            (on_the_loop if threading.get_ident() == here else elsewhere)[name] += 1
            return whole(*arguments, **options)

        monkeypatch.setattr(module, name, called)

    for module, name in (
        (obstacles, "parse_raw"), (obstacles, "paths_in"), (conflicted, "parse_stages"), (conflicted, "entries"),
        (conflicted, "_write"), (resolution, "parse_raw"), (shutil, "copy2"),
    ):  # fmt: skip
        watch(module, name)
    sides = [{"text": f"line {side}\n".encode()} for side in ("base", "card", "main")]
    sides[1]["new"] = b"added\n"
    stands = await stand(worktrees, repo, *sides, submodule=True)
    (stands.path / "text").write_text("both\n")
    (stands.path / "sub~submodule").write_text(f"Subproject commit {'2' * 40}\n")
    taken = await stands.take()
    assert isinstance(taken, Snapshot)
    plan = MergePlan("main", taken.sha, "run2", MergeStrategy.MERGE, "Merge\n", taken.base)
    assert isinstance(await worktrees.merge(repo, plan, Journal()), Merged)
    assert not on_the_loop and len(elsewhere) == 6, (on_the_loop, elsewhere)
