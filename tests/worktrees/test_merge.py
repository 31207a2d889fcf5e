from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentpane.errors import ErrorCode
from agentpane.worktrees import (
    Conflicted,
    ConflictPath,
    Merged,
    MergeIntent,
    MergePlan,
    MergeRefused,
    Repository,
    Worktrees,
)
from agentpane.worktrees.git.runner import GitOutput, GitRunner, Place
from tests.worktrees.conftest import Bench, Journal, bench_of, commit_all, git


async def reviewed(bench: Bench, strategy: str = "merge") -> MergePlan:
    """A change of the agent's that has been snapshotted and waits for approval."""
    (bench.path / "src/app.py").write_text((bench.path / "src/app.py").read_text() + "one more\n")
    (bench.path / "new").write_text("x\n")
    made = await bench.snap()
    return MergePlan("main", made.sha, "run1", strategy, "Add one more\n", bench.base)


async def free(worktrees: Worktrees, repo: Repository) -> Bench:
    """A bench whose target branch is checked out nowhere."""
    git(repo.path, "checkout", "-q", "-b", "elsewhere")
    return await bench_of(worktrees, repo)


def refs(repo: Repository) -> str:
    return git(repo.path, "for-each-ref")


@pytest.mark.parametrize("checked_out", [True, False])
async def test_the_merge_commit_has_both_parents_and_the_merged_tree(
    worktrees: Worktrees, repo: Repository, checked_out: bool
) -> None:
    bench = await (bench_of(worktrees, repo) if checked_out else free(worktrees, repo))
    plan, journal = await reviewed(bench), Journal()
    outcome = await worktrees.merge(repo, plan, journal)
    assert isinstance(outcome, Merged)
    assert git(repo.path, "rev-parse", "main", "main^1", "main^2") == f"{outcome.commit}\n{bench.base}\n{plan.reviewed}"
    assert outcome.tree == git(repo.path, "rev-parse", f"{plan.reviewed}^{{tree}}", "main^{tree}").split()[1]
    assert outcome.old_target == bench.base
    assert git(repo.path, "log", "-1", "--format=%an %s", "main") == "Ada Add one more"
    assert git(repo.path, "status", "--porcelain") == ""
    assert (repo.path / "new").exists() == checked_out
    assert [(intent.target, intent.old, intent.new, intent.checkout) for intent in journal.intents] == [
        ("main", bench.base, outcome.commit, repo.path if checked_out else None)
    ]


async def test_a_squash_has_one_parent(bench: Bench) -> None:
    outcome = await bench.worktrees.merge(bench.repo, await reviewed(bench, "squash"), Journal())
    assert isinstance(outcome, Merged)
    assert git(bench.repo.path, "rev-list", "--parents", "-1", "main").split() == [outcome.commit, bench.base]


async def test_a_fast_forward_is_the_reviewed_commit_itself(bench: Bench) -> None:
    plan = await reviewed(bench, "ff")
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, Merged) and outcome.commit == plan.reviewed
    assert git(bench.repo.path, "rev-parse", "main") == plan.reviewed


async def test_a_fast_forward_that_is_not_possible_is_refused(bench: Bench) -> None:
    plan = await reviewed(bench, "ff")
    (bench.repo.path / "theirs").write_text("x")
    commit_all(bench.repo.path)
    before = refs(bench.repo)
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_BASE_MOVED
    assert refs(bench.repo) == before


async def test_a_base_that_merely_advanced_is_merged_onto(bench: Bench) -> None:
    plan = await reviewed(bench)
    (bench.repo.path / "theirs").write_text("y\n")
    ahead = commit_all(bench.repo.path)
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, Merged) and outcome.old_target == ahead
    assert set(os.listdir(bench.repo.path)) >= {"theirs", "new"}


async def test_merging_twice_adds_nothing(bench: Bench) -> None:
    plan = await reviewed(bench)
    first = await bench.worktrees.merge(bench.repo, plan, Journal())
    journal = Journal()
    second = await bench.worktrees.merge(bench.repo, plan, journal)
    assert isinstance(first, Merged) and isinstance(second, Merged)
    assert second.commit == first.commit and journal.intents == []


