from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from agentpane.worktrees import Merged, MergeIntent, MergePlan, RecoveryOutcome, Repository, Worktrees
from agentpane.worktrees.git.runner import GitError, GitRunner
from agentpane.worktrees.places import objects_of
from tests.worktrees.conftest import Bench, Journal, bench_of, commit_all, git

MANY = 1500


@pytest.fixture
async def wide(worktrees: Worktrees, tmp_path: Path) -> Repository:
    """A repository in which a merge takes long enough to be killed on the way."""
    files = {f"d{number % 30}/f{number}": b"old %d\n" % number * 20 for number in range(MANY)}
    made = await worktrees.make_repository(tmp_path / "wide", files | {"mine": b"1\n"}, "First")
    base = git(made.path, "rev-parse", "HEAD")
    git(made.path, "checkout", "-q", "-b", "side")
    for number in range(MANY):
        file = made.path / f"d{number % 30}" / f"f{number}"
        if number % 3:
            file.write_bytes(b"new %d\n" % number * 400)
        else:
            file.rename(made.path / f"d{number % 30}" / f"g{number}")
    commit_all(made.path)
    git(made.path, "checkout", "-q", "main")
    assert git(made.path, "rev-parse", "HEAD") == base
    (made.path / "mine").write_text("edited, not committed\n")
    return made


def intent_of(repo: Repository, old: str, new: str) -> MergeIntent:
    return MergeIntent("run1", "main", old, new, new, repo.path, repo.git_dir)


def killed_after(repo: Repository, new: str, written: int) -> bool:
    """Run the fast-forward as the engine would, and kill it at that many new files; whether it was hit."""
    merge = ["git", "merge", "--ff-only", "--no-overwrite-ignore", "-q", new]
    process = subprocess.Popen(merge, cwd=repo.path, start_new_session=True)
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        made = sum((repo.path / f"d{number % 30}" / f"g{number}").exists() for number in range(0, MANY, 300))
        if (repo.git_dir / "index.lock").exists() and made >= written:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("written", [0, 1, 5])
async def test_a_merge_whose_git_was_killed_is_finished_with_the_persons_edits_kept(
    worktrees: Worktrees, wide: Repository, written: int
) -> None:
    old, new = git(wide.path, "rev-parse", "main", "side").split()
    assert killed_after(wide, new, written)
    assert (wide.git_dir / "index.lock").exists() and git(wide.path, "rev-parse", "main") == old
    recovery = await worktrees.recover_merge(wide, intent_of(wide, old, new))
    assert (recovery.outcome, recovery.commit) == (RecoveryOutcome.COMPLETED, new)
    assert git(wide.path, "status", "--porcelain") == " M mine"
    assert git(wide.path, "rev-parse", "HEAD") == new
    assert (wide.path / "mine").read_text() == "edited, not committed\n"
    again = await worktrees.recover_merge(wide, intent_of(wide, old, new))
    assert again.outcome is RecoveryOutcome.COMPLETED


async def test_when_only_git_is_killed_the_engine_finishes_the_merge_itself(
    worktrees: Worktrees, wide: Repository
) -> None:
    git(wide.path, "update-ref", "refs/agentpane/run/run1/reviewed", "side")
    plan = MergePlan("main", git(wide.path, "rev-parse", "side"), "run1", "merge", "m")
    job = asyncio.ensure_future(worktrees.merge(wide, plan, Journal()))
    me = psutil.Process()
    until = time.monotonic() + 20
    killed = False
    while not killed and time.monotonic() < until:
        await asyncio.sleep(0)
        if (wide.git_dir / "index.lock").exists():
            for child in me.children():
                with suppress(psutil.Error):  # it has ended, and is not waited for yet
                    if "--ff-only" in child.cmdline():
                        child.kill()
                        killed = True
    outcome = await job
    assert killed and isinstance(outcome, Merged)
    assert git(wide.path, "rev-parse", "main") == outcome.commit
    assert git(wide.path, "status", "--porcelain") == " M mine"


