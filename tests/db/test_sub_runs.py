"""Runs of sub-agents: found by their call, added up in those above them, ended or kept with their root."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from agentpane.db import agents, runs, sub_runs, tasks
from agentpane.domain.policy import Policy
from agentpane.domain.runs import AgentStatus, PauseReason, Run, RunError, RunStatus

from .conftest import NOW, World

S, R, P = RunStatus.STARTING, RunStatus.RUNNING, RunStatus.PAUSED


@pytest.fixture
def root(connection: Connection, run: Run) -> runs.RunRow:
    for step in (S, R):
        runs.set_status(connection, run.id, step, NOW)
    return runs.row(connection, run.id)


def begin(connection: Connection, parent: runs.RunRow, call: str = "call", turns: int = 5) -> runs.RunRow:
    new = sub_runs.NewSubRun(parent, call, parent.agent_id, "A part", "claude-test", turns, Policy.FREE)
    made = sub_runs.create(connection, new, NOW)
    return sub_runs.go_on(connection, made.id, NOW, turns)


def test_it_knows_all_above_it_and_is_found_by_its_call(connection: Connection, root: runs.RunRow) -> None:
    child = begin(connection, root)
    grandchild = begin(connection, child)
    found = connection.exec_driver_sql("SELECT ancestors FROM agent_runs WHERE depth = 2").scalar_one()
    assert found == f'["{root.id}", "{child.id}"]' or found == f'["{root.id}","{child.id}"]'
    assert (grandchild.root_run_id, grandchild.parent_run_id, grandchild.depth) == (root.id, child.id, 2)
    newer = begin(connection, root)
    of_call = sub_runs.of_call(connection, root.id, "call")
    assert of_call is not None and of_call.id == newer.id
    assert sub_runs.of_call(connection, root.id, "other") is None
    assert sub_runs.ids_of_task(connection, root.task_id) == {child.id, grandchild.id, newer.id}


def test_usage_adds_to_those_above_but_turns_do_not(connection: Connection, root: runs.RunRow) -> None:
    child = begin(connection, root)
    grandchild = begin(connection, child)
    other = begin(connection, root, "second")
    runs.add_usage(connection, root.id, 1, 10, 1, 0.5, NOW)
    runs.add_usage(connection, child.id, 1, 20, 2, 0.25, NOW)
    runs.add_usage(connection, grandchild.id, 1, 40, 4, 0.125, NOW)
    used = [runs.row(connection, one.id) for one in (root, child, grandchild, other)]
    assert [(one.turns, one.input_tokens, one.output_tokens, one.cost_usd) for one in used] == [
        (1, 70, 7, 0.875),
        (1, 60, 6, 0.375),
        (1, 40, 4, 0.125),
        (0, 0, 0, None),
    ]
    runs.add_usage(connection, other.id, 1, 1, 1, None, NOW)
    assert runs.row(connection, root.id).cost_usd is None


def test_the_board_and_the_agent_know_only_the_root(connection: Connection, world: World, root: runs.RunRow) -> None:
    child = begin(connection, root)
    task = tasks.get(connection, root.task_id)
    assert [run.id for run in task.runs] == [root.id] and task.card.run is not None
    assert [one.id for one in runs.active(connection)] == [root.id] == [one.id for one in runs.live(connection)]
    assert runs.occupying(connection, root.project_id, NOW) == 1
    runs.set_status(connection, child.id, RunStatus.ERROR, NOW, error=RunError("BACKEND_REFUSED", "No.", ""))
    assert agents.get(connection, root.agent_id).status is AgentStatus.RUNNING


@pytest.mark.parametrize(
    ("end", "then"),
    [
        (RunStatus.CANCELLED, [RunStatus.CANCELLED, RunStatus.CANCELLED, RunStatus.COMPLETED]),
        (RunStatus.COMPLETED, [RunStatus.CANCELLED, RunStatus.CANCELLED, RunStatus.COMPLETED]),
        (RunStatus.ERROR, [RunStatus.INTERRUPTED, P, RunStatus.COMPLETED]),
        (RunStatus.INTERRUPTED, [RunStatus.INTERRUPTED, P, RunStatus.COMPLETED]),
        (P, [RunStatus.INTERRUPTED, P, RunStatus.COMPLETED]),
    ],
)
def test_what_becomes_of_them_when_the_root_stops(
    connection: Connection, root: runs.RunRow, end: RunStatus, then: list[RunStatus]
) -> None:
    working, paused, done = [begin(connection, root, call) for call in ("a", "b", "c")]
    runs.set_status(connection, paused.id, P, NOW, pause_reason=PauseReason.QUESTION)
    runs.set_status(connection, done.id, RunStatus.COMPLETED, NOW, result="Done.")
    runs.set_status(connection, root.id, end, NOW)
    assert [runs.row(connection, one.id).status for one in (working, paused, done)] == then


def test_an_engine_that_died_leaves_none_running(connection: Connection, root: runs.RunRow) -> None:
    child = begin(connection, root)
    assert [run.id for run in runs.interrupt_orphans(connection, NOW)] == [root.id]
    assert runs.row(connection, child.id).status is RunStatus.INTERRUPTED


def test_one_that_goes_on_gets_more_turns_only_at_its_limit(connection: Connection, root: runs.RunRow) -> None:
    child = begin(connection, root, turns=2)
    for _ in range(2):
        runs.add_usage(connection, child.id, 1, 1, 1, 0.0, NOW)
    runs.set_status(connection, child.id, P, NOW, pause_reason=PauseReason.TURN_LIMIT)
    again = sub_runs.go_on(connection, child.id, NOW, 3)
    assert (again.status, again.turn_limit) == (R, 5)
    runs.set_status(connection, child.id, RunStatus.INTERRUPTED, NOW)
    assert sub_runs.go_on(connection, child.id, NOW, 3).turn_limit == 5