@pytest.mark.parametrize("checked_out", [True, False])
async def test_a_conflict_names_its_paths_and_keeps_both_sides(
    worktrees: Worktrees, repo: Repository, checked_out: bool
) -> None:
    bench = await (bench_of(worktrees, repo) if checked_out else free(worktrees, repo))
    (bench.path / "readme.md").write_text("ours\n")
    (bench.path / "run.sh").unlink()
    (bench.path / "bad\xe9\nname").write_text("1")
    (bench.path / "clean").write_text("no conflict")
    plan = MergePlan("main", (await bench.snap()).sha, "run1", "merge", "m")
    git(repo.path, "checkout", "-q", "main")
    (repo.path / "readme.md").write_text("theirs\n")
    (repo.path / "run.sh").write_text("theirs too\n")
    (repo.path / "bad\xe9\nname").write_text("2")
    ahead = commit_all(repo.path)
    if not checked_out:
        git(repo.path, "checkout", "-q", "elsewhere")
    before, status = refs(repo), git(repo.path, "status", "--porcelain")
    journal = Journal()
    outcome = await worktrees.merge(repo, plan, journal)
    assert isinstance(outcome, Conflicted)
    assert outcome.target_sha == ahead
    assert set(outcome.paths) == {
        ConflictPath("readme.md", "contents"),
        ConflictPath("run.sh", "modify/delete"),
        ConflictPath("bad\xe9\nname", "contents"),
    }
    assert journal.intents == []
    assert (refs(repo), git(repo.path, "status", "--porcelain")) == (before, status)
    assert git(repo.path, "show", "main:readme.md") == "theirs"
    assert (bench.path / "readme.md").read_text() == "ours\n"


async def test_a_dirty_checkout_that_overlaps_is_refused_and_kept_byte_for_byte(bench: Bench) -> None:
    plan = await reviewed(bench)
    edited = (bench.repo.path / "src/app.py").read_bytes() + b"\0mine\r\n"
    (bench.repo.path / "src/app.py").write_bytes(edited)
    (bench.repo.path / "new").write_bytes(b"my own, untracked")
    before, status = refs(bench.repo), git(bench.repo.path, "status", "--porcelain")
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused)
    assert (outcome.code, outcome.paths) == (ErrorCode.MERGE_CHECKOUT_DIRTY, ("new", "src/app.py"))
    assert (refs(bench.repo), git(bench.repo.path, "status", "--porcelain")) == (before, status)
    assert (bench.repo.path / "src/app.py").read_bytes() == edited
    assert (bench.repo.path / "new").read_bytes() == b"my own, untracked"


@pytest.mark.parametrize("mark", ["skip-worktree", "assume-unchanged"])
async def test_an_edit_that_git_was_told_not_to_see_is_refused_with_how_to_see_it(bench: Bench, mark: str) -> None:
    (bench.path / "src/app.py").write_text("the agent's\n")
    plan = await reviewed(bench)
    git(bench.repo.path, "update-index", f"--{mark}", "src/app.py")
    (bench.repo.path / "src/app.py").write_text("hidden\n")
    refused = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(refused, MergeRefused) and f"--no-{mark}" in refused.hint, refused
    assert (bench.repo.path / "src/app.py").read_text() == "hidden\n"


async def test_a_file_that_the_person_has_deleted_is_not_brought_back(bench: Bench) -> None:
    plan = await reviewed(bench)
    (bench.repo.path / "src/app.py").unlink()
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused)
    assert (outcome.code, outcome.paths) == (ErrorCode.MERGE_CHECKOUT_DIRTY, ("src/app.py",))
    assert git(bench.repo.path, "status", "--porcelain") == " D src/app.py"


async def test_edits_that_do_not_overlap_are_kept_through_the_merge(bench: Bench) -> None:
    plan = await reviewed(bench)
    (bench.repo.path / "readme.md").write_text("mine\n")
    (bench.repo.path / "run.sh").write_text("staged\n")
    git(bench.repo.path, "add", "run.sh")
    (bench.repo.path / "note").write_text("untracked")
    status = git(bench.repo.path, "status", "--porcelain")
    assert isinstance(await bench.worktrees.merge(bench.repo, plan, Journal()), Merged)
    assert git(bench.repo.path, "status", "--porcelain") == status
    assert (bench.repo.path / "readme.md").read_text() == "mine\n"
    assert (bench.repo.path / "new").read_text() == "x\n"