@pytest.fixture
async def merged(bench: Bench) -> tuple[Bench, MergeIntent]:
    """An intent to fast-forward the checkout by a change, an addition and a removal; nothing is done yet."""
    (bench.path / "src/app.py").write_text("all new\n" * 10)
    (bench.path / "new").write_text("added\n")
    (bench.path / "run.sh").unlink()
    new = (await bench.snap()).sha
    return bench, intent_of(bench.repo, bench.base, new)


def untouched(bench: Bench) -> None:
    assert git(bench.repo.path, "rev-parse", "main") == bench.base


async def test_a_merge_that_had_not_begun_is_rolled_back(merged: tuple[Bench, MergeIntent]) -> None:
    bench, intent = merged
    assert (await bench.worktrees.recover_merge(bench.repo, intent)).outcome is RecoveryOutcome.ROLLED_BACK
    untouched(bench)
    assert git(bench.repo.path, "status", "--porcelain") == ""


async def test_a_merge_that_was_done_is_completed(merged: tuple[Bench, MergeIntent]) -> None:
    bench, intent = merged
    git(bench.repo.path, "merge", "-q", "--ff-only", intent.new)
    (bench.repo.path / "later").write_text("x")
    commit_all(bench.repo.path)
    recovery = await bench.worktrees.recover_merge(bench.repo, intent)
    assert (recovery.outcome, recovery.commit) == (RecoveryOutcome.COMPLETED, intent.new)


def halves(root: Path) -> Iterator[None]:
    """States in which git may leave a checkout when it is killed, one after the other."""
    (root / ".git/index.lock").touch()
    yield
    (root / "run.sh").unlink()
    yield
    (root / "src/app.py").unlink()
    yield
    (root / "src/app.py").write_text("all new\nall n")
    yield
    (root / "new").touch()
    yield


@pytest.mark.parametrize("steps", range(1, 6))
async def test_a_half_changed_checkout_is_finished(merged: tuple[Bench, MergeIntent], steps: int) -> None:
    bench, intent = merged
    for _, _step in zip(range(steps), halves(bench.repo.path), strict=False):
        pass
    recovery = await bench.worktrees.recover_merge(bench.repo, intent)
    assert recovery.outcome is RecoveryOutcome.COMPLETED
    assert git(bench.repo.path, "rev-parse", "main") == intent.new
    assert git(bench.repo.path, "status", "--porcelain") == ""


async def test_a_merge_that_is_not_wanted_any_more_is_taken_back(merged: tuple[Bench, MergeIntent]) -> None:
    bench, intent = merged
    *_, _ = halves(bench.repo.path)
    recovery = await bench.worktrees.recover_merge(bench.repo, intent, wanted=False)
    assert recovery.outcome is RecoveryOutcome.ROLLED_BACK
    untouched(bench)
    assert git(bench.repo.path, "status", "--porcelain") == "" and not (bench.repo.path / "new").exists()
    # Cut off once more, between the index and the files.
    git(bench.repo.path, "read-tree", "-i", "-m", intent.old, intent.new)
    for wanted, outcome, tip in [(False, "rolled_back", intent.old), (True, "completed", intent.new)]:
        recovery = await bench.worktrees.recover_merge(bench.repo, intent, wanted=wanted)
        assert (recovery.outcome, git(bench.repo.path, "rev-parse", "main")) == (outcome, tip)
        assert git(bench.repo.path, "status", "--porcelain") == ""
        if not wanted:
            git(bench.repo.path, "read-tree", "-i", "-m", intent.old, intent.new)


