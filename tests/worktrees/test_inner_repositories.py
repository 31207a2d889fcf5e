"""Repositories inside of a worktree: where they lie, and what a recovery, a snapshot and a turn see of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Repository, Worktrees

from .conftest import Bench, bench_of, commit_all, git, git_bytes
from .kept import keep, laid_out


async def test_what_a_checked_out_submodule_holds_is_kept_as_files(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    library = await worktrees.make_repository(tmp_path / "library", {"lib.c": b"int x;\n"}, "First\n")
    allowed = ("-c", "protocol.file.allow=always")
    git(repo.path, *allowed, "submodule", "--quiet", "add", str(library.path), "vendor/lib")
    git(repo.path, "commit", "-q", "-m", "A submodule")
    bench = await bench_of(worktrees, repo)
    assert await worktrees.recovery_snapshot(repo, bench.made.worktree, "none") is None  # it is not checked out
    git(bench.path, *allowed, "submodule", "--quiet", "update", "--init")
    (bench.path / "vendor" / "lib" / "lib.c").write_text("int changed;\n")
    (bench.path / "vendor" / "lib" / "new.c").write_text("int y;\n")
    path = await laid_out(bench, await keep(bench))
    assert (path / "vendor" / "lib" / "lib.c").read_text() == "int changed;\n"
    assert (path / "vendor" / "lib" / "new.c").read_text() == "int y;\n"


async def test_the_commits_of_repositories_inside_are_kept_as_bundles(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    library = await worktrees.make_repository(tmp_path / "library", {"lib.c": b"int x;\n"}, "First\n")
    allowed = ("-c", "protocol.file.allow=always")
    git(repo.path, *allowed, "submodule", "--quiet", "add", str(library.path), "vendor/lib")
    git(repo.path, "commit", "-q", "-m", "A submodule")
    bench = await bench_of(worktrees, repo)
    git(bench.path, *allowed, "submodule", "--quiet", "update", "--init")
    assert len(git(repo.path, "show", "-s", "--format=%P", (await keep(bench)).sha).split()) == 1  # a remote has them
    made: dict[str, str] = {}
    for name in ("vendor/lib", "own"):
        (bench.path / name).mkdir(exist_ok=True)
        git(bench.path / name, "init", "-q")
        (bench.path / name / "lib.c").write_text("precious\n")
        made[name] = commit_all(bench.path / name)
        (bench.path / name / "lib.c").write_text("later\n")
        commit_all(bench.path / name)
    (bench.path / "torn").mkdir()
    git(bench.path / "torn", "init", "-q")
    (bench.path / "torn" / "file").write_text("x")
    commit_all(bench.path / "torn")
    (bench.path / "torn" / ".git" / "refs" / "heads" / "main").write_text("torn")
    kept = await keep(bench, (), "r2")
    assert git(repo.path, "show", "-s", "--format=%b", kept.sha).count("Without the commits of: torn") == 1
    moved = bench.path.rename(repo.path / ".git" / "moved")  # as one that is on its way out
    late = await worktrees.recovery_snapshot(repo, replace(bench.made.worktree, path=moved), "r3")
    assert late is not None
    bundles = [git(repo.path, "ls-tree", "-r", "--name-only", f"{each.sha}^2").split() for each in (kept, late)]
    assert bundles == [["own.bundle", "vendor/lib.bundle"]] * 2
    for name, sha in made.items():
        bundle = tmp_path / "bundle"
        bundle.write_bytes(git_bytes(repo.path, "cat-file", "blob", f"{kept.sha}^2:{name}.bundle"))
        into = library.path if name == "vendor/lib" else repo.path
        git(into, "fetch", "-q", str(bundle), "HEAD")
        assert git(into, "show", f"{sha}:lib.c") == "precious"


async def test_a_repository_in_the_place_of_a_tracked_file_is_kept_and_stops_the_snapshot(bench: Bench) -> None:
    (bench.path / "readme.md").unlink()
    (bench.path / "readme.md").mkdir()
    git(bench.path / "readme.md", "init", "-q")
    (bench.path / "readme.md" / "thesis").write_text("precious")
    path = await laid_out(bench, await keep(bench))
    assert (path / "readme.md" / "thesis").read_text() == "precious"
    with pytest.raises(AgentPaneError) as caught:
        await bench.snap()
    assert caught.value.code is ErrorCode.WORKTREE_NESTED_REPO and caught.value.details["paths"] == ["readme.md"]
    held = await bench.worktrees.turn_tree(bench.repo, bench.made.worktree, bench.base)
    assert held.left_out == ("readme.md",)
    assert await bench.worktrees.differs(bench.repo, bench.made.worktree, bench.base, ())


async def test_what_a_link_in_the_place_of_a_folder_leads_to_is_not_the_worktrees(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "away" / "app.py").mkdir(parents=True)
    git(tmp_path / "away" / "app.py", "init", "-q")
    os.mkfifo(tmp_path / "away" / "pipe")
    for name in ("pipe", "same"):
        (bench.path / "src" / name).write_text("")
    (tmp_path / "away" / "same").write_text("elsewhere")
    commit_all(bench.path)
    (bench.path / "src").rename(tmp_path / "src")
    (bench.path / "src").symlink_to(tmp_path / "away")
    kept = await keep(bench)
    listed = git(bench.repo.path, "ls-tree", "-r", "--name-only", kept.sha).split()
    assert listed == ["readme.md", "run.sh", "src"]
    made = await bench.snap()
    assert git(bench.repo.path, "ls-tree", "-r", "--name-only", made.sha).split() == listed