async def test_an_ignored_file_of_the_persons_is_not_overwritten(bench: Bench) -> None:
    (bench.repo.path / ".git/info/exclude").write_text("/.worktrees/\n.env\n")
    (bench.repo.path / ".env").write_text("KEY=mine\n")
    (bench.path / ".env").write_text("KEY=agent\n")
    git(bench.path, "add", "-f", ".env")
    git(bench.path, "commit", "-q", "-m", "env")
    plan = MergePlan("main", (await bench.snap()).sha, "run1", "merge", "m")
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused)
    assert (outcome.code, outcome.paths) == (ErrorCode.MERGE_CHECKOUT_DIRTY, (".env",))
    assert (bench.repo.path / ".env").read_text() == "KEY=mine\n"
    assert git(bench.repo.path, "rev-parse", "main") == bench.base


async def test_a_target_checked_out_in_another_worktree_is_moved_there(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    bench = await free(worktrees, repo)
    git(repo.path, "worktree", "add", "-q", str(tmp_path / "theirs"), "main")
    (tmp_path / "theirs" / "readme.md").write_text("mine\n")
    journal = Journal()
    assert isinstance(await worktrees.merge(repo, await reviewed(bench), journal), Merged)
    assert journal.intents[0].checkout == tmp_path / "theirs"
    assert git(tmp_path / "theirs", "status", "--porcelain") == " M readme.md"
    assert (tmp_path / "theirs" / "new").exists()


async def test_a_target_checked_out_twice_is_refused(bench: Bench, tmp_path: Path) -> None:
    plan = await reviewed(bench)
    git(bench.repo.path, "worktree", "add", "-q", "--force", str(tmp_path / "again"), "main")
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_CHECKOUT_DIRTY
    assert git(bench.repo.path, "rev-parse", "main") == bench.base


async def test_a_target_that_is_being_rebased_is_refused(bench: Bench) -> None:
    plan = await reviewed(bench)
    (bench.repo.path / "a").write_text("x")
    commit_all(bench.repo.path)
    git(bench.repo.path, "-c", "sequence.editor=sed -i s/pick/edit/", "rebase", "-q", "-i", "HEAD^")
    before = refs(bench.repo)
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and "rebase" in outcome.message
    assert refs(bench.repo) == before


async def test_a_merge_under_way_in_the_checkout_is_left_alone(bench: Bench) -> None:
    plan = await reviewed(bench)
    git(bench.repo.path, "branch", "side", plan.reviewed)
    git(bench.repo.path, "merge", "-q", "--no-ff", "--no-commit", "side")
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_CHECKOUT_DIRTY
    assert (bench.repo.path / ".git/MERGE_HEAD").exists()


async def test_a_locked_index_is_refused_before_anything_is_written_down(bench: Bench) -> None:
    plan, journal = await reviewed(bench), Journal()
    (bench.repo.path / ".git/index.lock").touch()
    outcome = await bench.worktrees.merge(bench.repo, plan, journal)
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.RESOURCE_LOCKED
    assert journal.intents == [] and (bench.repo.path / ".git/index.lock").exists()


async def test_a_rewound_target_is_refused(bench: Bench) -> None:
    (bench.repo.path / "later").write_text("x")
    later = commit_all(bench.repo.path)
    plan = replace(await reviewed(bench), base_sha=later)
    git(bench.repo.path, "reset", "-q", "--hard", bench.base)
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_BASE_MOVED
    assert git(bench.repo.path, "rev-parse", "main") == bench.base


async def test_a_target_that_is_gone_is_refused(worktrees: Worktrees, repo: Repository) -> None:
    bench = await free(worktrees, repo)
    plan = await reviewed(bench)
    git(repo.path, "branch", "-D", "main")
    outcome = await worktrees.merge(repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_BASE_MOVED


async def test_only_the_commit_that_was_reviewed_last_may_be_merged(bench: Bench) -> None:
    plan = await reviewed(bench)
    (bench.path / "newer").write_text("x")
    await bench.snap("run1")
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_REVIEW_STALE


class Interferes(Journal):
    """Moves the target between the intent and the compare-and-swap, as somebody else might."""

    def __init__(self, repo: Repository, times: int, rewind: bool = False) -> None:
        super().__init__()
        self.repo, self.times, self.rewind = repo, times, rewind

    async def __call__(self, intent: MergeIntent) -> None:
        await super().__call__(intent)
        if len(self.intents) <= self.times:
            parents = () if self.rewind else ("-p", "main")
            other = git(self.repo.path, "commit-tree", "main^{tree}", *parents, "-m", f"other {len(self.intents)}")
            git(self.repo.path, "update-ref", "refs/heads/main", other)


@pytest.mark.parametrize("checked_out", [True, False])
async def test_a_branch_that_moves_is_tried_again(worktrees: Worktrees, repo: Repository, checked_out: bool) -> None:
    bench = await (bench_of(worktrees, repo) if checked_out else free(worktrees, repo))
    plan, journal = await reviewed(bench), Interferes(repo, times=2)
    outcome = await worktrees.merge(repo, plan, journal)
    assert isinstance(outcome, Merged) and len(journal.intents) == 3
    assert git(repo.path, "log", "--format=%s", "main^1", "-2").split("\n") == ["other 2", "other 1"]
    assert git(repo.path, "status", "--porcelain") == ""


@pytest.mark.parametrize("rewind", [True, False])
async def test_a_race_lost_three_times_or_a_rewind_is_refused(
    worktrees: Worktrees, repo: Repository, rewind: bool
) -> None:
    bench = await free(worktrees, repo)
    plan, journal = await reviewed(bench), Interferes(repo, times=3, rewind=rewind)
    outcome = await worktrees.merge(repo, plan, journal)
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_BASE_MOVED
    assert git(repo.path, "log", "-1", "--format=%s", "main").startswith("other")


async def test_a_journal_that_fails_stops_the_merge_before_anything_is_touched(bench: Bench) -> None:
    async def broken(intent: MergeIntent) -> None:
        raise OSError("disk full")

    plan = await reviewed(bench)
    before = refs(bench.repo)
    with pytest.raises(OSError):
        await bench.worktrees.merge(bench.repo, plan, broken)
    assert refs(bench.repo) == before and git(bench.repo.path, "status", "--porcelain") == ""


async def test_a_merge_that_is_called_off_does_not_wait_for_its_trees(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, whole, asked = replace(await reviewed(bench), base_sha=None), GitRunner.run, asyncio.Queue[str]()

    async def endless(self: GitRunner, place: Place | None, *arguments: str, **given: Any) -> GitOutput:
        if arguments[0] in {"merge-tree", "merge-base"}:
            asked.put_nowait(arguments[0])
            await asyncio.Event().wait()
        return await whole(self, place, *arguments, **given)

    monkeypatch.setattr(GitRunner, "run", endless)
    job = asyncio.ensure_future(bench.worktrees.merge(bench.repo, plan, Journal()))
    assert {await asked.get(), await asked.get()} == {"merge-tree", "merge-base"}
    job.cancel()
    await asyncio.wait({job}, timeout=20)
    assert job.cancelled()


async def test_line_endings_of_the_persons_checkout_are_theirs(bench: Bench) -> None:
    git(bench.repo.path, "config", "--global", "core.autocrlf", "true")
    assert isinstance(await bench.worktrees.merge(bench.repo, await reviewed(bench), Journal()), Merged)
    assert (bench.repo.path / "new").read_bytes() == b"x\r\n"
    assert git(bench.repo.path, "status", "--porcelain") == ""


async def test_a_bare_repository_is_merged_into(worktrees: Worktrees, repo: Repository, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo.path), "bare.git")
    bare = await worktrees.open_repository(tmp_path / "bare.git")
    bench = await bench_of(worktrees, bare)
    journal = Journal()
    outcome = await worktrees.merge(bare, await reviewed(bench), journal)
    assert isinstance(outcome, Merged) and journal.intents[0].checkout is None
    assert git(bare.path, "rev-parse", "main") == outcome.commit
