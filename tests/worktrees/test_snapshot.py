from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import NothingChanged, Repository, Worktrees, reviewed_ref
from tests.worktrees.conftest import Bench, bench_of, commit_all, git


async def tree(bench: Bench, sha: str) -> list[str]:
    return list(await bench.worktrees.list_tree(bench.repo, sha, ""))


async def test_everything_that_git_does_not_ignore_is_committed_and_pinned(bench: Bench) -> None:
    (bench.path / ".gitignore").write_text("*.log\n")
    (bench.path / "x.log").write_text("ignored")
    (bench.path / "new file").write_text("one\ntwo\n")
    (bench.path / "readme.md").unlink()
    made = await bench.snap()
    assert await tree(bench, made.sha) == [".gitignore", "new file", "run.sh", "src/app.py"]
    assert (made.stat.files, made.stat.added, made.stat.removed) == (3, 3, 1)
    assert git(bench.path, "rev-parse", "HEAD", "agentpane/one-abc123", reviewed_ref("run1")).split() == [made.sha] * 3
    assert git(bench.path, "rev-parse", "HEAD^") == bench.base == made.base
    assert git(bench.path, "status", "--porcelain") == ""
    assert git(bench.path, "log", "-1", "--format=%an %s") == "Ada Snapshot"


async def test_the_checkout_of_the_person_is_not_touched(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    before = (bench.repo.path / ".git/index").read_bytes(), (bench.repo.path / ".git/HEAD").read_bytes()
    await bench.snap()
    assert before == ((bench.repo.path / ".git/index").read_bytes(), (bench.repo.path / ".git/HEAD").read_bytes())
    assert git(bench.repo.path, "status", "--porcelain") == ""


async def test_nothing_changed_is_a_value(bench: Bench) -> None:
    (bench.path / "readme.md").touch()
    made = await bench.worktrees.snapshot(bench.repo, bench.made.worktree, bench.base, "run1", "m")
    assert made == NothingChanged()
    assert git(bench.path, "rev-parse", "HEAD") == bench.base


async def test_what_was_undone_again_is_nothing_changed(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    commit_all(bench.path)
    (bench.path / "new").unlink()
    made = await bench.worktrees.snapshot(bench.repo, bench.made.worktree, bench.base, "run1", "m")
    assert made == NothingChanged()


async def test_a_second_snapshot_stands_on_the_first(bench: Bench) -> None:
    (bench.path / "a").write_text("1\n")
    first = await bench.snap("run1")
    (bench.path / "b").write_text("2\n")
    second = await bench.snap("run2")
    assert git(bench.path, "rev-parse", f"{second.sha}^") == first.sha
    assert (second.base, second.stat.files) == (bench.base, 2)
    again = await bench.snap("run3")
    assert again.sha == second.sha and git(bench.path, "rev-parse", reviewed_ref("run3")) == second.sha


async def test_commits_of_the_agent_stay_below(bench: Bench) -> None:
    (bench.path / "a").write_text("1")
    theirs = commit_all(bench.path, "By the agent")
    (bench.path / "b").write_text("2")
    made = await bench.snap()
    assert git(bench.path, "rev-parse", f"{made.sha}^") == theirs
    assert (await bench.snap("run2")).sha == made.sha


async def test_an_agent_that_committed_everything_gets_no_empty_commit(bench: Bench) -> None:
    (bench.path / "a").write_text("1")
    theirs = commit_all(bench.path, "By the agent")
    assert (await bench.snap()).sha == theirs


@pytest.mark.parametrize("how", [["checkout", "-q", "--detach"], ["checkout", "-q", "-b", "elsewhere"]])
async def test_commits_made_off_the_branch_are_brought_onto_it(bench: Bench, how: list[str]) -> None:
    git(bench.path, *how)
    (bench.path / "a").write_text("1")
    theirs = commit_all(bench.path)
    (bench.path / "b").write_text("2")
    made = await bench.snap()
    assert git(bench.path, "rev-parse", f"{made.sha}^") == theirs
    assert git(bench.path, "branch", "--show-current") == bench.made.branch
    assert git(bench.path, "status", "--porcelain") == ""


async def test_a_base_that_was_merged_in_by_the_agent_is_not_part_of_the_change(bench: Bench) -> None:
    (bench.repo.path / "theirs").write_text("x\n")
    base = commit_all(bench.repo.path)
    git(bench.path, "merge", "-q", "--no-edit", "main")
    (bench.path / "mine").write_text("y\n")
    bench.base = base
    assert (await bench.snap()).stat.files == 1


async def test_copied_files_are_never_in_it_ignored_or_not(worktrees: Worktrees, repo: Repository) -> None:
    (repo.path / ".env").write_text("KEY=1\n")
    (repo.path / "vendor").mkdir()
    (repo.path / "vendor" / "lib").write_text("x")
    bench = await bench_of(worktrees, repo, (".env", "vendor"))
    (bench.path / "new").write_text("x")
    (bench.path / ".envrc").write_text("x")
    made = await bench.snap(excluded=bench.made.copied)
    assert await tree(bench, made.sha) == [".envrc", "new", "readme.md", "run.sh", "src/app.py"]
    assert (bench.path / ".env").read_text() == "KEY=1\n"


async def test_a_tracked_file_that_was_copied_over_keeps_what_the_base_has(
    worktrees: Worktrees, repo: Repository
) -> None:
    (repo.path / ".env").write_text("KEY=default\n")
    commit_all(repo.path)
    (repo.path / ".env").write_text("KEY=secret\n")
    bench = await bench_of(worktrees, repo, (".env",))
    (bench.path / "new").write_text("x")
    made = await bench.snap(excluded=(".env",))
    assert await worktrees.read_file(repo, made.sha, ".env") == b"KEY=default\n"
    assert (bench.path / ".env").read_text() == "KEY=secret\n"


async def test_a_secret_that_the_agent_committed_is_in_no_commit_below(worktrees: Worktrees, repo: Repository) -> None:
    (repo.path / ".env").write_text("KEY=1\n")
    bench = await bench_of(worktrees, repo, (".env",))
    (bench.path / "new").write_text("x")
    theirs = commit_all(bench.path, "By the agent, with the secret")
    made = await bench.snap(excluded=(".env",))
    assert git(bench.path, "rev-list", f"{bench.base}..{made.sha}") == made.sha
    assert await tree(bench, made.sha) == ["new", "readme.md", "run.sh", "src/app.py"]
    assert git(bench.path, "rev-parse", f"refs/agentpane/run/run1/commits/{theirs}") == theirs
    assert (bench.path / ".env").read_text() == "KEY=1\n"


async def test_every_commit_that_no_branch_holds_afterwards_is_kept(worktrees: Worktrees, repo: Repository) -> None:
    (repo.path / ".env").write_text("KEY=1\n")
    bench = await bench_of(worktrees, repo, (".env",))
    (bench.path / "new").write_text("1")
    first = commit_all(bench.path, "With the secret")
    await bench.snap(excluded=(".env",))
    (bench.path / "new").write_text("2")
    git(bench.path, "add", "-f", ".env")
    second = commit_all(bench.path, "With the secret again")
    await bench.snap(excluded=(".env",))
    git(bench.path, "checkout", "-q", "--detach", bench.base)
    (bench.path / "beside").write_text("3")
    beside = commit_all(bench.path, "On no branch")
    git(bench.path, "rm", "-q", "beside")
    last = commit_all(bench.path, "Removed again")
    (bench.path / "new").write_text("4")
    made = await bench.snap(excluded=(".env",))
    await worktrees.remove_worktree(repo, bench.made.worktree, made.sha)
    git(repo.path, "reflog", "expire", "--expire=now", "--all")
    git(repo.path, "gc", "-q", "--prune=now")
    kept = git(repo.path, "for-each-ref", "--format=%(objectname)", "refs/agentpane/run/run1/commits").split()
    assert sorted(kept) == sorted([first, second, last])
    assert git(repo.path, "show", f"{beside}:beside") == "3"


async def test_a_merge_of_somebodys_own_is_finished_first(bench: Bench) -> None:
    git(bench.path, "checkout", "-q", "-b", "other")
    (bench.path / "readme.md").write_text("other\n")
    other = commit_all(bench.path)
    git(bench.path, "checkout", "-q", bench.made.branch)
    (bench.path / "readme.md").write_text("mine\n")
    mine = commit_all(bench.path)
    git(bench.path, "merge", "other", check=False)
    for paths in (["readme.md"], []):
        with pytest.raises(AgentPaneError) as caught:
            await bench.snap()
        assert (caught.value.code, caught.value.details["paths"]) == (ErrorCode.MERGE_CONFLICT, paths)
        assert git(bench.path, "rev-parse", "HEAD") == mine
        (bench.path / "readme.md").write_text("both\n")
        git(bench.path, "add", "readme.md")
    git(bench.path, "commit", "-q", "--no-edit")
    made = await bench.snap()
    assert git(bench.repo.path, "show", f"{made.sha}:readme.md") == "both"
    assert git(bench.repo.path, "show", "-s", "--format=%P", made.sha).split() == [mine, other]
    (bench.made.git_dir / "MERGE_HEAD").write_text(f"{other}\n")  # of one that is over
    (bench.path / "readme.md").write_text("more\n")
    await bench.snap()


@pytest.mark.parametrize("with_commit", [True, False])
async def test_a_nested_repository_stops_it_by_name(bench: Bench, with_commit: bool) -> None:
    nested = bench.path / "lib" / "inner"
    nested.mkdir(parents=True)
    git(nested, "init", "-q")
    (nested / "work").write_text("precious")
    if with_commit:
        commit_all(nested)
    with pytest.raises(AgentPaneError) as caught:
        await bench.snap()
    assert caught.value.code is ErrorCode.WORKTREE_NESTED_REPO
    assert caught.value.details["paths"] == ["lib/inner"]
    assert git(bench.path, "rev-parse", "HEAD") == bench.base


async def test_files_over_50_mb_are_refused_by_name_without_being_read(bench: Bench) -> None:
    (bench.path / "huge").touch()
    os.truncate(bench.path / "huge", 3 * 1024**3)
    with pytest.raises(AgentPaneError) as caught:
        await bench.snap()
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.details["paths"] == ["huge"]


async def test_a_submodule_is_left_as_it_is(worktrees: Worktrees, repo: Repository, tmp_path: Path) -> None:
    other = await worktrees.make_repository(tmp_path / "other", {"f": b"1"}, "Other")
    allow = ("-c", "protocol.file.allow=always")
    git(repo.path, *allow, "submodule", "add", "-q", str(other.path), "sub")
    commit_all(repo.path)
    bench = await bench_of(worktrees, repo)
    git(bench.path, *allow, "submodule", "update", "-q", "--init")
    (bench.path / "sub" / "f").write_text("2")
    commit_all(bench.path / "sub")
    (bench.path / "new").write_text("x")
    changes = await worktrees.diff_files(repo, bench.base, (await bench.snap()).sha)
    assert [change.path for change in changes] == ["new"]


async def test_names_of_any_bytes_are_kept(bench: Bench) -> None:
    names = [
        b"caf\xe9",
        b"new\nline",
        b"-rf",
        b" lead",
        b"tab\there",
        b'quo"te',
        b":(glob)*",
        b"back\\slash",
        "ü".encode(),
    ]
    for name in names:
        (bench.path / os.fsdecode(name)).write_bytes(b"x\n")
    made = await bench.snap()
    changes = await bench.worktrees.diff_files(bench.repo, bench.base, made.sha)
    assert sorted(os.fsencode(change.path) for change in changes) == sorted(names)
    assert {(change.status, change.added, change.removed) for change in changes} == {("A", 1, 0)}


async def test_line_endings_follow_the_persons_configuration(bench: Bench, masked_host: Path) -> None:
    git(bench.repo.path, "config", "--global", "core.autocrlf", "true")
    git(bench.repo.path, "config", "--global", "core.safecrlf", "true")
    (bench.path / "dos.txt").write_bytes(b"one\r\ntwo\r\nmixed\n")
    made = await bench.snap()
    assert await bench.worktrees.read_file(bench.repo, made.sha, "dos.txt") == b"one\ntwo\nmixed\n"


async def test_files_stored_with_carriage_returns_are_not_rewritten(worktrees: Worktrees, repo: Repository) -> None:
    (repo.path / "dos.txt").write_bytes(b"one\r\n")
    commit_all(repo.path)
    (repo.path / ".gitattributes").write_text("* text=auto\n")
    commit_all(repo.path)
    bench = await bench_of(worktrees, repo)
    (bench.path / "new").write_text("x\n")
    changes = await worktrees.diff_files(repo, bench.base, (await bench.snap()).sha)
    assert [change.path for change in changes] == ["new"]


async def test_a_file_in_the_place_of_a_folder_and_the_reverse(bench: Bench) -> None:
    (bench.path / "src" / "app.py").unlink()
    (bench.path / "src").rmdir()
    (bench.path / "src").write_text("now a file")
    (bench.path / "readme.md").unlink()
    (bench.path / "readme.md").mkdir()
    (bench.path / "readme.md" / "inner").write_text("x")
    assert await tree(bench, (await bench.snap()).sha) == ["readme.md/inner", "run.sh", "src"]


async def test_marks_that_hide_a_file_from_git_hide_nothing(bench: Bench) -> None:
    git(bench.path, "update-index", "--assume-unchanged", "readme.md")
    git(bench.path, "update-index", "--skip-worktree", "run.sh")
    (bench.path / "readme.md").write_text("changed")
    (bench.path / "run.sh").write_text("changed")
    assert (await bench.snap()).stat.files == 2


@pytest.mark.parametrize("broken", [b"", b"garbage", None])
async def test_an_index_that_is_broken_or_gone_does_not_matter(bench: Bench, broken: bytes | None) -> None:
    index = bench.made.git_dir / "index"
    index.unlink()
    if broken is not None:
        index.write_bytes(broken)
    (bench.path / "new").write_text("x")
    assert (await bench.snap()).stat.files == 1
    assert git(bench.path, "status", "--porcelain") == ""


async def test_a_branch_that_moves_meanwhile_is_not_overwritten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentpane.worktrees.snapshots import snapshot

    (bench.path / "new").write_text("x")
    real = snapshot._commit

    async def commit_and_interfere(*arguments: object) -> str:
        made = await real(*arguments)  # type: ignore[arg-type]
        git(bench.repo.path, "branch", "-f", "elsewhere", "main")
        other = git(bench.repo.path, "commit-tree", "main^{tree}", "-p", "main", "-m", "other")
        git(bench.repo.path, "update-ref", f"refs/heads/{bench.made.branch}", other)
        return made

    monkeypatch.setattr(snapshot, "_commit", commit_and_interfere)
    with pytest.raises(AgentPaneError) as caught:
        await bench.snap()
    assert caught.value.code is ErrorCode.RESOURCE_LOCKED
    assert git(bench.repo.path, "log", "-1", "--format=%s", bench.made.branch) == "other"


async def test_a_worktree_that_is_gone_or_became_a_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    os.rename(bench.path, tmp_path / "moved")
    for _ in range(2):
        with pytest.raises(AgentPaneError) as caught:
            await bench.snap()
        assert caught.value.code is ErrorCode.WORKTREE_NOT_FOUND
        if not bench.path.is_symlink():
            bench.path.symlink_to(tmp_path / "moved")


async def test_a_file_rewritten_in_the_very_second_it_was_committed_in_is_seen(bench: Bench) -> None:
    git(bench.repo.path, "config", "core.trustCtime", "false")  # so that a test can say when a file was written
    file, index, second = bench.path / "a", bench.made.worktree.git_dir / "index", (1_700_000_000, 1_700_000_000)
    file.write_text("one\n")
    os.utime(file, second)
    first = await bench.snap("run1")
    os.utime(index, second)
    file.write_text("two\n")  # as long as before
    os.utime(file, second)
    made = await bench.snap("run2")
    assert made.sha != first.sha
    assert git(bench.path, "show", f"{made.sha}:a") == "two"
