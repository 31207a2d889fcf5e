"""Repositories inside of a worktree: where they lie, and what a recovery, a snapshot and a turn see of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.domain.recoveries import Beside, ways_to
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Recovery, Repository, Worktrees

from .conftest import Bench, bench_of, commit_all, git, git_bytes
from .kept import keep, laid_out


def done(command: str, where: Path) -> None:
    subprocess.run(command, shell=True, check=True, cwd=where, capture_output=True)


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
    assert git(repo.path, "show", "-s", "--format=%b", kept.sha).count("Without some commits of: torn") == 1
    moved = bench.path.rename(repo.path / ".git" / "moved")  # as one that is on its way out
    late = await worktrees.recovery_snapshot(repo, replace(bench.made.worktree, path=moved), "r3")
    assert late is not None
    bundles = [git(repo.path, "ls-tree", "-r", "--name-only", f"{each.sha}^2").split() for each in (kept, late)]
    assert bundles == [["own.bundle", "vendor/lib.bundle"]] * 2
    assert kept.beside == Beside(histories=2, bundles=("own", "vendor/lib"), partly=("torn",))
    done(ways_to(kept.ref, kept.beside)[0], repo.path)
    assert git(repo.path, "show", f"{made['own']}:lib.c") == "precious"
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


def two_commits(folder: Path, content: str) -> str:
    """Make a repository with two commits in a folder. Returns the first, which no file shows."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    (folder / "file").write_text(content)
    first = commit_all(folder)
    (folder / "file").write_text("later")
    commit_all(folder)
    return first


def fetched(bench: Bench, kept: Recovery, name: str, into: Path, remote: Path | None = None) -> Path:
    """A repository of its own, or a clone of the remote, with everything that a bundle of a recovery names."""
    (tree,) = [
        parent
        for parent in git(bench.repo.path, "show", "-s", "--format=%P", kept.sha).split()
        if git(bench.repo.path, "ls-tree", "-r", "--name-only", parent, f"{name}.bundle")
    ]
    file = into.with_suffix(".bundle")
    file.write_bytes(git_bytes(bench.repo.path, "cat-file", "blob", f"{tree}:{name}.bundle"))
    git(into.parent, *(("init",) if remote is None else ("clone", str(remote))), "-q", "--bare", into.name)
    git(into, "fetch", "-q", str(file), "refs/*:refs/kept/*")
    return into


async def test_the_commits_of_a_repository_are_kept_wherever_it_lies(bench: Bench, tmp_path: Path) -> None:
    (bench.path / ".gitignore").write_text("copied/\nignored/\n")
    (bench.path / "readme.md").unlink()
    places = ("outer", "outer/deep/inner", "src", "copied/in/it", "ignored", "readme.md")
    made = {name: two_commits(bench.path / name, f"precious {name}") for name in places}
    kept = await keep(bench, ("copied",))
    del made["ignored"]  # as its files are not kept
    names = git(bench.repo.path, "ls-tree", "-r", "--name-only", f"{kept.sha}^2").split()
    assert names == sorted(f"{name}.bundle" for name in made)
    for name, sha in made.items():
        into = fetched(bench, kept, name, tmp_path / f"from-{sha}")
        assert git(into, "show", f"{sha}:file") == f"precious {name}"
    assert "Without" not in git(bench.repo.path, "show", "-s", "--format=%b", kept.sha)


async def test_all_stashes_and_what_only_a_log_names_are_in_the_bundle(bench: Bench, tmp_path: Path) -> None:
    inner = bench.path / "inner"
    two_commits(inner, "first")
    git(inner, "clone", "-q", "--bare", ".", str(tmp_path / "remote"))
    git(inner, "remote", "add", "origin", str(tmp_path / "remote"))
    git(inner, "fetch", "-q", "origin")  # nothing is left that only the repository has
    assert len(git(bench.repo.path, "show", "-s", "--format=%P", (await keep(bench)).sha).split()) == 1
    for name in ("one", "two", "three"):
        (inner / "file").write_text(f"stashed {name}")
        git(inner, "stash", "-q")
    (inner / "file").write_text("taken back")
    commit_all(inner)
    git(inner, "reset", "-q", "--hard", "HEAD^")
    into = fetched(bench, await keep(bench, (), "r2"), "inner", tmp_path / "again", tmp_path / "remote")
    held = git(into, "for-each-ref", "--format=%(objectname)", "refs/kept").split()
    contents = {git(into, "show", f"{sha}:file") for sha in held}
    assert contents == {"stashed one", "stashed two", "stashed three", "taken back"}


