"""What a merge would make is laid out to be checked, and the merge makes exactly that or nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Conflicted, Merged, MergePlan, MergePreview, Repository, TreeChanged, Worktrees
from agentpane.worktrees.merging import scratch as scratches
from tests.worktrees.conftest import Bench, Journal, bench_of, commit_all, git, git_bytes


async def reviewed(bench: Bench) -> MergePlan:
    (bench.path / "new").write_text("x\n")
    (bench.path / "src/app.py").write_text((bench.path / "src/app.py").read_text() + "one more\n")
    made = await bench.snap()
    return MergePlan("main", made.sha, "run1", "merge", "Add one more\n", bench.base)


def stored(repo: Repository) -> tuple[str, str, list[str]]:
    """Everything that git keeps of the repository under a name."""
    records = repo.common_dir / "worktrees"
    listed = git(repo.path, "for-each-ref"), git(repo.path, "status", "--porcelain")
    return *listed, sorted(os.listdir(records)) if records.is_dir() else []


async def test_the_previewed_tree_is_merged_and_another_one_is_not(bench: Bench) -> None:
    plan = await reviewed(bench)
    (bench.repo.path / "theirs").write_text("y\n")
    commit_all(bench.repo.path)
    before = stored(bench.repo)
    seen = await bench.worktrees.preview_merge(bench.repo, plan)
    assert isinstance(seen, MergePreview) and seen.old == git(bench.repo.path, "rev-parse", "main")
    assert git(bench.repo.path, "ls-tree", "--name-only", seen.tree).split("\n") == [
        "new", "readme.md", "run.sh", "src", "theirs",
    ]  # fmt: skip
    assert stored(bench.repo) == before

    (bench.repo.path / "later").write_text("z\n")
    moved = commit_all(bench.repo.path)
    checked, journal = replace(plan, only_tree=seen.tree), Journal()
    refused = await bench.worktrees.merge(bench.repo, checked, journal)
    assert isinstance(refused, TreeChanged) and refused.tree != seen.tree
    assert git(bench.repo.path, "rev-parse", "main") == moved and not journal.intents
    done = await bench.worktrees.merge(bench.repo, replace(plan, only_tree=refused.tree), journal)
    assert isinstance(done, Merged) and done.tree == git(bench.repo.path, "rev-parse", "main^{tree}") == refused.tree


@pytest.mark.parametrize("strategy", ["squash", "ff"])
async def test_squash_and_fast_forward_keep_to_the_one_tree_too(bench: Bench, strategy: str) -> None:
    plan = replace(await reviewed(bench), strategy=strategy)
    seen = await bench.worktrees.preview_merge(bench.repo, plan)
    assert isinstance(seen, MergePreview)
    other = git(bench.repo.path, "rev-parse", "main^{tree}")
    assert await bench.worktrees.merge(bench.repo, replace(plan, only_tree=other), Journal()) == TreeChanged(seen.tree)
    assert git(bench.repo.path, "rev-parse", "main") == bench.base
    done = await bench.worktrees.merge(bench.repo, replace(plan, only_tree=seen.tree), Journal())
    assert isinstance(done, Merged) and git(bench.repo.path, "rev-parse", "main^{tree}") == seen.tree


async def test_a_conflict_and_a_merge_that_is_there_already_are_seen_before(bench: Bench) -> None:
    plan = await reviewed(bench)
    (bench.repo.path / "src/app.py").write_text((bench.repo.path / "src/app.py").read_text() + "another\n")
    commit_all(bench.repo.path)
    assert isinstance(await bench.worktrees.preview_merge(bench.repo, plan), Conflicted)
    git(bench.repo.path, "reset", "-q", "--hard", plan.reviewed)
    assert isinstance(await bench.worktrees.preview_merge(bench.repo, plan), Merged)


async def lay_out(bench: Bench, plan: MergePlan, folder: Path, *copies: str) -> Path:
    seen = await bench.worktrees.preview_merge(bench.repo, plan)
    assert isinstance(seen, MergePreview)
    folder.mkdir(parents=True)
    parents = (seen.old, plan.reviewed)
    made = await bench.worktrees.make_scratch(bench.repo, folder, seen.tree, parents, copies)
    assert git(made.tree, "rev-parse", "HEAD", "HEAD^{tree}", "HEAD^1", "HEAD^2").split("\n") == [
        made.head, seen.tree, *parents,
    ]  # fmt: skip
    assert made.tree.is_relative_to(folder) and made.git_dir.is_relative_to(folder)
    return made.tree


async def test_a_scratch_is_a_repository_of_its_own_that_leaves_nothing_in_the_real_one(
    bench: Bench, tmp_path: Path
) -> None:
    repo = bench.repo.path
    git(repo, "tag", "v1")
    (repo / ".git/info/exclude").write_text(".env\n.worktrees\n")
    (repo / ".env").write_text("KEY=1\n")
    plan = await reviewed(bench)
    before, objects = stored(bench.repo), git(repo, "count-objects")
    tree = await lay_out(bench, plan, tmp_path / "line\nbreak" / "scratch", ".env", "not-there")
    assert git(tree, "status", "--porcelain") == "" and (tree / ".env").read_text() == "KEY=1\n"
    assert (tree / "new").read_text() == "x\n" and os.access(tree / "run.sh", os.X_OK)
    assert git(tree, "describe", "--tags") == f"v1-2-g{git(tree, 'rev-parse', '--short', 'HEAD')}"
    assert git(tree, "fsck", "--strict") == "" and git(tree, "branch", "--list", "main").strip() == "main"
    # What a check commits, deletes and configures there stays there.
    (tree / "left").write_text("x")
    git(tree, "add", "-A", "--force")
    git(tree, "commit", "-q", "-m", "a check's own")
    git(tree, "branch", "-D", "main")
    git(tree, "config", "core.hooksPath", "/nowhere")
    git(tree, "gc", "-q", "--prune=now")
    assert stored(bench.repo) == before
    assert git(repo, "count-objects").split()[0] == objects.split()[0]
    assert git(repo, "config", "--get", "core.hooksPath", check=False) == ""


@pytest.mark.parametrize("kind", ["sha256", "bare", "shallow", "crlf", "sparse"])
async def test_any_repository_is_laid_out_as_its_worktrees_are(
    worktrees: Worktrees, repo: Repository, tmp_path: Path, kind: str
) -> None:
    path = repo.path
    if kind == "sha256":
        path = tmp_path / "sha256"
        git(tmp_path, "init", "-q", "--object-format=sha256", str(path))
        (path / "readme.md").write_text("# x\n")
        (path / "src").mkdir()
        (path / "src/app.py").write_text("x\n")
        commit_all(path)
    elif kind == "shallow":
        (path / "more").write_text("x\n")
        commit_all(path)
        git(tmp_path, "clone", "-q", "--depth=1", f"file://{path}", "shallow")
        path = tmp_path / "shallow"
    elif kind == "bare":
        git(tmp_path, "clone", "-q", "--bare", str(path), "bare.git")
        path = tmp_path / "bare.git"
    elif kind == "crlf":
        (path / ".gitattributes").write_text("*.md text\n*.py text eol=crlf\n")
        commit_all(path)
        git(path, "config", "core.autocrlf", "true")
    else:
        git(path, "sparse-checkout", "set", "--no-cone", "readme.md")
    bench = await bench_of(worktrees, await worktrees.open_repository(path))
    tree = await lay_out(bench, await reviewed(bench), tmp_path / "scratch")
    assert git(tree, "status", "--porcelain") == ""
    listed = git_bytes(tree, "ls-files", "-z").split(b"\0")[:-1]
    assert b"src/app.py" in listed
    for name in {*map(os.fsdecode, listed)} - {"new", "src/app.py"}:  # which the agent has written
        assert (tree / name).read_bytes() == (bench.path / name).read_bytes(), name
    assert (b"\r\n" in (tree / "src/app.py").read_bytes()) == (kind == "crlf")
    assert git(tree, "log", "--format=%s", "-1") == "What the merge would make"
    assert int(git(tree, "rev-list", "--count", "HEAD")) >= 3


async def test_a_full_or_read_only_disk_is_said_and_nothing_of_the_repository_has_changed(
    bench: Bench, tmp_path: Path
) -> None:
    seen = await bench.worktrees.preview_merge(bench.repo, await reviewed(bench))
    assert isinstance(seen, MergePreview)
    folder = tmp_path / "scratch"
    folder.write_text("a file where a folder should be")
    before = stored(bench.repo)
    with pytest.raises(AgentPaneError) as refused:
        await bench.worktrees.make_scratch(bench.repo, folder, seen.tree, (seen.old,), ())
    assert refused.value.code is ErrorCode.WORKTREE_CREATION_FAILED
    assert stored(bench.repo) == before


async def test_what_a_check_changes_of_the_tree_is_set_back_and_what_it_adds_stays(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = bench.repo.path
    (repo / "settings").write_text("a template\n")
    (repo / "other").write_text("other\n")
    commit_all(repo)
    (repo / "settings").write_text("the person's own\n")
    seen = await bench.worktrees.preview_merge(bench.repo, await reviewed(bench))
    assert isinstance(seen, MergePreview)
    folder, outside = tmp_path / "scratch", tmp_path / "outside"
    for made in (folder, outside):
        made.mkdir()
    (outside / "app.py").write_text("somebody's\n")
    made_by = (bench.repo, folder, seen.tree, (seen.old,), ("settings",))
    scratch = await bench.worktrees.make_scratch(*made_by)
    tree, listed = scratch.tree, sorted(os.listdir(scratch.tree))
    laid_out = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert laid_out[tree / "settings"] == b"the person's own\n"
    before = git(tree, "status", "--porcelain")

    times = (tree / "other").stat()
    (tree / "other").write_text("OTHER\n")
    os.utime(tree / "other", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tree / "settings").write_text("rewritten\n")
    (tree / "run.sh").chmod(0o644)
    (tree / "new").unlink()
    (tree / "new").mkdir()
    (tree / "new" / "inner").write_text("in the way")
    (tree / "readme.md").unlink()
    (tree / "readme.md").symlink_to(outside / "app.py")
    shutil.rmtree(tree / "src")
    (tree / "src").symlink_to(outside)
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "a check's own")
    (scratch.git_dir / "index.lock").touch()
    (tree / "built").write_text("x")
    (scratch.git_dir / "HEAD").rename(tmp_path / "its head")
    (scratch.git_dir / "HEAD").symlink_to(tmp_path / "its head")
    its_head = (tmp_path / "its head").read_bytes()

    scratch = await bench.worktrees.set_scratch_back(bench.repo, scratch, seen.tree)
    assert sorted(os.listdir(tree)) == sorted([*listed, "built"])
    (tree / "built").unlink()
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == laid_out
    assert os.access(tree / "run.sh", os.X_OK) and not (tree / "src").is_symlink()
    assert git(tree, "rev-parse", "HEAD") == scratch.head and git(tree, "status", "--porcelain") == before
    assert (outside / "app.py").read_text() == "somebody's\n" and (tmp_path / "its head").read_bytes() == its_head

    (tree / "settings").write_text("rewritten\n")
    scratch = await bench.worktrees.set_scratch_back(bench.repo, scratch, seen.tree)
    monkeypatch.setattr(scratches, "_read_tree", None)  # nothing has changed: git is not asked
    again = await bench.worktrees.set_scratch_back(bench.repo, scratch, seen.tree)
    assert again == scratch and {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == laid_out
