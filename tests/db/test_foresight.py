"""Which cards are compared, by which commit, and that only what still stands is stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, update

from agentpane.db import foresight, tasks, turns, worktrees
from agentpane.db.foresight import Foreseen, Standing
from agentpane.db.schema import TaskTable
from agentpane.domain.board import Column
from agentpane.domain.conflicts import Conflict, LineRange, Overlap
from agentpane.domain.ids import TaskId
from agentpane.domain.runs import Run

from .conftest import NOW, World

OLD, BASE, TURN, SNAPSHOT = ("0" * 40, "b" * 40, "c" * 40, "d" * 40)
LATER = NOW + timedelta(seconds=5)


def only(connection: Connection, world: World) -> Standing:
    (found,) = foresight.standing(connection, world.project.id)
    return found


def turn(world: World, run: Run, number: int, sha: str, after_s: int) -> turns.TurnRow:
    at = NOW + timedelta(seconds=after_s)
    return turns.TurnRow(run.id, number, world.task.card.id, "/r", sha, sha, 1, 1, 0, (), at)


def test_a_card_at_work_stands_for_its_newest_turn_and_one_that_waits_for_its_snapshot(
    connection: Connection, world: World, run: Run
) -> None:
    assert foresight.standing(connection, world.project.id) == ()
    task_id = world.task.card.id
    tasks.move(connection, task_id, Column.IN_PROGRESS, 0, NOW)
    assert (only(connection, world).commit, only(connection, world).base) == (None, None)
    new = worktrees.NewWorktree(
        project_id=world.project.id, task_id=task_id, branch="b", base_branch="main", base_sha=BASE, path="/w"
    )
    row = worktrees.create(connection, new, NOW)
    tasks.set_fields(connection, task_id, NOW, worktree_id=row.id, base_branch="main", base_sha=BASE)
    turns.add(connection, turn(world, run, 1, OLD, -9))  # of a worktree that is gone
    assert (only(connection, world).commit, only(connection, world).base) == (None, BASE)
    turns.add(connection, turn(world, run, 2, SNAPSHOT, 1))
    turns.add(connection, turn(world, run, 3, TURN, 2))
    assert (only(connection, world).commit, only(connection, world).target) == (TURN, "main")
    tasks.set_fields(connection, task_id, NOW, snapshot=SNAPSHOT, base_sha=OLD)
    tasks.move(connection, task_id, Column.WAITING_APPROVAL, 0, NOW)
    assert (only(connection, world).commit, only(connection, world).base) == (SNAPSHOT, OLD)


def test_what_was_found_is_stored_of_cards_that_still_stand_so_and_only_when_it_is_news(
    connection: Connection, world: World
) -> None:
    task_id = world.task.card.id
    tasks.set_fields(connection, task_id, NOW, snapshot=SNAPSHOT, base_sha=BASE, code="MERGE_CONFLICT")
    tasks.move(connection, task_id, Column.WAITING_APPROVAL, 0, NOW)
    seen = only(connection, world)
    conflicts = (Conflict("a", "contents", (LineRange(1, 1),), (LineRange(2, 1),)),)
    overlaps = (Overlap(TaskId("other"), "Other", "a", (LineRange(2, 1),)),)
    found = Foreseen(seen, conflicts, overlaps)
    assert foresight.store(connection, [found], LATER) == (task_id,)
    card = tasks.card(connection, task_id)
    assert (card.conflicts, card.overlaps, card.code) == (conflicts, overlaps, "MERGE_CONFLICT")
    assert foresight.store(connection, [found], LATER) == ()
    # None leaves the conflicts, and the code that an approval has put there goes with the last of them.
    assert foresight.store(connection, [replace(found, conflicts=None, overlaps=())], LATER) == (task_id,)
    assert tasks.card(connection, task_id).conflicts == conflicts
    assert foresight.store(connection, [replace(found, conflicts=(), overlaps=())], LATER) == (task_id,)
    assert tasks.card(connection, task_id).code is None
    for changed in ({"snapshot": TURN}, {"base_sha": OLD}, {"column": Column.VERIFIED}):
        stale = Foreseen(only(connection, world), conflicts, overlaps)
        connection.execute(update(TaskTable).where(TaskTable.id == task_id).values(**changed))
        assert foresight.store(connection, [stale], LATER) == ()
    assert tasks.card(connection, task_id).conflicts == ()
    tasks.delete(connection, task_id, LATER)
    assert foresight.store(connection, [found], LATER) == ()


def test_a_card_that_has_left_is_found_as_long_as_it_shows_an_overlap(connection: Connection, world: World) -> None:
    overlaps = (Overlap(TaskId("other"), "Other", "a", ()),)
    tasks.set_fields(connection, world.task.card.id, NOW, overlaps=overlaps, snapshot=SNAPSHOT)
    left = only(connection, world)
    assert (left.column, left.commit, left.base) == (Column.BACKLOG, None, None)
    assert foresight.store(connection, [Foreseen(left, None, ())], LATER) == (world.task.card.id,)
    assert foresight.standing(connection, world.project.id) == ()


def test_cards_at_rest_are_not_gone_through(connection: Connection, world: World) -> None:
    searches: list[str] = []
    raw = connection.connection.driver_connection
    assert raw is not None
    raw.set_trace_callback(searches.append)
    foresight.standing(connection, world.project.id)
    raw.set_trace_callback(None)
    plan = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {searches[-1]}")]
    assert not [step for step in plan if "tasks_project_idx" in step or step == "SCAN tasks"], plan
