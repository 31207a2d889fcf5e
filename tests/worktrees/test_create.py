from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Repository, Worktree, WorktreePlan, Worktrees
from agentpane.worktrees.git.runner import GitError, GitRunner
from agentpane.worktrees.trees import create
from agentpane.worktrees.trees.ageing import age_files
from agentpane.worktrees.trees.copying import copy_listed
from tests.worktrees.conftest import Bench, bench_of, commit_all, git


def plan_in(repo: Repository, name: str, base: str, *copy_files: str) -> WorktreePlan:
    return WorktreePlan(repo.path / ".worktrees" / name, f"agentpane/{name}-abc123", base, copy_files)


async def test_a_worktree_holds_the_base_on_a_branch_of_its_own(bench: Bench) -> None:
    assert git(bench.path, "branch", "--show-current") == "agentpane/one-abc123"
    assert git(bench.path, "rev-parse", "HEAD") == bench.base
    assert git(bench.path, "status", "--porcelain") == ""
    assert (bench.path / "src/app.py").read_bytes() == (bench.repo.path / "src/app.py").read_bytes()
    assert stat.S_IMODE((bench.path / "run.sh").stat().st_mode) & 0o111
    assert bench.made.git_dir.parent == bench.repo.common_dir / "worktrees"


async def test_the_repository_stays_clean_through_one_line_in_its_exclude_file(
    worktrees: Worktrees, bench: Bench
) -> None:
    exclude = bench.repo.common_dir / "info" / "exclude"
    before = exclude.read_text()
    await worktrees.create_worktree(bench.repo, plan_in(bench.repo, "two", bench.base))
    assert git(bench.repo.path, "status", "--porcelain") == ""
    assert exclude.read_text() == before
    assert before.count("/.worktrees/\n") == 1


