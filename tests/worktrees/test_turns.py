"""What a turn left in its worktree, kept beside the branch."""

from __future__ import annotations

import asyncio

import pytest

from agentpane.worktrees import Repository, WorktreePlan, Worktrees

from .conftest import Bench, bench_of, commit_all, git
from .kept import tree_of, turn


async def test_a_turn_is_kept_outside_of_the_branch_without_touching_the_worktrees_index(bench: Bench) -> None:
    index = (bench.made.git_dir / "index").read_bytes()
    assert await turn(bench, 1) is None  # nothing has changed
    (bench.path / "readme.md").write_text("# Changed\n")
    (bench.path / "new").write_text("one\ntwo\n")
    first = await tree_of(bench)
    taken = await bench.worktrees.keep_turn(
        bench.repo,
        bench.base,
        git(bench.repo.path, "rev-parse", f"{bench.base}^{{tree}}"),
        first.tree,
        "refs/agentpane/turn/r/1",
    )
    assert (taken.stat.files, taken.stat.added, taken.stat.removed) == (2, 3, 1)
    (bench.path / "new").unlink()
    commit_all(bench.path)  # an agent that commits by habit changes nothing in what its turns leave
    second = await tree_of(bench)
    assert git(bench.path, "rev-parse", "HEAD^{tree}") == second.tree != first.tree
    later = await bench.worktrees.keep_turn(bench.repo, bench.base, first.tree, second.tree, "refs/agentpane/turn/r/2")
    assert (later.stat.files, later.stat.removed) == (1, 2)
    assert git(bench.repo.path, "rev-parse", f"{later.sha}^") == bench.base
    assert git(bench.path, "rev-parse", f"{taken.sha}^") == bench.base
    git(bench.path, "reset", "-q", "--soft", bench.base)
    assert (bench.made.git_dir / "index").read_bytes() != index  # by the commit above, and by nothing else


async def test_a_turn_leaves_out_what_is_excluded_too_large_or_a_repository_and_says_so(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentpane.worktrees.snapshots.turns.LARGEST_FILE", 1_000)
    (repo.path / "local.env").write_text("KEY=secret")
    bench = await bench_of(worktrees, repo, ("local.env",))
    (bench.path / "big").write_bytes(b"x" * 1_001)
    (bench.path / "readme.md").write_bytes(b"y" * 1_001)
    nested = bench.path / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "code").write_text("x")
    (bench.path / "small").write_text("kept")
    git(bench.path, "add", "-f", "local.env")
    git(bench.path, "commit", "-q", "-m", "An agent commits a secret")
    held = await tree_of(bench, ("local.env",))
    assert held.left_out == ("big", "readme.md", "nested")
    listed = git(bench.repo.path, "ls-tree", "-r", "--name-only", held.tree).split()
    assert listed == ["readme.md", "run.sh", "small", "src/app.py"]
    assert git(bench.repo.path, "show", f"{held.tree}:readme.md") == "# Sample"


async def test_an_index_left_in_pieces_is_made_anew(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    first = await tree_of(bench)
    (index,) = [file for file in bench.worktrees._git.private.iterdir() if file.name.startswith("turns-")]
    index.with_name(f"{index.name}.lock").touch()  # a git that was killed
    (bench.path / "new").write_text("y")
    second = await tree_of(bench)
    assert first.tree != second.tree == (await tree_of(bench)).tree
    index.write_bytes(b"torn")
    assert (await tree_of(bench)).tree == second.tree


async def test_turns_of_several_worktrees_at_once_do_not_meet(worktrees: Worktrees, repo: Repository) -> None:
    base = (await worktrees.base_branch(repo, "main")).sha
    made = [
        await worktrees.create_worktree(repo, WorktreePlan(repo.path / ".worktrees" / name, f"agentpane/{name}", base))
        for name in "abc"
    ]
    for each in made:
        (each.path / "own").write_text(each.path.name)
    held = await asyncio.gather(*(worktrees.turn_tree(repo, each.worktree, base) for each in made))
    assert [git(repo.path, "show", f"{each.tree}:own") for each in held] == ["a", "b", "c"]


async def test_a_turn_sees_what_is_staged_later_and_what_a_new_worktree_of_the_same_name_holds(bench: Bench) -> None:
    (bench.path / ".gitignore").write_text("*.cfg\n")
    first = await tree_of(bench)
    (bench.path / "mine.cfg").write_text("ignored, and staged after the first turn")
    git(bench.path, "add", "-f", "mine.cfg")
    second = await tree_of(bench)
    changed = git(bench.repo.path, "diff", "--name-only", first.tree, second.tree)
    assert changed == "mine.cfg" and second == await tree_of(bench)
    bench.base = (await bench.snap()).sha
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree)
    (bench.repo.path / ".gitignore").write_text("*.cfg\n")
    (bench.repo.path / "tracked.cfg").write_text("ignored, and tracked by a later base")
    git(bench.repo.path, "add", "-f", ".gitignore", "tracked.cfg")
    base = commit_all(bench.repo.path)
    plan = WorktreePlan(bench.path, "agentpane/again", base)
    again = await bench.worktrees.create_worktree(bench.repo, plan)
    assert again.git_dir == bench.made.git_dir
    held = await bench.worktrees.turn_tree(bench.repo, again.worktree, base)
    assert held.tree == git(bench.repo.path, "rev-parse", f"{base}^{{tree}}")
    assert len([file for file in bench.worktrees._git.private.iterdir() if file.name.startswith("turns-")]) == 1