async def test_what_a_submodule_holds_is_kept_although_it_was_taken_out_or_never_checked_out(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    library = await worktrees.make_repository(tmp_path / "library", {"lib.c": b"int x;\n"}, "First\n")
    allowed = ("-c", "protocol.file.allow=always")
    for name in ("gone", "never", "replaced"):
        git(repo.path, *allowed, "submodule", "--quiet", "add", str(library.path), f"vendor/{name}")
    git(repo.path, "commit", "-q", "-m", "Submodules")
    bench = await bench_of(worktrees, repo)
    git(bench.path, *allowed, "submodule", "--quiet", "update", "--init", "vendor/gone", "vendor/replaced")
    made: dict[str, str] = {}
    for name in ("gone", "replaced"):
        (bench.path / "vendor" / name / "lib.c").write_text(f"precious {name}")
        made[name] = commit_all(bench.path / "vendor" / name)
        shutil.rmtree(bench.path / "vendor" / name)
    git(bench.path, "rm", "-q", "--cached", "vendor/gone")
    (bench.path / "vendor" / "replaced").write_text("a file")
    (bench.path / "vendor" / "never" / "note").write_text("written where nothing is checked out")
    kept = await keep(bench)
    for name, sha in made.items():
        into = fetched(bench, kept, f"vendor/{name}", tmp_path / name, library.path)
        assert git(into, "show", f"{sha}:lib.c") == f"precious {name}"
    path = await laid_out(bench, kept)
    assert (path / "vendor" / "never" / "note").read_text() == "written where nothing is checked out"
    assert (path / "vendor" / "replaced").read_text() == "a file"


async def test_a_repository_of_which_nothing_can_be_read_is_told_of_though_nothing_else_differs(bench: Bench) -> None:
    (bench.path / "src" / ".git").mkdir()
    (bench.path / "src" / ".git" / "HEAD").write_text("torn")
    kept = await keep(bench)
    assert kept.files == 0
    assert "Without the commits of: src" in git(bench.repo.path, "show", "-s", "--format=%b", kept.sha)


async def test_a_folder_of_a_repository_that_cannot_be_looked_into_stops_whoever_wanted_to_discard_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_commits(bench.path / "inner", "x")
    (bench.path / "inner" / "shut").mkdir()
    whole = os.scandir

    def scan(path: str | int) -> object:
        if not isinstance(path, int) and os.path.basename(path) == "shut":
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(AgentPaneError) as caught:
        await keep(bench)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED


async def test_a_repository_in_the_way_of_a_file_is_kept_with_its_commits_when_a_worktree_is_set_back(
    bench: Bench, tmp_path: Path
) -> None:
    (bench.path / "readme.md").unlink()
    first = two_commits(bench.path / "readme.md", "precious")
    kept: list[Recovery] = []

    async def keeping(also: tuple[str, ...]) -> None:
        kept.append(await keep(bench, also))

    await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), keeping)
    assert (bench.path / "readme.md").read_text() == "# Sample\n"
    assert git(fetched(bench, kept[0], "readme.md", tmp_path / "again"), "show", f"{first}:file") == "precious"


async def test_a_repository_of_which_the_agent_has_committed_the_pointer_is_told_of_and_its_files_can_be_reviewed(
    bench: Bench, tmp_path: Path
) -> None:
    library = await bench.worktrees.make_repository(tmp_path / "library", {"lib.c": b"int x;\n"}, "First\n")
    allowed = ("-c", "protocol.file.allow=always")
    git(bench.path, *allowed, "submodule", "--quiet", "add", str(library.path), "wanted")
    two_commits(bench.path / "inner", "precious")
    tip = commit_all(bench.path)
    assert git(bench.path, "ls-tree", tip, "inner").startswith("160000 commit ")
    with pytest.raises(AgentPaneError) as caught:
        await bench.snap()
    assert caught.value.code is ErrorCode.WORKTREE_NESTED_REPO and caught.value.details["paths"] == ["inner"]
    assert git(bench.path, "rev-parse", "HEAD") == tip
    shutil.rmtree(bench.path / "inner" / ".git")  # as the refusal says
    made = await bench.snap()
    listed = git(bench.repo.path, "ls-tree", "-r", "--format=%(objecttype) %(path)", made.sha).splitlines()
    assert {"blob inner/file", "commit wanted"} <= set(listed)
    assert git(bench.path, "status", "--porcelain") == ""