async def test_what_the_person_deleted_or_shortened_is_no_merge_that_was_cut_short(
    merged: tuple[Bench, MergeIntent],
) -> None:
    bench, intent = merged
    (bench.repo.path / "run.sh").unlink()
    (bench.repo.path / "src/app.py").write_text("all new\nall")
    recovery = await bench.worktrees.recover_merge(bench.repo, intent)
    assert (recovery.outcome, set(recovery.paths)) == (RecoveryOutcome.NEEDS_PERSON, {"run.sh", "src/app.py"})
    looked = await bench.worktrees.recover_merge(bench.repo, intent, looked=True)
    assert looked.outcome is RecoveryOutcome.ROLLED_BACK
    untouched(bench)
    assert (bench.repo.path / "src/app.py").read_text() == "all new\nall"
    assert not (bench.repo.path / "run.sh").exists() and not (bench.repo.path / "new").exists()


async def test_a_reviewed_commit_that_came_in_by_another_merge_settles_the_first_one(
    merged: tuple[Bench, MergeIntent],
) -> None:
    bench, intent = merged
    new = git(bench.repo.path, "commit-tree", f"{intent.new}^{{tree}}", "-p", intent.old, "-p", intent.new, "-m", "1st")
    git(bench.repo.path, "merge", "-q", "--no-ff", "-m", "2nd", intent.reviewed)
    recovery = await bench.worktrees.recover_merge(bench.repo, replace(intent, new=new))
    assert recovery.outcome is RecoveryOutcome.ROLLED_BACK


async def test_what_was_committed_since_is_not_half_done(merged: tuple[Bench, MergeIntent]) -> None:
    bench, intent = merged
    (bench.repo.path / "new").write_text("added\n")
    commit_all(bench.repo.path)
    assert (await bench.worktrees.recover_merge(bench.repo, intent)).outcome is RecoveryOutcome.ROLLED_BACK


@pytest.mark.parametrize(
    ("path", "content"), [("src/app.py", "mine\n"), ("new", "mine, ignored\n"), ("run.sh", "mine\n")]
)
async def test_what_is_neither_old_nor_new_is_the_persons_and_kept(
    merged: tuple[Bench, MergeIntent], path: str, content: str
) -> None:
    bench, intent = merged
    (bench.repo.path / ".git/info/exclude").write_text("/new\n/.worktrees/\n")
    (bench.repo.path / ".git/index.lock").touch()
    (bench.repo.path / path).write_text(content)
    # What git had begun is taken back around it, so that the person's next git finds what they know.
    recovery = await bench.worktrees.recover_merge(bench.repo, intent)
    assert (recovery.outcome, recovery.paths) == (RecoveryOutcome.ROLLED_BACK, (path,))
    assert (bench.repo.path / path).read_text() == content
    assert not (bench.repo.path / ".git/index.lock").exists()
    untouched(bench)
    shown = {"src/app.py": " M src/app.py", "run.sh": " M run.sh", "new": ""}[path]
    assert git(bench.repo.path, "status", "--porcelain") == shown


async def test_files_that_only_git_can_have_taken_away_come_back_though_its_lock_is_gone(
    repo: Repository, tmp_path: Path
) -> None:
    (notes := tmp_path / "notes").mkdir()
    worktrees = Worktrees(noted=notes)
    bench = await bench_of(worktrees, repo)
    (bench.path / "src/app.py").write_text("all new\n" * 10)
    (bench.path / "run.sh").write_text("new\n")
    intent = replace(intent_of(repo, bench.base, (await bench.snap()).sha), began_s=time.time())
    (notes / "at-work-1").write_text(f"{repo.git_dir}\0{repo.common_dir}\0merge")
    (repo.path / "src/app.py").unlink()
    (repo.path / "run.sh").write_text("mine\n")
    later = await worktrees.recover_merge(repo, replace(intent, began_s=time.time() + 60), looked=True)
    assert later.outcome is RecoveryOutcome.ROLLED_BACK and not (repo.path / "src/app.py").exists()
    recovery = await worktrees.recover_merge(repo, intent, looked=True)
    assert (recovery.outcome, recovery.paths) == (RecoveryOutcome.ROLLED_BACK, ("run.sh",))
    assert git(repo.path, "status", "--porcelain") == " M run.sh" and (repo.path / "run.sh").read_text() == "mine\n"
    await worktrees.close()