async def test_nothing_is_excluded_for_a_folder_that_is_ignored_or_outside(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    (repo.path / ".gitignore").write_text(".worktrees\n")
    base = commit_all(repo.path)
    await worktrees.create_worktree(repo, plan_in(repo, "one", base))
    await worktrees.create_worktree(repo, WorktreePlan(tmp_path / "far" / "two", "agentpane/two-abc123", base))
    assert not (repo.common_dir / "info" / "exclude").exists()


async def test_a_folder_with_tracked_files_is_not_excluded_as_a_whole(worktrees: Worktrees, repo: Repository) -> None:
    base = git(repo.path, "rev-parse", "HEAD")
    await worktrees.create_worktree(repo, WorktreePlan(repo.path / "src" / "w[1]", "agentpane/x-abc123", base))
    (repo.path / "src" / "w1").write_text("visible")
    assert git(repo.path, "status", "--porcelain") == "?? src/w1"


async def test_a_taken_branch_gets_a_number(worktrees: Worktrees, bench: Bench) -> None:
    plan = replace(plan_in(bench.repo, "two", bench.base), branch="agentpane/one-abc123")
    assert (await worktrees.create_worktree(bench.repo, plan)).branch == "agentpane/one-abc123-2"


async def test_beside_a_branch_called_agentpane_a_dash_is_used(worktrees: Worktrees, repo: Repository) -> None:
    git(repo.path, "branch", "agentpane")
    base = git(repo.path, "rev-parse", "HEAD")
    made = await worktrees.create_worktree(repo, plan_in(repo, "one", base))
    assert made.branch == "agentpane-one-abc123"


async def test_many_worktrees_can_be_made_at_once(worktrees: Worktrees, repo: Repository) -> None:
    base = git(repo.path, "rev-parse", "HEAD")
    plans = [replace(plan_in(repo, f"w{n}", base), branch="agentpane/same-abc123") for n in range(8)]
    made = await asyncio.gather(*(worktrees.create_worktree(repo, plan) for plan in plans))
    assert len({one.branch for one in made}) == 8
    assert all((one.path / "readme.md").is_file() for one in made)


async def test_a_fresh_worktree_is_trusted_by_its_index_and_an_edit_is_still_seen(bench: Bench) -> None:
    file = bench.path / "readme.md"
    before = file.stat()
    assert git(bench.path, "fsck") == ""
    file.write_bytes(b"# Sampla\n")  # of the same size
    assert file.stat().st_size == before.st_size
    assert git(bench.path, "status", "--porcelain") == " M readme.md"


async def test_what_somebody_writes_while_the_files_are_laid_out_is_seen_and_kept(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_somebody_was_quicker(root: Path, index: Path, hash_size: int) -> bool:
        laid_out = (root / "readme.md").stat().st_mtime_ns
        (root / "readme.md").write_bytes(b"# Sampla\n")  # of the same size, and in the same second
        os.utime(root / "readme.md", ns=(laid_out, laid_out ^ 1))
        return age_files(root, index, hash_size)

    monkeypatch.setattr(create, "age_files", and_somebody_was_quicker)
    bench = await bench_of(worktrees, repo)
    assert git(bench.path, "status", "--porcelain") == " M readme.md"
    kept = await worktrees.recovery_snapshot(repo, bench.made.worktree, "r1", began=bench.base)
    assert kept is not None and git(repo.path, "show", f"{kept.sha}:readme.md") == "# Sampla"


async def test_a_sparse_checkout_of_the_person_does_not_thin_out_ours(worktrees: Worktrees, repo: Repository) -> None:
    git(repo.path, "sparse-checkout", "set", "--no-cone", "/readme.md")
    assert not (repo.path / "src").exists()
    bench = await bench_of(worktrees, await worktrees.open_repository(repo.path))
    assert (bench.path / "src/app.py").is_file()
    (bench.path / "run.sh").unlink()
    changed = await worktrees.diff_files(repo, bench.base, (await bench.snap()).sha)
    assert [(change.status, change.path) for change in changed] == [("D", "run.sh")]


async def test_env_and_ignored_files_are_copied_with_their_modes(worktrees: Worktrees, repo: Repository) -> None:
    (repo.path / ".env").write_text("KEY=1\n")
    (repo.path / ".env").chmod(0o600)
    (repo.path / "cache" / "deep").mkdir(parents=True)
    (repo.path / "cache" / "deep" / "tool").write_text("#!/bin/sh\n")
    (repo.path / "cache" / "deep" / "tool").chmod(0o755)
    (repo.path / "cache" / "link").symlink_to("deep")
    bench = await bench_of(worktrees, repo, (".env", "cache", "not-there"))
    assert bench.made.copied == (".env", "cache")
    assert (bench.path / ".env").read_text() == "KEY=1\n"
    assert stat.S_IMODE((bench.path / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((bench.path / "cache/deep/tool").stat().st_mode) == 0o755
    assert os.readlink(bench.path / "cache/link") == "deep"


async def test_a_tracked_file_that_is_listed_is_replaced_and_what_somebody_put_there_meanwhile_stays(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo.path / "readme.md").write_text("mine, not committed\n")
    (repo.path / ".env").write_text("KEY=1\n")
    (repo.path / "cache").mkdir()
    for name in ("one", "two"):
        (repo.path / "cache" / name).write_text("copied\n")
    laid_out = create.exclude.keep_out

    async def and_somebody_is_quick(git: GitRunner, repo: Repository, path: Path) -> None:
        await laid_out(git, repo, path)
        (path / ".env").write_text("KEY=of somebody\n")
        (path / "cache").mkdir()
        (path / "cache" / "two").symlink_to("one")

    monkeypatch.setattr(create.exclude, "keep_out", and_somebody_is_quick)
    bench = await bench_of(worktrees, repo, (".env", "cache", "readme.md"))
    assert bench.made.copied == (".env", "cache", "readme.md")
    assert (bench.path / ".env").read_text() == "KEY=of somebody\n"
    assert (os.readlink(bench.path / "cache/two"), (bench.path / "cache/one").read_text()) == ("one", "copied\n")
    assert (bench.path / "readme.md").read_text() == "mine, not committed\n"
    assert sorted(os.listdir(bench.path / "cache")) == ["one", "two"]


async def test_another_name_than_the_wanted_one_is_told_before_git_makes_the_branch(
    worktrees: Worktrees, repo: Repository
) -> None:
    plan = plan_in(repo, "one", git(repo.path, "rev-parse", "HEAD"))
    git(repo.path, "branch", plan.branch)
    told: list[tuple[str, str]] = []

    async def named(branch: str) -> None:
        told.append((branch, git(repo.path, "branch", "--list", branch)))

    made = await worktrees.create_worktree(repo, plan, named)
    assert (made.branch, told) == (f"{plan.branch}-2", [(f"{plan.branch}-2", "")])


# What git writes, in this order, while it makes a worktree; a file that it is killed over is there and empty.
WRITES = ("record/", "record/locked", "folder/", "record/gitdir", "folder/.git", "record/HEAD", "record/commondir")
CUTS = [
    (cut, half) for cut in range(1, len(WRITES) + 1) for half in (False, True) if WRITES[cut - 1][-1] != "/" or not half
]


def begun(repo: Repository, path: Path, cut: int = 4, half: bool = False, name: str = "") -> Path:
    """What a git leaves that is killed after so many of its writes, in the midst of the last; returns its record."""
    record = repo.common_dir / "worktrees" / (name or path.name)
    texts = {"locked": "initializing\n", "gitdir": f"{path}/.git\n", ".git": f"gitdir: {record}\n"}
    texts |= {"HEAD": f"{'0' * 40}\n", "commondir": "../..\n"}
    for number, each in enumerate(WRITES[:cut], 1):
        where, _, file = each.partition("/")
        folder = record if where == "record" else path
        folder.mkdir(parents=True, exist_ok=True)
        if file:
            (folder / file).write_text("" if half and number == cut else texts[file])
    return record


def records(repo: Repository) -> list[str]:
    folder = repo.common_dir / "worktrees"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.parametrize(("cut", "half"), CUTS)
async def test_what_a_git_leaves_that_is_killed_while_it_makes_a_worktree_is_taken_back(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch, cut: int, half: bool
) -> None:
    plan = plan_in(repo, "one", git(repo.path, "rev-parse", "HEAD"))

    async def killed(*words: object) -> None:
        begun(repo, plan.path, cut, half)
        raise GitError("git was killed", ("git", "worktree", "add"), -9, b"")

    with monkeypatch.context() as patched, pytest.raises(AgentPaneError):
        patched.setattr(create, "_add", killed)
        await worktrees.create_worktree(repo, plan)
    assert records(repo) == [] and not plan.path.exists()
    made = await worktrees.create_worktree(repo, plan)
    assert (made.path, made.git_dir.name) == (plan.path, "one")


@pytest.mark.parametrize(("cut", "half"), CUTS)
async def test_what_was_begun_when_the_engine_and_its_git_were_killed_can_be_taken_on_and_away(
    worktrees: Worktrees, repo: Repository, cut: int, half: bool
) -> None:
    plan = replace(plan_in(repo, "one", git(repo.path, "rev-parse", "HEAD")), mark="ours")
    record = begun(repo, plan.path, cut, half)
    left = await worktrees.inspection.left_record(repo, plan.path, "ours")
    assert left is not None and not left.marked and left.worktree.git_dir == record
    await worktrees.inspection.take_on(left)
    assert await worktrees.why_not_ours(repo, left.worktree) is None
    await worktrees.remove_worktree(repo, left.worktree)
    assert records(repo) == [] and not plan.path.exists()
    assert (await worktrees.create_worktree(repo, plan)).path == plan.path


@pytest.mark.parametrize("cut", [1, 3, 4])
async def test_what_was_begun_is_no_ones_but_ours_where_its_place_and_its_files_say_so(
    worktrees: Worktrees, repo: Repository, tmp_path: Path, cut: int
) -> None:
    path = repo.path / ".worktrees" / "two"
    git(repo.path, "worktree", "add", "--quiet", "--detach", str(tmp_path / "two"))  # the person's, of the same name
    assert await worktrees.inspection.left_record(repo, path, "ours") is None
    begun(repo, path, cut, name="two1")
    path.mkdir(parents=True, exist_ok=True)
    (path / "mine").touch()
    assert await worktrees.inspection.left_record(repo, path, "ours") is None
    (path / "mine").unlink()
    left = await worktrees.inspection.left_record(repo, path, "ours")
    assert left is not None and left.worktree.git_dir.name == "two1"
    await create.take_back(worktrees._git, repo, path, None, "", ())
    assert records(repo) == ["two"] and not path.exists()
    assert git(tmp_path / "two", "status", "--porcelain") == ""


async def test_what_was_begun_elsewhere_under_the_same_name_is_left_alone(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    begun(repo, tmp_path / "one")
    path = repo.path / ".worktrees" / "one"
    assert await worktrees.inspection.left_record(repo, path, "ours") is None
    await create.take_back(worktrees._git, repo, path, None, "", ())
    assert records(repo) == ["one"]


@pytest.mark.parametrize("listed", ["/etc/hostname", "../outside", "way-out", ".git/config", "folder/../.."])
async def test_a_file_outside_is_never_copied_and_nothing_is_left_behind(
    worktrees: Worktrees, repo: Repository, listed: str
) -> None:
    (repo.path.parent / "outside").write_text("secret")
    (repo.path / "way-out").symlink_to("../outside")
    base = git(repo.path, "rev-parse", "HEAD")
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.create_worktree(repo, plan_in(repo, "one", base, listed))
    assert caught.value.code is ErrorCode.WORKTREE_ENV_COPY_FAILED
    assert not (repo.path / ".worktrees").exists()
    assert git(repo.path, "branch", "--list", "agentpane/*") == ""
    assert len(await worktrees.list_worktrees(repo)) == 1


@pytest.mark.parametrize("how", ["untracked", "edited", "staged", "committed", "copied over", "before the index"])
@pytest.mark.parametrize("again", [False, True])
async def test_what_somebody_put_into_a_worktree_whose_making_fails_stays_with_its_branch_and_its_record(
    worktrees: Worktrees, bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str, again: bool
) -> None:
    repo, plan = bench.repo, replace(plan_in(bench.repo, "two", bench.base, ".env", "readme.md"), mark="ours")
    (repo.path / ".env").write_text("KEY=1\n")
    (repo.path / "readme.md").write_text("mine, not committed\n")
    git(repo.path, "branch", "agentpane/again-abc123")

    async def fails(git_: GitRunner, repo: Repository, worktree: Worktree, listed: tuple[str, ...]) -> tuple[str, ...]:
        copy_listed(repo.path, plan.path, listed)
        if how == "copied over":
            (plan.path / ".env").write_text("KEY=2\n")
        elif how == "committed":
            git(plan.path, "checkout", "-q", "--detach")
            git(plan.path, "commit", "-q", "--allow-empty", "-m", "on no branch")
        elif how == "before the index":
            (worktree.git_dir / "index").unlink()
            (plan.path / "mine").touch()
        elif how:
            (plan.path / ("run.sh" if how == "edited" else "mine")).write_text("precious\n")
        if how == "staged":
            git(plan.path, "add", "mine")
            (plan.path / "mine").unlink()
        raise AgentPaneError(ErrorCode.WORKTREE_ENV_COPY_FAILED, "as if the disk were full", "Free some.")

    async def make() -> AgentPaneError:
        with pytest.raises(AgentPaneError) as caught:
            if again:
                await worktrees.attach_worktree(repo, plan.path, "agentpane/again-abc123", plan.copy_files, plan.mark)
            else:
                await worktrees.create_worktree(repo, plan)
        return caught.value

    monkeypatch.setattr(create, "copy_into", fails)
    error, branch = await make(), "agentpane/again-abc123" if again else plan.branch
    assert error.details["left"] is True and error.hint == "Free some."
    left = await worktrees.inspection.left_record(repo, plan.path, plan.mark)
    assert left is not None and left.marked and plan.path.is_dir()
    assert await worktrees.branch_tip(repo, branch) == bench.base
    git(repo.path, "worktree", "remove", "--force", str(plan.path))
    git(repo.path, "branch", "-D", plan.branch) if not again else None
    how = ""
    error = await make()
    assert error.details["left"] is False and error.hint == "Nothing was left behind. Free some."
    assert not plan.path.exists() and records(repo) == ["one"]


@pytest.mark.parametrize(("text", "left"), [("# Sam", False), ("", False), ("# Mine", True)])
async def test_a_file_that_git_was_cut_off_in_the_midst_of_is_no_ones_work(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch, text: str, left: bool
) -> None:
    plan = plan_in(repo, "one", git(repo.path, "rev-parse", "HEAD"))

    async def fails(git_: GitRunner, repo: Repository, worktree: Worktree, commit: str, gently: bool) -> None:
        (worktree.path / "readme.md").write_text(text)
        raise GitError("no room", ("git", "reset"), 128, b"error: unable to write file readme.md")

    monkeypatch.setattr(create, "set_to", fails)
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.create_worktree(repo, plan)
    assert caught.value.details["left"] is left and caught.value.hint.startswith("Nothing was left behind.") is not left
    assert plan.path.exists() is left and records(repo) == (["one"] if left else [])
    assert (await worktrees.branch_tip(repo, plan.branch) is None) is not left


async def test_a_link_in_the_base_cannot_lead_a_copy_out_of_the_worktree(
    worktrees: Worktrees, repo: Repository
) -> None:
    outside = repo.path.parent / "outside"
    outside.mkdir()
    (repo.path / "config").symlink_to(outside)
    base = commit_all(repo.path)
    (repo.path / "config").unlink()
    (repo.path / "config").mkdir()
    (repo.path / "config" / "secret").write_text("x")
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.create_worktree(repo, plan_in(repo, "one", base, "config/secret"))
    assert caught.value.code is ErrorCode.WORKTREE_ENV_COPY_FAILED
    assert os.listdir(outside) == []


async def test_a_base_that_does_not_exist_leaves_nothing_behind(worktrees: Worktrees, repo: Repository) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.create_worktree(repo, plan_in(repo, "one", "1" * 40))
    assert caught.value.code is ErrorCode.WORKTREE_CREATION_FAILED
    assert not (repo.path / ".worktrees").exists()
    assert git(repo.path, "branch", "--list", "agentpane/*") == ""


async def test_a_folder_that_is_in_the_way_is_kept(worktrees: Worktrees, bench: Bench) -> None:
    (bench.path / "note").write_text("mine")
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.create_worktree(bench.repo, WorktreePlan(bench.path, "agentpane/b-abc123", bench.base))
    assert caught.value.code is ErrorCode.WORKTREE_CREATION_FAILED
    assert (bench.path / "note").read_text() == "mine"
    assert (await worktrees.branch_tip(bench.repo, "agentpane/b-abc123")) is None


async def test_a_branch_that_exists_gets_a_worktree_again(worktrees: Worktrees, bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    snapshot = await bench.snap()
    await worktrees.remove_worktree(bench.repo, bench.made.worktree)
    again = await worktrees.attach_worktree(bench.repo, bench.path, bench.made.branch)
    assert git(again.path, "rev-parse", "HEAD") == snapshot.sha
    assert (again.path / "new").read_text() == "x" and again.branch == bench.made.branch


async def test_a_worktree_whose_folder_was_deleted_can_be_attached_again(worktrees: Worktrees, bench: Bench) -> None:
    os.rename(bench.path, bench.path.with_name("moved-away"))
    listed = await worktrees.list_worktrees(bench.repo)
    assert [one.prunable for one in listed] == [False, True]
    again = await worktrees.attach_worktree(bench.repo, bench.path, bench.made.branch, (), bench.made.mark)
    assert (again.path / "readme.md").is_file()


async def test_a_record_outlives_its_folder_where_nothing_may_be_written_in_its_place(
    worktrees: Worktrees, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.rename(bench.path, bench.path.with_name("away"))
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != bench.path.parent and may(path, mode))
    with pytest.raises(AgentPaneError, match="Nothing may be written in"):
        await worktrees.attach_worktree(bench.repo, bench.path, bench.made.branch, (), bench.made.mark)
    os.rename(bench.path.with_name("away"), bench.path)
    assert git(bench.path, "status", "--porcelain") == ""


async def test_attaching_a_branch_that_is_gone_touches_nothing(worktrees: Worktrees, repo: Repository) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.attach_worktree(repo, repo.path / ".worktrees" / "one", "agentpane/gone-abc123")
    assert caught.value.code is ErrorCode.WORKTREE_CREATION_FAILED
    assert not (repo.path / ".worktrees").exists()


async def test_a_creation_that_is_cancelled_leaves_nothing_behind(worktrees: Worktrees, repo: Repository) -> None:
    base = git(repo.path, "rev-parse", "HEAD")
    job = asyncio.ensure_future(worktrees.create_worktree(repo, plan_in(repo, "one", base)))
    async with asyncio.timeout(20):
        while not (repo.path / ".worktrees" / "one").exists():  # noqa: ASYNC110
            await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not (repo.path / ".worktrees").exists()
    assert git(repo.path, "branch", "--list", "agentpane/*") == ""
    assert len(await worktrees.list_worktrees(repo)) == 1
