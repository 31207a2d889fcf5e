"""Keeping a worktree, or its turns, and laying it out again, for the tests of what is kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from agentpane.worktrees import Recovery, TurnTree, WorktreePlan, turn_ref

from .conftest import Bench, git


def state(root: Path) -> Mapping[str, tuple[int, bytes]]:
    """Everything below a folder, git's own aside: what kind it is, its mode, and its bytes or where it leads."""
    found: dict[str, tuple[int, bytes]] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in {".git", ".worktrees"}]
        for name in (*files, *(each for each in folders if os.path.islink(os.path.join(folder, each)))):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            content = os.fsencode(os.readlink(path)) if stat.S_ISLNK(mode) else Path(path).read_bytes()
            found[os.path.relpath(path, root)] = (mode, content)
    found.pop(".git", None)
    return found


async def keep(bench: Bench, listed: tuple[str, ...] = (), name: str = "r1") -> Recovery:
    kept = await bench.worktrees.recovery_snapshot(bench.repo, bench.made.worktree, name, listed)
    assert kept is not None
    return kept


async def laid_out(bench: Bench, kept: Recovery, where: str = "again") -> Path:
    plan = WorktreePlan(bench.path.with_name(where), f"agentpane/{where}", kept.parent)
    made = await bench.worktrees.create_worktree(bench.repo, plan)
    await bench.worktrees.lay_out_recovery(bench.repo, made.worktree, kept.parent, kept.sha)
    return made.path


async def turn(bench: Bench, number: int, before: str | None = None, excluded: tuple[str, ...] = ()) -> str | None:
    """Keep what a turn left, as the engine does. Returns the commit; None where nothing changed."""
    held = await tree_of(bench, excluded)
    start = before or git(bench.repo.path, "rev-parse", f"{bench.base}^{{tree}}")
    if held.tree == start:
        return None
    ref = turn_ref("run1", number)
    return (await bench.worktrees.keep_turn(bench.repo, bench.base, start, held.tree, ref)).sha


async def tree_of(bench: Bench, excluded: tuple[str, ...] = ()) -> TurnTree:
    return await bench.worktrees.turn_tree(bench.repo, bench.made.worktree, bench.base, excluded)