async def test_a_lock_that_a_living_program_holds_is_not_taken(
    merged: tuple[Bench, MergeIntent], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentpane.worktrees.merging import merge_recovery

    monkeypatch.setattr(merge_recovery, "_LOCK_WAIT", 0.0)
    bench, intent = merged
    with (bench.repo.path / ".git/index.lock").open("wb"):
        recovery = await bench.worktrees.recover_merge(bench.repo, intent)
        assert recovery.outcome is RecoveryOutcome.NEEDS_PERSON
        assert (bench.repo.path / ".git/index.lock").exists()


async def test_a_checkout_that_went_to_another_branch_is_left_to_the_person(merged: tuple[Bench, MergeIntent]) -> None:
    bench, intent = merged
    git(bench.repo.path, "checkout", "-q", "-b", "other")
    (bench.repo.path / "src/app.py").write_text("all new\n")
    recovery = await bench.worktrees.recover_merge(bench.repo, intent)
    assert recovery.outcome is RecoveryOutcome.NEEDS_PERSON
    assert (bench.repo.path / "src/app.py").read_text() == "all new\n"
    untouched(bench)


async def test_what_a_cut_merge_left_under_a_later_one_goes_once_the_person_has_looked(
    merged: tuple[Bench, MergeIntent],
) -> None:
    (bench, intent), root = merged, merged[0].repo.path
    git(root, "checkout", "-q", "-b", "later")
    (root / "readme.md").write_text("# Later\n")
    commit_all(root)
    git(root, "checkout", "-q", "main")
    git(root, "read-tree", "-m", "-u", intent.old, intent.new)  # all but the branch is moved
    git(root, "merge", "-q", "--ff-only", "later")
    assert git(root, "status", "--porcelain").split() == ["A", "new", "D", "run.sh", "M", "src/app.py"]
    (root / "src/app.py").write_text("mine\n")
    (root / "notes").write_text("mine too\n")
    git(root, "add", "notes")
    left = await bench.worktrees.recover_merge(bench.repo, intent)
    assert (left.outcome, left.paths) == (RecoveryOutcome.NEEDS_PERSON, ("src/app.py",))
    assert (root / "new").exists() and not (root / "run.sh").exists()
    recovery = await bench.worktrees.recover_merge(bench.repo, intent, looked=True)
    assert (recovery.outcome, recovery.paths) == (RecoveryOutcome.ROLLED_BACK, ("src/app.py",))
    assert git(root, "status", "--porcelain").splitlines() == ["A  notes", " M src/app.py"]
    assert (root / "src/app.py").read_text() == "mine\n" and git(root, "rev-parse", "main", "later").count("\n") == 1


async def test_a_link_in_the_place_of_a_folder_is_not_followed(
    merged: tuple[Bench, MergeIntent], tmp_path: Path
) -> None:
    bench, intent = merged
    os.rename(bench.repo.path / "src", tmp_path / "src")
    (bench.repo.path / "src").symlink_to(tmp_path / "src")
    (bench.repo.path / ".git/index.lock").touch()
    recovery = await bench.worktrees.recover_merge(bench.repo, intent)
    assert (recovery.outcome, recovery.paths) == (RecoveryOutcome.ROLLED_BACK, ("src/app.py",))
    assert (bench.repo.path / "src").is_symlink() and (tmp_path / "src" / "app.py").read_text().startswith("line 0")


async def test_what_a_sparse_checkout_leaves_out_stays_out_of_it(merged: tuple[Bench, MergeIntent]) -> None:
    (bench, intent), root = merged, merged[0].repo.path
    git(root, "sparse-checkout", "set", "--no-cone", "/*", "!/src/")
    assert not (root / "src").exists()
    outcome = (await bench.worktrees.recover_merge(bench.repo, intent)).outcome
    assert outcome is RecoveryOutcome.ROLLED_BACK  # it had not begun
    for wanted, tip in ((False, intent.old), (True, intent.new)):
        (root / ".git/index.lock").touch()
        (root / "new").write_text("added\n")
        await bench.worktrees.recover_merge(bench.repo, intent, wanted=wanted)
        assert (git(root, "rev-parse", "main"), git(root, "status", "--porcelain")) == (tip, "")
        assert (root / "new").exists() == wanted and not (root / "src").exists()


@pytest.mark.parametrize("done", [True, False])
async def test_a_merge_of_a_branch_that_is_checked_out_nowhere_is_done_or_not(
    worktrees: Worktrees, repo: Repository, done: bool
) -> None:
    git(repo.path, "checkout", "-q", "-b", "elsewhere")
    bench = await bench_of(worktrees, repo)
    (bench.path / "new").write_text("x")
    new = (await bench.snap()).sha
    intent = MergeIntent("run1", "main", bench.base, new, new, None, None)
    lock = repo.git_dir / "refs/heads/main.lock"
    if done:
        git(repo.path, "update-ref", "refs/heads/main", new)
    else:
        lock.write_text(f"{new}\n")  # as update-ref leaves it when it is killed
    recovery = await worktrees.recover_merge(repo, intent)
    assert recovery.outcome is (RecoveryOutcome.COMPLETED if done else RecoveryOutcome.ROLLED_BACK)
    assert not lock.exists()
    await worktrees.close()


async def test_the_note_of_a_git_that_a_signal_has_ended_stays(repo: Repository, tmp_path: Path) -> None:
    (notes := tmp_path / "notes").mkdir()
    (killed := tmp_path / "git").write_text('#!/bin/sh\ncase "$*" in *update-ref*) kill -9 $$;; esac\nexec git "$@"\n')
    killed.chmod(0o755)
    runner, before = GitRunner(str(killed), noted=notes), time.time()
    with pytest.raises(GitError):
        await runner.run(objects_of(repo), "update-ref", "refs/agentpane/x", "HEAD")
    (left,) = runner.notes.left()
    assert left.common_dir == repo.common_dir and left.explains(repo.common_dir, before)
    runner.close()


@pytest.mark.parametrize("name", ["refs/heads/main.lock", "HEAD.lock", "ORIG_HEAD.lock"])
@pytest.mark.parametrize("done", [True, False])
async def test_a_lock_that_says_nothing_goes_only_if_a_git_of_ours_was_at_work(
    repo: Repository, tmp_path: Path, name: str, done: bool
) -> None:
    (notes := tmp_path / "notes").mkdir()
    worktrees = Worktrees(noted=notes)
    bench = await bench_of(worktrees, repo)
    (bench.path / "new").write_text("x")
    new = (await bench.snap()).sha
    intent = MergeIntent("run1", "main", bench.base, new, new, repo.path, repo.git_dir)
    if done:
        git(repo.path, "merge", "-q", "--ff-only", new)
    lock = repo.git_dir / name
    lock.write_text("")
    recovery = await worktrees.recover_merge(repo, intent)
    assert recovery.outcome is (RecoveryOutcome.COMPLETED if done else RecoveryOutcome.NEEDS_PERSON) and lock.exists()

    (notes / "at-work-1").write_text(f"{repo.git_dir}\0{repo.common_dir}\0merge")
    recovery = await worktrees.recover_merge(repo, intent)
    assert recovery.outcome is (RecoveryOutcome.COMPLETED if done else RecoveryOutcome.ROLLED_BACK)
    assert not lock.exists()


async def test_a_branch_that_is_neither_old_nor_new_is_left_to_the_person(merged: tuple[Bench, MergeIntent]) -> None:
    bench, intent = merged
    other = git(bench.repo.path, "commit-tree", "main^{tree}", "-m", "unrelated")
    git(bench.repo.path, "update-ref", "refs/heads/main", other)
    recovery = await bench.worktrees.recover_merge(bench.repo, intent)
    assert recovery.outcome is RecoveryOutcome.NEEDS_PERSON
    assert git(bench.repo.path, "rev-parse", "main") == other
