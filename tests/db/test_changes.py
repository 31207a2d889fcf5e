"""Approvals, worktrees, merges, reviews, recovery snapshots and settings as they are stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, select

from agentpane.db import approvals, merges, projects, recoveries, reviews, runs, settings, tasks, turns, worktrees
from agentpane.db.schema import ReviewCommentTable
from agentpane.domain.approvals import ApprovalState
from agentpane.domain.board import Column
from agentpane.domain.engine import Settings
from agentpane.domain.ids import ProjectId
from agentpane.domain.merges import MergeState
from agentpane.domain.recoveries import KEPT, NOTICE, Beside, RecoverySnapshot
from agentpane.domain.review import MergeStrategy, ReviewComment, ReviewVerdict
from agentpane.domain.runs import Run
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode

from .conftest import NOW, World

LATER = NOW + timedelta(seconds=1)
_M = ReviewCommentTable


def _asked(world: World, run: Run, call_id: str, tool: str = "Bash", shown: str = "ls") -> approvals.NewApproval:
    given = {"command": "ls \udcff"}
    return approvals.NewApproval(
        world.project.id, world.task.card.id, run.id, call_id, tool, given, "ls \udcff", (), shown
    )


def test_a_call_is_asked_about_once_however_often_its_run_comes_back_to_it(
    connection: Connection, world: World, run: Run
) -> None:
    first = approvals.request(connection, _asked(world, run, "c1"), NOW)
    assert approvals.request(connection, _asked(world, run, "c1"), LATER) == first
    assert (first.state, first.input, first.summary) == (ApprovalState.PENDING, {"command": "ls \udcff"}, "ls \\udcff")
    assert approvals.pending(connection) == approvals.pending(connection, world.task.card.id) == (first,)
    assert approvals.resolve(connection, first.id[:7]) == first.id


def test_a_call_that_has_become_another_is_asked_about_anew_and_the_old_question_is_withdrawn(
    connection: Connection, world: World, run: Run
) -> None:
    old = approvals.request(connection, _asked(world, run, "c1", shown="-a\udcff"), NOW)
    assert approvals.request(connection, _asked(world, run, "c1", shown="-a\udcff"), LATER) == old
    new = approvals.request(connection, _asked(world, run, "c1", shown="-b"), LATER)
    assert (new.state, new.detail) == (ApprovalState.PENDING, "-b")
    assert approvals.get(connection, old.id).state is ApprovalState.WITHDRAWN
    approvals.decide(connection, new.id, ApprovalState.ALLOWED, None, "me", LATER)
    other = approvals.request(connection, _asked(world, run, "c1", tool="Write", shown="-b"), LATER)
    assert approvals.pending(connection) == (other,)
    assert approvals.for_call(connection, run.id, "c1") == other
    assert approvals.get(connection, new.id).state is ApprovalState.ALLOWED


def test_a_decision_is_made_once(connection: Connection, world: World, run: Run) -> None:
    asked = approvals.request(connection, _asked(world, run, "c1"), NOW)
    decided = approvals.decide(connection, asked.id, ApprovalState.DENIED, "Not now.", "me", LATER)
    assert (decided.state, decided.message, decided.decided_by, decided.decided_at) == (
        ApprovalState.DENIED,
        "Not now.",
        "me",
        LATER,
    )
    with pytest.raises(AgentPaneError) as refused:
        approvals.decide(connection, asked.id, ApprovalState.ALLOWED, None, "me", LATER)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    assert approvals.for_call(connection, run.id, "c1") == decided
    assert approvals.for_call(connection, run.id, "c2") is None


def test_what_a_cancelled_task_asked_for_is_withdrawn(connection: Connection, world: World, run: Run) -> None:
    kept = approvals.request(connection, _asked(world, run, "c0"), NOW)
    approvals.decide(connection, kept.id, ApprovalState.ALLOWED, None, "me", NOW)
    asked = [approvals.request(connection, _asked(world, run, f"c{n}"), NOW) for n in (1, 2)]
    withdrawn = approvals.withdraw_for_task(connection, world.task.card.id, LATER)
    assert [(one.id, one.state) for one in withdrawn] == [(one.id, ApprovalState.WITHDRAWN) for one in asked]
    assert approvals.pending(connection) == ()
    assert approvals.get(connection, kept.id).state is ApprovalState.ALLOWED


def test_rules_allow_for_good_in_one_project(connection: Connection, world: World) -> None:
    assert approvals.always(connection, world.project.id) == ()
    for rules in (("allow Bash(ls:*)",), ("allow Write(a)", "allow Bash(ls:*)")):
        approvals.allow_always(connection, world.project.id, rules, LATER)
    assert approvals.always(connection, world.project.id) == ("allow Bash(ls:*)", "allow Write(a)")


def test_an_approval_that_is_not_there_is_said_to_be_missing(connection: Connection) -> None:
    with pytest.raises(AgentPaneError) as refused:
        approvals.resolve(connection, "nothing")
    assert refused.value.code is ErrorCode.VALIDATION_ERROR


def test_a_worktree_is_followed_from_creating_to_removed(connection: Connection, world: World) -> None:
    task_id = world.task.card.id
    new = worktrees.NewWorktree(world.project.id, task_id, "agentpane/fix", "main", "a" * 40, "/srv/demo/.worktrees/f")
    made = worktrees.create(connection, new, NOW)
    assert (made.status, made.git_dir, made.copied, made.env_copied) == (WorktreeStatus.CREATING, None, (), False)
    failed = worktrees.set_fields(connection, made.id, LATER, status=WorktreeStatus.ERROR, last_error="No room")
    assert failed.last_error == "No room"
    active = worktrees.set_fields(
        connection, made.id, LATER, status=WorktreeStatus.ACTIVE, git_dir="/srv/g", copied=(".env",), env_copied=True
    )
    assert (active.last_error, active.git_dir, active.copied, active.env_copied) == (None, "/srv/g", (".env",), True)
    tasks.set_fields(connection, task_id, LATER, worktree_id=made.id)
    assert tasks.get(connection, task_id).worktree == "/srv/demo/.worktrees/f"
    assert worktrees.live(connection) == (active,)
    gone = worktrees.set_fields(connection, made.id, LATER, status=WorktreeStatus.REMOVED, removed_at=LATER)
    assert worktrees.live(connection) == ()
    assert worktrees.for_task(connection, task_id) == gone
    assert tasks.get(connection, task_id).worktree is None
    worktrees.set_fields(connection, made.id, LATER, status=WorktreeStatus.CREATING)
    assert tasks.get(connection, task_id).worktree is None  # nobody is to write where its files are being laid out
    gone = worktrees.set_fields(connection, made.id, LATER, status=WorktreeStatus.REMOVED)
    second = worktrees.create(connection, new, LATER)
    assert worktrees.for_task(connection, task_id) == second
    assert worktrees.all_for_project(connection, world.project.id) == (gone, second)
    with pytest.raises(ValueError, match="project_id"):
        worktrees.set_fields(connection, made.id, LATER, project_id="other")


def test_a_merge_is_in_the_journal_before_it_is_done(connection: Connection, world: World) -> None:
    task_id = world.task.card.id
    new = merges.NewMerge(task_id, world.project.id, "main", "a" * 40, "b" * 40, "c" * 40, "squash", "/srv/demo", "Ada")
    merge_id = merges.intend(connection, new, NOW)
    (open_one,) = merges.unfinished(connection)
    assert (open_one.id, open_one.state, open_one.strategy) == (merge_id, MergeState.INTENT, MergeStrategy.SQUASH)
    assert (open_one.old_sha, open_one.new_sha, open_one.reviewed_sha) == ("a" * 40, "b" * 40, "c" * 40)
    assert (open_one.target_ref, open_one.checkout_path, open_one.approved_by) == ("main", "/srv/demo", "Ada")
    here, elsewhere = world.project.id, ProjectId("another")
    assert merges.open_at(connection, here, "main") == merges.open_at(connection, elsewhere, "dev", "/srv/demo")
    assert merges.open_at(connection, here, "main") == (open_one,)
    assert merges.open_at(connection, here, "main", "/srv/demo", besides=(merge_id,)) == ()
    assert merges.open_at(connection, here, "dev") == merges.open_at(connection, elsewhere, "main", "/srv/x") == ()
    merges.finish(connection, merge_id, "needs_person", LATER)
    assert [merge.id for merge in merges.open_at(connection, here, "main")] == [merge_id]
    merges.finish(connection, merge_id, "done", LATER)
    assert merges.unfinished(connection) == merges.open_at(connection, here, "main") == ()
    (done,) = merges.for_task(connection, task_id)
    assert (done.state, done.finished_at) == (MergeState.DONE, LATER)


def test_a_review_keeps_its_comments_in_order_and_paths_byte_for_byte(connection: Connection, world: World) -> None:
    task_id = world.task.card.id
    comments = (
        ReviewComment("src/odd\udcff.py", 7, "Why?"),
        ReviewComment("README.md", None, "Whole file \udcff"),
        ReviewComment("README.md", 3, "Removed?", old_side=True),
    )
    reviews.add(connection, task_id, "s1", "rejected", "Not yet.", comments, NOW)
    reviews.add(connection, task_id, "s2", "approved", "", (), LATER, by="Ada")
    remarks = select(_M.path, _M.line, _M.body, _M.old_side).where(_M.task_id == task_id).order_by(_M.ordinal)
    stored = [ReviewComment(*row) for row in connection.execute(remarks)]
    assert stored == [comments[0], ReviewComment("README.md", None, "Whole file \\udcff"), comments[2]]
    found = [(one.snapshot, one.verdict, one.reason) for one in reviews.of_task(connection, task_id)]
    assert found == [("s1", ReviewVerdict.REJECTED, "Not yet."), ("s2", ReviewVerdict.APPROVED, "")]


def _recovery(world: World) -> RecoverySnapshot:
    return RecoverySnapshot(
        id=recoveries.fresh_id(),
        project_id=world.project.id,
        task_id=world.task.card.id,
        ref="refs/agentpane/recovery/x",
        sha="a" * 40,
        reason="cancel",
        size_bytes=7,
        created_at=NOW,
        expires_at=NOW + KEPT,
        files=2,
        title="Fix \\udcff",
        project="Demo",
        repository="/srv/demo",
        branch="agentpane/x",
        base_branch="main",
        base_sha="b" * 40,
        parent="c" * 40,
        copied=(".env",),
        beside=Beside(2, 1, 2, 3, ("sub", "\udcff"), ("torn",)),
    )


def test_a_recovery_snapshot_is_kept_for_thirty_days_with_all_that_it_came_from(
    connection: Connection, world: World
) -> None:
    new = _recovery(world)
    assert recoveries.add(connection, new) == new
    assert recoveries.resolve(connection, new.id[:8]) == new.id
    assert recoveries.for_project(connection, world.project.id) == (new,) == recoveries.everything(connection)
    for days, ending, expired in ((26, (), ()), (27, (new,), ()), (29, (new,), ()), (30, (), (new,))):
        now = NOW + timedelta(days=days)
        assert recoveries.ending(connection, now, NOTICE) == ending
        assert recoveries.expired(connection, now) == ()  # nobody was told
        assert recoveries.any_unnoticed(connection, now, NOTICE) == bool(ending or expired)
    recoveries.put_off(connection, now, NOTICE)
    recoveries.notice(connection, now + timedelta(days=2), NOTICE)
    (told,) = recoveries.everything(connection)
    assert told == replace(new, expires_at=now + timedelta(days=2) + NOTICE)
    assert recoveries.expired(connection, told.expires_at - timedelta(seconds=1)) == ()
    assert recoveries.expired(connection, told.expires_at) == (told,)
    assert not recoveries.any_unnoticed(connection, told.expires_at, NOTICE)
    recoveries.remove(connection, new.id)
    assert recoveries.everything(connection) == ()


def test_a_recovery_snapshot_outlives_its_card_and_its_project(connection: Connection, world: World) -> None:
    new = recoveries.add(connection, _recovery(world))
    projects.purge(connection, world.project.id, LATER)
    assert recoveries.everything(connection) == (new,)


def _turn(world: World, run: Run, turn: int, at: datetime = NOW) -> turns.TurnRow:
    task_id = world.task.card.id
    return turns.TurnRow(run.id, turn, task_id, "/srv/demo", f"{turn:040x}", "b" * 40, 1, 2, 3, ("big.bin",), at)


def test_what_turns_left_is_let_go_of_when_the_card_is_gone_or_has_rested_for_long(
    connection: Connection, world: World, run: Run
) -> None:
    task_id = world.task.card.id
    first, second = _turn(world, run, 1), _turn(world, run, 2, LATER)
    again = replace(first, sha="f" * 40)
    for row in (first, second, again):  # the same turn once more takes the place of what it left before
        turns.add(connection, row)
    assert turns.of_task(connection, task_id) == (again, second)
    assert turns.over(connection, NOW - timedelta(seconds=1)) == ()  # it has changed since
    assert turns.over(connection, NOW + KEPT) == (again, second)
    tasks.move(connection, task_id, Column.IN_PROGRESS, 0, NOW)
    assert turns.over(connection, NOW + KEPT) == ()
    tasks.delete(connection, task_id, LATER)
    assert turns.over(connection, NOW) == (again, second)
    turns.remove(connection, (again, second))
    assert turns.of_task(connection, task_id) == ()


def test_settings_have_their_defaults_until_they_are_set(connection: Connection) -> None:
    assert settings.get(connection) == Settings()
    chosen = Settings("dark", "claude-test", "http://127.0.0.1:1", "squash", "Ada")
    assert settings.put(connection, chosen, NOW) == chosen
    assert settings.get(connection) == chosen


def test_a_value_is_kept_under_its_key_until_it_is_forgotten(connection: Connection) -> None:
    assert settings.get_value(connection, "seen") is None
    settings.put_value(connection, "seen", {"tour": [1, 2]}, NOW)
    settings.put_value(connection, "seen", {"tour": [3]}, LATER)
    assert settings.get_value(connection, "seen") == {"tour": [3]}
    settings.put_value(connection, "seen", None, LATER)
    assert settings.get_value(connection, "seen") is None


def test_a_task_that_goes_takes_what_hangs_on_it_and_leaves_its_journal(
    connection: Connection, world: World, run: Run
) -> None:
    task_id = world.task.card.id
    approvals.request(connection, _asked(world, run, "c1"), NOW)
    reviews.add(connection, task_id, "s1", "rejected", "No.", (ReviewComment("a", 1, "b"),), NOW)
    merges.intend(connection, merges.NewMerge(task_id, world.project.id, "main", "a", "b", "c", "ff", None), NOW)
    tasks.delete(connection, task_id, LATER)
    counts = {
        table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
        for table in ("approvals", "reviews", "review_comments", "merges", "sessions", "agent_runs")
    }
    assert counts == {
        "approvals": 0,
        "reviews": 0,
        "review_comments": 0,
        "merges": 1,
        "sessions": 1,
        "agent_runs": 1,
    }
    assert merges.unfinished(connection)[0].task_id is None
    assert runs.queued(connection) == ()
