"""Commits that nothing but git's record of a worktree names are kept with it, and no others are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agentpane.domain.recoveries import Beside, ways_to
from agentpane.worktrees import Recovery, Worktree
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.keeping import record_commits

from .conftest import Bench, commit_all, git


async def kept(bench: Bench, name: str = "r") -> Recovery | None:
    return await bench.worktrees.recovery_snapshot(bench.repo, bench.made.worktree, name, began=bench.base)


def holds(repo: Path, ref: str, commit: str) -> bool:
    done = subprocess.run(["git", "merge-base", "--is-ancestor", commit, ref], cwd=repo, capture_output=True)
    return done.returncode == 0


def loose(where: Path, words: str) -> str:
    """A commit that no ref names."""
    return git(where, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", words)


async def test_what_git_has_stashed_for_a_rebase_and_what_head_has_left_behind_is_kept(bench: Bench) -> None:
    repo, path = bench.repo.path, bench.path
    (path / "readme.md").write_text("left behind\n")
    behind = commit_all(path)
    git(path, "reset", "-q", "--hard", "HEAD^")
    (path / "readme.md").write_text("in the worktree\n")
    commit_all(path)
    (repo / "readme.md").write_text("on main\n")
    git(repo, "commit", "-qam", "main")
    (path / "src" / "app.py").write_text("PRECIOUS\n")
    git(path, "rebase", "--autostash", "main", check=False)
    stashed = (bench.made.git_dir / "rebase-merge" / "autostash").read_text().strip()
    assert "PRECIOUS" not in (path / "src" / "app.py").read_text()
    found = await kept(bench)
    assert found is not None and holds(repo, found.ref, stashed) and holds(repo, found.ref, behind)
    assert found.beside == Beside(commits=3, loose=3)  # a stash is two
    (way,) = ways_to(found.ref, found.beside)
    assert {stashed, behind} < set(git(repo, *way.split()[1:], "--format=%H").split())
    told = git(repo, "show", "-s", "--format=%B", f"{found.ref}^2")
    assert f"{stashed} rebase-merge/autostash" in told and f"{behind} logs/HEAD" in told


async def test_refs_of_a_worktree_alone_are_kept_and_what_is_no_whole_commit_does_no_harm(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_commits, "_AT_ONCE", 2)
    repo, path, record = bench.repo.path, bench.path, bench.made.git_dir
    named = {name: loose(path, name) for name in ("worktree", "bisect", "rewritten", "merge", "original")}
    git(path, "update-ref", "refs/worktree/index", named["worktree"])
    git(path, "update-ref", "refs/bisect/bad", named["bisect"])
    git(path, "update-ref", "refs/rewritten/onto", named["rewritten"])
    (record / "MERGE_AUTOSTASH").write_text(f"{named['merge']}\n")
    (record / "ORIG_HEAD").write_text(f"{named['original']}\n")
    blob = git(path, "rev-parse", "HEAD:readme.md")
    tree = git(path, "mktree", stdin=f"100644 blob {blob}\tlost\n".encode())
    half = git(path, "commit-tree", tree, "-m", "of which git has lost the tree")
    (bench.repo.common_dir / "objects" / tree[:2] / tree[2:]).unlink()
    (record / "refs" / "worktree" / "others").write_text(f"{half}\n{blob}\n{'a' * 40}\n{'0' * 40}\n")
    os.mkfifo(record / "refs" / "worktree" / "pipe")
    (record / "refs" / "worktree" / "link").symlink_to(repo / ".git" / "HEAD")
    found = await kept(bench)
    assert found is not None and found.files == 0
    assert [name for name, sha in named.items() if not holds(repo, found.ref, sha)] == []
    assert not holds(repo, found.ref, half)
    shutil.rmtree(record / "refs")
    git(repo, "gc", "-q", "--prune=now")
    assert git(repo, "log", "--format=%s", found.ref).splitlines().count("merge") == 1


async def test_what_a_branch_a_tag_or_a_run_holds_is_none_of_it_and_git_is_not_asked_where_nothing_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    run = GitRunner.run

    async def counted(self: GitRunner, place: object, *words: str, **more: object) -> object:
        asked.append(words)
        return await run(self, place, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(GitRunner, "run", counted)
    assert await kept(bench) is None
    assert [words for words in asked if words[0] == "rev-list"] == []
    (bench.path / "new").write_text("1")
    await bench.snap()
    (bench.path / "new").write_text("2")
    await bench.snap()
    git(bench.path, "checkout", "-q", "--detach", "main")
    tagged = commit_all_empty(bench.path, "tagged")
    git(bench.path, "tag", "t", tagged)
    git(bench.path, "checkout", "-q", bench.made.branch)
    assert await kept(bench) is None
    git(bench.repo.path, "tag", "-d", "t")
    found = await kept(bench)
    assert found is not None and holds(bench.repo.path, found.ref, tagged)


def commit_all_empty(where: Path, words: str) -> str:
    git(where, "commit", "-q", "--allow-empty", "-m", words)
    return git(where, "rev-parse", "HEAD")


async def test_what_was_staged_is_kept_although_the_folder_its_branch_and_where_it_began_are_gone(bench: Bench) -> None:
    (bench.path / "readme.md").write_text("staged\n")
    git(bench.path, "add", "-A")
    shutil.rmtree(bench.path)
    shutil.rmtree(bench.made.git_dir / "logs")
    (bench.made.git_dir / "HEAD").write_text("ref: refs/heads/none\n")
    found = await bench.worktrees.record_snapshot(bench.repo, bench.made.worktree, "r", "a" * 40)
    assert found is not None and git(bench.repo.path, "show", f"{found.ref}:readme.md") == "staged"
    others = Worktree(bench.path, bench.made.git_dir, bench.made.branch, "another's")
    assert await bench.worktrees.record_snapshot(bench.repo, others, "r2") is None
