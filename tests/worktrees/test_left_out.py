"""What git itself has left out of a worktree is no deletion; what lies there although it is left out counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agentpane.worktrees import Recovery, Repository, Worktrees

from .conftest import Bench, bench_of, commit_all, git
from .kept import keep, tree_of

FILES = {"src/a": b"a\n", "sub/x": b"1\n", "sub/y": b"y\n", "top": b"t\n"}


@pytest.fixture
async def repo(worktrees: Worktrees, tmp_path: Path) -> Repository:
    return await worktrees.make_repository(tmp_path / "repo", FILES, "First\n")


def changes(bench: Bench, tree: str, base: str | None = None) -> list[str]:
    listed = git(bench.repo.path, "diff", "--no-renames", "--name-status", base or bench.base, tree)
    return [" ".join(line.split("\t")) for line in listed.splitlines()]


def content(bench: Bench, tree: str, path: str) -> str:
    return git(bench.repo.path, "show", f"{tree}:{path}")


def thin_by_hand(path: Path) -> None:
    git(path, "update-index", "--skip-worktree", "sub/x", "sub/y")
    for name in ("x", "y"):
        (path / "sub" / name).unlink()
    (path / "sub").rmdir()


WAYS: Mapping[str, Callable[[Path], object]] = {
    "a sparse index": lambda path: git(path, "sparse-checkout", "set", "--sparse-index", "src"),
    "the person's checkout": lambda path: git(path, "reset", "--hard", "--quiet"),
    "a mark": thin_by_hand,
    "a cone": lambda path: git(path, "sparse-checkout", "set", "src"),
    "patterns": lambda path: git(path, "sparse-checkout", "set", "--no-cone", "/src/", "/top"),
}


@pytest.mark.parametrize(
    "how", [*list(WAYS)[:3], *(pytest.param(each, marks=pytest.mark.long) for each in list(WAYS)[3:])]
)
async def test_what_git_has_left_out_is_as_it_was_and_what_lies_there_is_what_it_is(
    worktrees: Worktrees, repo: Repository, how: str
) -> None:
    if how == "the person's checkout":
        git(repo.path, "sparse-checkout", "set", "src")
    bench = await bench_of(worktrees, repo)
    assert (bench.path / "sub" / "x").exists()
    before = await tree_of(bench)
    WAYS[how](bench.path)
    assert not (bench.path / "sub").exists()
    thinned = await tree_of(bench)
    assert thinned == before
    (bench.path / "src" / "b").write_text("new\n")
    seen = git(bench.path, "status", "--porcelain")
    assert seen == "?? src/b"
    assert changes(bench, (await keep(bench)).sha) == ["A src/b"]
    for run in ("run1", "run2"):  # what is left out stays so when the index is the snapshot's
        assert changes(bench, (await bench.snap(run)).sha) == ["A src/b"]
        assert git(bench.path, "status", "--porcelain") == ""
    if how != "a mark":
        git(bench.path, "reset", "--hard", "--quiet")
        assert not (bench.path / "sub").exists()
    (bench.path / "sub").mkdir()
    (bench.path / "sub" / "x").write_text("precious\n")
    (bench.path / "sub" / "new").write_text("too\n")
    turn, kept, made = (await tree_of(bench)).tree, await keep(bench, (), "r2"), await bench.snap("run3")
    assert changes(bench, kept.sha, kept.parent) == ["A sub/new", "M sub/x"]
    for tree in (turn, kept.sha, made.sha):
        assert changes(bench, tree) == ["A src/b", "A sub/new", "M sub/x"]
        assert content(bench, tree, "sub/x") == "precious"


async def test_a_file_that_is_left_out_is_as_it_is_staged(bench: Bench) -> None:
    """As after a `cherry-pick --no-commit`, which lays nothing out that is to be left out."""
    files = {"sub/x": "changed\n", "sub/new": "new\n", "sub/.env": "secret\n"}
    for path, text in files.items():
        (bench.path / path).write_text(text)
    picked = commit_all(bench.path)
    git(bench.path, "reset", "--hard", "--quiet", bench.base)
    git(bench.path, "sparse-checkout", "set", "src")
    git(bench.path, "cherry-pick", "--no-commit", picked)
    assert not (bench.path / "sub").exists()
    made = await bench.snap(excluded=("sub/.env",))
    for tree in ((await tree_of(bench, ("sub/.env",))).tree, made.sha):
        assert changes(bench, tree) == ["A sub/new", "M sub/x"]
    git(bench.path, "reset", "--soft", bench.base)
    kept = await keep(bench)
    assert content(bench, f"{kept.sha}^2", "sub/x") == "changed"  # what is staged and in no file


async def test_a_link_or_a_file_where_the_folder_of_a_left_out_file_was_takes_its_place(bench: Bench) -> None:
    git(bench.path, "sparse-checkout", "set", "src")
    (bench.path / "sub").symlink_to("src")
    assert changes(bench, (await bench.snap()).sha) == ["A sub", "D sub/x", "D sub/y"]


async def test_a_deleted_file_is_deleted_beside_left_out_ones(bench: Bench) -> None:
    git(bench.path, "sparse-checkout", "set", "src")
    (bench.path / "top").unlink()
    assert changes(bench, (await tree_of(bench)).tree) == ["D top"]
    assert changes(bench, (await keep(bench)).sha) == ["D top"]
    assert changes(bench, (await bench.snap()).sha) == ["D top"]


@pytest.mark.parametrize("branch", [False, True], ids=["to a turn", "afresh"])
async def test_setting_back_lays_out_what_is_left_out_only_where_it_differs(bench: Bench, branch: bool) -> None:
    (bench.path / "sub" / "x").write_text("changed\n")
    changed = await bench.snap()
    git(bench.path, "sparse-checkout", "set", "src")
    assert not (bench.path / "sub").exists()
    (bench.path / "src" / "b").write_text("new\n")
    kept: list[Recovery] = []

    async def keeping(also: tuple[str, ...]) -> None:
        kept.append(await keep(bench, also, f"r{len(kept)}"))

    set_back = bench.worktrees.set_back
    assert await set_back(bench.repo, bench.made.worktree, bench.base, (), keeping, branch) == 2
    assert (bench.path / "sub" / "x").read_text() == "1\n" and not (bench.path / "sub" / "y").exists()
    assert changes(bench, kept[0].sha, changed.sha) == ["A src/b"]
    assert (await tree_of(bench)).tree == git(bench.repo.path, "rev-parse", f"{bench.base}^{{tree}}")
    assert git(bench.path, "status", "--porcelain").strip() == ("" if branch else "M sub/x")
