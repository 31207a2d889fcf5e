"""What is staged in a worktree and lies in no file: nothing that replaces the index loses it."""

from __future__ import annotations

import shlex

from agentpane.domain.recoveries import Beside, ways_to
from agentpane.worktrees import Repository, Worktrees

from .conftest import Bench, bench_of, commit_all, git
from .kept import keep, laid_out, state


async def test_what_is_staged_and_in_no_file_is_kept_beside(bench: Bench) -> None:
    (bench.path / "readme.md").write_text("staged, then taken back\n")
    (bench.path / "new").write_text("staged, then deleted")
    git(bench.path, "add", "-A")
    (bench.path / "readme.md").write_text("# Sample\n")
    (bench.path / "new").unlink()
    kept = await keep(bench)
    assert (kept.parent, kept.files, kept.size) == (bench.base, 0, 0)
    assert kept.beside == Beside(staged=2)
    assert "staged, then deleted" in git(bench.repo.path, *shlex.split(ways_to(kept.ref, kept.beside)[0])[1:])
    assert git(bench.repo.path, "show", f"{kept.sha}^2:new") == "staged, then deleted"
    assert git(bench.repo.path, "show", f"{kept.sha}^2:readme.md") == "staged, then taken back"
    assert state(await laid_out(bench, kept)) == state(bench.path)
    git(bench.path, "reset", "-q")
    assert await bench.worktrees.recovery_snapshot(bench.repo, bench.made.worktree, "r2") is None


async def test_what_was_staged_and_written_over_is_kept_when_its_snapshot_is_taken(
    worktrees: Worktrees, repo: Repository
) -> None:
    (repo.path / "local.env").write_text("KEY=secret\r\n")
    git(repo.path, "config", "core.autocrlf", "true")
    bench = await bench_of(worktrees, repo, ("local.env",))
    (bench.path / "readme.md").write_text("staged\n")
    git(bench.path, "add", "-A")
    made = await bench.snap("run1", bench.made.copied)
    shape = ("for-each-ref", "--format=%(objectname)", "refs/agentpane/run/*/commits/*")
    assert git(repo.path, *shape) == ""  # each content that was staged lies in a file, the copied one too
    (bench.path / "readme.md").write_text("staged and written over\n")
    git(bench.path, "add", "readme.md")
    (bench.path / "readme.md").write_text("as it is reviewed\n")
    later = await bench.snap("run2", bench.made.copied)
    kept = git(repo.path, *shape)
    assert git(repo.path, "show", f"{kept}:readme.md") == "staged and written over"
    assert git(repo.path, "rev-parse", f"{kept}^", f"{later.sha}^").split() == [made.sha] * 2
    assert git(repo.path, "for-each-ref", "--format=%(refname)", "--points-at", kept) == (
        f"refs/agentpane/run/run2/commits/{kept}"
    )


async def test_what_is_staged_in_the_middle_of_a_merge_is_kept(bench: Bench) -> None:
    (bench.path / "readme.md").write_text("ours\n")
    commit_all(bench.path)
    (bench.repo.path / "readme.md").write_text("theirs\n")
    (bench.repo.path / "new").write_text("theirs alone\n")
    commit_all(bench.repo.path)
    git(bench.path, "merge", "main", check=False)
    assert len((await keep(bench, (), "r1")).sha) and git(bench.path, "ls-files", "--unmerged")
    assert len(git(bench.repo.path, "show", "-s", "--format=%P", "refs/agentpane/recovery/r1").split()) == 1
    (bench.path / "run.sh").write_text("staged")
    git(bench.path, "add", "run.sh")
    (bench.path / "run.sh").write_text("on disk")
    kept = await keep(bench, (), "r2")
    assert git(bench.repo.path, "show", f"{kept.sha}^2:run.sh") == "staged"
    assert git(bench.repo.path, "show", f"{kept.sha}^2:new") == "theirs alone"
    assert git(bench.repo.path, "show", f"{kept.sha}:run.sh") == "on disk"
