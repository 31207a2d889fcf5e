"""Taking a merge back: exactly, by a commit, or not at all; what the person has not committed stays byte for byte."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentpane.errors import ErrorCode
from agentpane.worktrees import (
    Merged,
    MergeIntent,
    MergePlan,
    MergeRefused,
    RecoveryOutcome,
    Repository,
    Undone,
    UndoPlan,
    Worktrees,
)
from tests.worktrees.conftest import Bench, Journal, bench_of, commit_all, git
from tests.worktrees.test_merge import free, refs, reviewed


async def merged(bench: Bench, strategy: str = "merge") -> UndoPlan:
    return await approved(bench, await reviewed(bench, strategy))


async def merged_with_a_deletion(bench: Bench) -> UndoPlan:
    (bench.path / "run.sh").unlink()
    (bench.path / "src/app.py").write_text("new\n" * 50)
    return await approved(bench, MergePlan("main", (await bench.snap()).sha, "run1", "merge", "m", bench.base))


async def approved(bench: Bench, plan: MergePlan) -> UndoPlan:
    outcome = await bench.worktrees.merge(bench.repo, plan, Journal())
    assert isinstance(outcome, Merged)
    return UndoPlan("main", outcome.old_target, outcome.commit, plan.reviewed, plan.run_id, "Revert it\n", "Again\n")


@pytest.mark.parametrize("strategy", ["merge", "squash", "ff"])
@pytest.mark.parametrize("checked_out", [True, False])
async def test_a_merge_that_nothing_came_after_is_taken_back_exactly(
    worktrees: Worktrees, repo: Repository, checked_out: bool, strategy: str
) -> None:
    bench = await (bench_of(worktrees, repo) if checked_out else free(worktrees, repo))
    plan, journal = await merged(bench, strategy), Journal()
    outcome = await worktrees.undo(repo, plan, journal)
    assert outcome == Undone(bench.base, True, plan.reviewed, bench.base)
    assert git(repo.path, "rev-parse", "main") == bench.base
    assert git(repo.path, "status", "--porcelain") == ""
    assert not (repo.path / "new").exists()
    (intent,) = journal.intents
    assert (intent.old, intent.new, intent.back) == (plan.merge, bench.base, True)
    again = await worktrees.merge(repo, MergePlan("main", outcome.again, "run1", "merge", "m", outcome.base), Journal())
    assert isinstance(again, Merged) and again.commit != bench.base


async def test_a_file_that_was_only_touched_stops_no_undo(bench: Bench) -> None:
    plan = await merged(bench)
    (bench.repo.path / "src/app.py").touch()
    outcome = await bench.worktrees.undo(bench.repo, plan, Journal())
    assert isinstance(outcome, Undone) and git(bench.repo.path, "status", "--porcelain") == ""


async def test_edits_beside_it_stay_and_files_that_the_merge_deleted_come_back(bench: Bench) -> None:
    plan, home = await merged_with_a_deletion(bench), bench.repo.path
    (home / "readme.md").write_text("edited, not committed\n")
    (home / "mine").write_text("untracked\n")
    (home / "staged").write_text("staged\n")
    git(home, "add", "staged")
    assert isinstance(await bench.worktrees.undo(bench.repo, plan, Journal()), Undone)
    assert git(home, "status", "--porcelain").splitlines() == [" M readme.md", "A  staged", "?? mine"]
    assert (home / "readme.md").read_text() == "edited, not committed\n"
    assert (home / "run.sh").stat().st_mode & 0o100
    assert (home / "src/app.py").read_text().startswith("line 0\n")


@pytest.mark.parametrize("how", ["edited", "staged", "in the place of a file that comes back", "ignored there"])
async def test_an_edit_in_the_way_refuses_and_nothing_changes(bench: Bench, how: str) -> None:
    plan, home = await merged_with_a_deletion(bench), bench.repo.path
    path = "src/app.py" if how in {"edited", "staged"} else "run.sh"
    (home / path).write_text("the person's own\n")
    if how == "staged":
        git(home, "add", path)
    if how == "ignored there":
        (home / ".git/info/exclude").write_text("run.sh\n")
    before = (refs(bench.repo), git(home, "status", "--porcelain"))
    outcome = await bench.worktrees.undo(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused)
    assert (outcome.code, outcome.paths) == (ErrorCode.MERGE_CHECKOUT_DIRTY, (path,))
    assert "approve" not in outcome.hint
    assert (refs(bench.repo), git(home, "status", "--porcelain")) == before
    assert (home / path).read_text() == "the person's own\n"


@pytest.mark.parametrize("what", ["merge", "cherry-pick", "revert"])
async def test_what_the_person_has_begun_in_the_checkout_is_left_to_be_finished(bench: Bench, what: str) -> None:
    plan, home = await merged(bench), bench.repo.path
    git(home, "switch", "-q", "-c", "side", bench.base)
    (home / "mine").write_text("mine\n")
    commit_all(home)
    git(home, "switch", "-q", "main")
    git(home, *{"merge": ("merge", "-q", "--no-ff"), "revert": ("revert", "-m1")}.get(what, (what,)), "--no-commit",
        "main" if what == "revert" else "side")  # fmt: skip
    head = home / ".git" / f"{what.upper().replace('-', '_')}_HEAD"
    if what == "cherry-pick":
        head.write_text(git(home, "rev-parse", "side") + "\n")  # as after a conflict that is resolved
    assert head.exists()
    before, journal = (refs(bench.repo), git(home, "status", "--porcelain")), Journal()
    outcome = await bench.worktrees.undo(bench.repo, plan, journal)
    assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_CHECKOUT_DIRTY
    assert f"A {what} is under way" in outcome.message and journal.intents == []
    assert (refs(bench.repo), git(home, "status", "--porcelain")) == before


@pytest.mark.parametrize("strategy", ["merge", "squash", "ff"])
async def test_what_came_after_stays_and_the_change_can_be_approved_again(bench: Bench, strategy: str) -> None:
    plan, home = await merged(bench, strategy), bench.repo.path
    (home / "later").write_text("x\n")
    later = commit_all(home)
    (home / "readme.md").write_text("edited, not committed\n")
    outcome = await bench.worktrees.undo(bench.repo, plan, Journal())
    assert isinstance(outcome, Undone) and not outcome.exact
    assert git(home, "rev-parse", "main", "main^") == f"{outcome.target}\n{later}"
    assert git(home, "diff", "--name-only", bench.base, "main") == "later"
    assert git(home, "status", "--porcelain") == " M readme.md"
    assert git(home, "diff", "--name-only", outcome.base, outcome.again).split() == ["new", "src/app.py"]
    again = MergePlan("main", outcome.again, "run1", strategy, "Once more\n", outcome.base)
    assert isinstance(await bench.worktrees.merge(bench.repo, again, Journal()), Merged)
    assert git(home, "diff", "--name-only", bench.base, "main").split() == ["later", "new", "src/app.py"]


async def test_a_target_that_went_on_in_the_same_lines_refuses_with_the_paths(bench: Bench) -> None:
    plan, home = await merged(bench), bench.repo.path
    text = (home / "src/app.py").read_text()
    (home / "src/app.py").write_text(text.replace("one more\n", "one more, and different\n"))
    commit_all(home)
    before = refs(bench.repo)
    outcome = await bench.worktrees.undo(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused)
    assert (outcome.code, outcome.paths) == (ErrorCode.MERGE_UNDO_IMPOSSIBLE, ("src/app.py",))
    assert refs(bench.repo) == before


async def test_a_target_that_reverted_it_already_or_holds_the_change_otherwise_refuses(bench: Bench) -> None:
    plan = await merged(bench)
    git(bench.repo.path, "revert", "--no-edit", "-m1", "HEAD")
    outcome = await bench.worktrees.undo(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and "not in main any more" in outcome.message
    git(bench.repo.path, "reset", "-q", "--hard", bench.base)
    git(bench.repo.path, "merge", "-q", "--ff-only", plan.reviewed)
    before, journal = refs(bench.repo), Journal()
    outcome = await bench.worktrees.undo(bench.repo, plan, journal)
    assert isinstance(outcome, MergeRefused) and "holds the change" in outcome.message
    assert (refs(bench.repo), journal.intents) == (before, [])
    git(bench.repo.path, "checkout", "-q", "-b", "other")
    git(bench.repo.path, "branch", "-D", "main")
    outcome = await bench.worktrees.undo(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and "no branch main" in outcome.message


async def test_a_target_that_was_moved_away_from_the_merge_is_left_as_it_is(bench: Bench) -> None:
    plan = await merged(bench)
    git(bench.repo.path, "reset", "-q", "--hard", bench.base)
    (bench.repo.path / "later").write_text("x\n")
    git(bench.repo.path, "add", "later")
    git(bench.repo.path, "commit", "-q", "-m", "later")
    git(bench.repo.path, "reflog", "expire", "--expire=now", "--all")
    git(bench.repo.path, "-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now")
    assert plan.merge not in git(bench.repo.path, "cat-file", "--batch-all-objects", "--batch-check")
    (bench.repo.path / "later").write_text("mine\n")
    tip, journal = git(bench.repo.path, "rev-parse", "main"), Journal()
    outcome = await bench.worktrees.undo(bench.repo, plan, journal)
    assert outcome == Undone(tip, None, plan.reviewed, bench.base)
    assert git(bench.repo.path, "rev-parse", "main") == tip
    assert (bench.repo.path / "later").read_text() == "mine\n"
    (intent,) = journal.intents
    assert (intent.old, intent.new) == (tip, tip)
    lock = bench.repo.common_dir / "refs/heads/main.lock"
    lock.write_text(f"{tip}\n")  # somebody's, who is at work there
    for back in (False, True):  # killed before it was written down
        found = await bench.worktrees.recover_merge(bench.repo, replace(intent, back=back))
        assert (found.outcome, lock.exists()) == (RecoveryOutcome.COMPLETED, True)
        moved = replace(intent, old=bench.base, new=bench.base, back=back)
        found = await bench.worktrees.recover_merge(bench.repo, moved)
        assert (found.outcome, lock.exists()) == (RecoveryOutcome.ROLLED_BACK, True)


@pytest.mark.parametrize("how", ["amended", "rebased", "amended in the same lines"])
async def test_a_target_that_holds_the_change_in_other_commits_refuses(bench: Bench, how: str) -> None:
    plan, folder = await merged(bench, "squash"), bench.repo.path
    if how == "rebased":
        git(folder, "branch", "upstream", bench.base)
        git(folder, "worktree", "add", "-q", str(folder.parent / "upstream"), "upstream")
        (folder.parent / "upstream" / "other").write_text("x\n")
        commit_all(folder.parent / "upstream")
        git(folder, "rebase", "-q", "upstream")
    else:
        if how == "amended in the same lines":
            (folder / "src/app.py").write_text("something else\n")
        git(folder, "commit", "-q", "-a", "--amend", "-m", "in other words")
    before, journal = refs(bench.repo), Journal()
    outcome = await bench.worktrees.undo(bench.repo, plan, journal)
    assert isinstance(outcome, MergeRefused) and "in other commits" in outcome.message
    assert outcome.paths == (("src/app.py",) if how == "amended in the same lines" else ("new", "src/app.py"))
    assert (refs(bench.repo), journal.intents) == (before, [])


@pytest.mark.parametrize("how", ["picked", "built on", "written anew"])
async def test_a_target_that_holds_a_part_of_the_change_refuses_and_names_it(bench: Bench, how: str) -> None:
    (bench.path / "a.txt").write_text("A\n")
    one = commit_all(bench.path)
    (bench.path / "b.txt").write_text("B\n")
    (bench.path / "src/app.py").unlink()
    plan = await approved(bench, MergePlan("main", (await bench.snap()).sha, "run1", "ff", "m", bench.base))
    home = bench.repo.path
    git(home, "reset", "-q", "--hard", bench.base)
    if how == "written anew":
        (home / "a.txt").write_text("A, in other words\n")
    else:
        git(home, *(("cherry-pick",) if how == "picked" else ("merge", "-q", "--ff-only")), one)
    (home / "later").write_text("x\n")
    commit_all(home)
    before, journal = refs(bench.repo), Journal()
    outcome = await bench.worktrees.undo(bench.repo, plan, journal)
    assert isinstance(outcome, MergeRefused)
    assert (outcome.code, outcome.paths) == (ErrorCode.MERGE_UNDO_IMPOSSIBLE, ("a.txt",))
    assert (refs(bench.repo), journal.intents) == (before, [])
    git(home, "rm", "-q", "a.txt")
    git(home, "commit", "-q", "-m", "that as well")
    assert isinstance(await bench.worktrees.undo(bench.repo, plan, journal), Undone)


async def test_a_target_that_went_back_behind_the_cards_base_refuses(bench: Bench) -> None:
    first = git(bench.repo.path, "rev-parse", "HEAD")
    (bench.repo.path / "of another card").write_text("x\n")
    base = commit_all(bench.repo.path)
    git(bench.path, "reset", "-q", "--hard", base)
    bench.base = base
    plan = await merged(bench)
    git(bench.repo.path, "reset", "-q", "--hard", first)
    outcome = await bench.worktrees.undo(bench.repo, plan, Journal())
    assert isinstance(outcome, MergeRefused) and base[:12] in outcome.message


class StopError(Exception):
    """The engine ends when the intent is written and nothing has moved."""


async def test_an_undo_that_was_cut_short_had_not_begun_or_is_finished(bench: Bench) -> None:
    plan, home = await merged_with_a_deletion(bench), bench.repo.path
    intents: list[MergeIntent] = []

    async def stop(intent: MergeIntent) -> None:
        intents.append(intent)
        raise StopError

    with pytest.raises(StopError):
        await bench.worktrees.undo(bench.repo, plan, stop)
    (intent,) = intents
    assert (await bench.worktrees.recover_merge(bench.repo, intent)).outcome is RecoveryOutcome.ROLLED_BACK
    (home / "mine").write_text("untracked\n")
    (home / "run.sh").write_bytes(b"#!/bin/")  # half of what comes back
    (home / "run.sh").chmod(0o755)
    (home / ".git/index.lock").touch()
    for _ in range(2):
        assert (await bench.worktrees.recover_merge(bench.repo, intent)).outcome is RecoveryOutcome.COMPLETED
        assert git(home, "rev-parse", "main") == bench.base
        assert git(home, "status", "--porcelain") == "?? mine"


async def test_an_undo_onto_which_somebody_committed_is_left_to_them(bench: Bench) -> None:
    plan, journal, home = await merged(bench), Journal(), bench.repo.path
    assert isinstance(await bench.worktrees.undo(bench.repo, plan, journal), Undone)
    (intent,) = journal.intents
    (home / "after").write_text("x\n")
    commit_all(home)
    assert (await bench.worktrees.recover_merge(bench.repo, intent)).outcome is RecoveryOutcome.COMPLETED
    git(home, "reset", "-q", "--hard", plan.merge)
    (home / "on top of the merge").write_text("x\n")
    tip = commit_all(home)
    assert (await bench.worktrees.recover_merge(bench.repo, intent)).outcome is RecoveryOutcome.ROLLED_BACK
    assert git(home, "rev-parse", "main") == tip
