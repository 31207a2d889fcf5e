"""Runs take only the steps that the rules allow, one live run a task, first in first out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from agentpane.db import model_calls, runs, tasks
from agentpane.domain.policy import Policy
from agentpane.domain.runs import MAY_BECOME, PAUSED_PLACE_SECONDS, QUEUE_CAP, PauseReason, Run, RunError, RunStatus
from agentpane.errors import AgentPaneError, ErrorCode

from .conftest import NOW, World

Q, S, R, P = RunStatus.QUEUED, RunStatus.STARTING, RunStatus.RUNNING, RunStatus.PAUSED
WAYS: dict[RunStatus, tuple[RunStatus, ...]] = {
    Q: (),
    S: (S,),
    R: (S, R),
    P: (S, R, P),
    RunStatus.COMPLETED: (S, R, RunStatus.COMPLETED),
    RunStatus.ERROR: (S, R, RunStatus.ERROR),
    RunStatus.CANCELLED: (RunStatus.CANCELLED,),
    RunStatus.INTERRUPTED: (S, R, RunStatus.INTERRUPTED),
}


@pytest.mark.parametrize("source", RunStatus)
@pytest.mark.parametrize("target", RunStatus)
def test_a_run_takes_the_steps_of_the_rules_and_no_other(
    connection: Connection, run: Run, source: RunStatus, target: RunStatus
) -> None:
    for step in WAYS[source]:
        runs.set_status(connection, run.id, step, NOW)
    if target in MAY_BECOME[source]:
        assert runs.set_status(connection, run.id, target, NOW).status is target
    else:
        with pytest.raises(AgentPaneError) as refused:
            runs.set_status(connection, run.id, target, NOW)
        assert refused.value.code is ErrorCode.AGENT_NOT_RUNNING
        assert runs.get(connection, run.id).status is source


def test_a_run_keeps_its_times_its_errors_and_its_result(connection: Connection, run: Run) -> None:
    second, third, fourth = (NOW + timedelta(seconds=n) for n in (1, 2, 3.5))
    assert (run.queued_at, run.started_at, run.ended_at) == (NOW, None, None)
    runs.set_status(connection, run.id, S, second)
    runs.set_status(connection, run.id, R, third, sandbox_tier="A", model="other")
    error = RunError("BACKEND_UNAVAILABLE", "Gone \udcff", "Wait.")
    failed = runs.set_status(connection, run.id, RunStatus.ERROR, fourth, error=error)
    assert (failed.started_at, failed.ended_at) == (second, fourth)
    assert (failed.sandbox_tier, failed.model) == ("A", "other")
    assert failed.error == RunError("BACKEND_UNAVAILABLE", "Gone \\udcff", "Wait.")
    assert connection.exec_driver_sql("SELECT duration FROM agent_runs").scalar_one() == 2_500
    again = runs.set_status(connection, run.id, Q, fourth, error=None, turn_limit=80)
    assert (again.error, again.ended_at, again.turn_limit, again.started_at) == (None, None, 80, second)
    runs.set_status(connection, run.id, S, fourth)
    runs.set_status(connection, run.id, R, fourth)
    paused = runs.set_status(connection, run.id, P, fourth, pause_reason=PauseReason.KEY)
    assert paused.pause_reason is PauseReason.KEY
    assert runs.set_status(connection, run.id, R, fourth).pause_reason is None
    runs.set_status(connection, run.id, RunStatus.COMPLETED, fourth, result="Done.")
    assert runs.row(connection, run.id).result == "Done."


@pytest.mark.parametrize("stop", [P, RunStatus.ERROR, RunStatus.INTERRUPTED])
def test_the_time_at_which_a_run_is_at_rest_is_none_that_it_works(
    connection: Connection, run: Run, stop: RunStatus
) -> None:
    at = [NOW + timedelta(seconds=second) for second in (0, 1, 3, 63, 123, 125, 725)]
    runs.set_status(connection, run.id, S, at[1])  # that it waited for its beginning counts for nothing
    runs.set_status(connection, run.id, R, at[1])
    for step, when, rested in ((stop, at[2], 0), (Q, at[3], 60), (S, at[4], 120), (R, at[4], 120), (stop, at[5], 120)):
        assert runs.set_status(connection, run.id, step, when).rested_ms == rested * 1_000
    ended = runs.set_status(connection, run.id, RunStatus.CANCELLED, at[6])
    assert (ended.started_at, ended.ended_at, ended.rested_ms) == (at[1], at[6], 720_000)
    assert connection.exec_driver_sql("SELECT duration FROM agent_runs").scalar_one() == 4_000
    brief = tasks.card(connection, run.task_id).run
    assert brief is not None and brief.rested_ms == 720_000


def test_a_task_has_one_live_run(connection: Connection, world: World, run: Run) -> None:
    with pytest.raises(AgentPaneError) as refused:
        runs.create(connection, world.new_run(), NOW)
    assert refused.value.code is ErrorCode.AGENT_ALREADY_RUNNING
    for step in (S, R, RunStatus.ERROR):
        runs.set_status(connection, run.id, step, NOW)
    second = runs.create(connection, world.new_run(), NOW)
    with pytest.raises(AgentPaneError) as revived:
        runs.set_status(connection, run.id, Q, NOW)
    assert revived.value.code is ErrorCode.AGENT_ALREADY_RUNNING
    live = runs.live_for_task(connection, world.task.card.id)
    assert live is not None and live.id == second.id
    assert [one.id for one in tasks.get(connection, world.task.card.id).runs] == [run.id, second.id]
    with pytest.raises(IntegrityError):  # the file itself says so too
        connection.exec_driver_sql("UPDATE agent_runs SET status = 'queued'")


def test_the_queue_is_first_in_first_out_across_projects_and_a_resumed_run_goes_to_its_end(
    connection: Connection, world: World, run: Run
) -> None:
    ids = [run.id]
    for number in range(3):
        task = tasks.create(connection, tasks.NewTask(world.project.id, f"T{number}"), NOW)
        ids.append(runs.create(connection, world.new_run(task.card.id), NOW).id)
    assert [one.run_id for one in runs.queued(connection)] == ids  # in the order made, at one and the same moment
    assert {one.max_concurrent for one in runs.queued(connection)} == {3}
    later = NOW + timedelta(seconds=1)
    assert runs.start(connection, ids[0], later)
    assert not runs.start(connection, ids[0], later)
    for step in (R, P, Q):
        runs.set_status(connection, ids[0], step, later)
    assert [one.run_id for one in runs.queued(connection)] == [*ids[1:], ids[0]]


def test_the_queue_has_an_end(connection: Connection, world: World) -> None:
    for number in range(QUEUE_CAP):
        task = tasks.create(connection, tasks.NewTask(world.project.id, f"T{number}"), NOW)
        runs.create(connection, world.new_run(task.card.id), NOW)
    with pytest.raises(AgentPaneError) as refused:
        runs.create(connection, world.new_run(), NOW)
    assert refused.value.code is ErrorCode.QUEUE_FULL


def test_a_paused_run_keeps_its_place_for_a_while_only(connection: Connection, world: World, run: Run) -> None:
    place = timedelta(seconds=PAUSED_PLACE_SECONDS)
    assert runs.occupying(connection, world.project.id, NOW) == 0
    for step in (S, R, P):
        runs.set_status(connection, run.id, step, NOW)
        assert runs.occupying(connection, world.project.id, NOW) == 1
    assert runs.occupying(connection, world.project.id, NOW + place - timedelta(seconds=1)) == 1
    assert runs.occupying(connection, world.project.id, NOW + place) == 0


def test_what_an_engine_left_running_is_interrupted_and_queued_and_paused_runs_survive(
    connection: Connection, world: World
) -> None:
    ended = {}
    for status in (Q, S, R, P):
        task = tasks.create(connection, tasks.NewTask(world.project.id, status.value), NOW)
        made = runs.create(connection, world.new_run(task.card.id), NOW)
        for step in WAYS[status]:
            runs.set_status(connection, made.id, step, NOW)
        ended[status] = made.id
    assert [one.id for one in runs.active(connection)] == [ended[S], ended[R]]
    assert [one.id for one in runs.interrupt_orphans(connection, NOW)] == [ended[S], ended[R]]
    statuses = {status: runs.get(connection, made).status for status, made in ended.items()}
    assert statuses == {Q: Q, S: RunStatus.INTERRUPTED, R: RunStatus.INTERRUPTED, P: P}
    assert len(runs.live(connection)) == 2


def test_usage_adds_up_and_a_cost_that_is_unknown_once_stays_unknown(connection: Connection, run: Run) -> None:
    runs.add_usage(connection, run.id, 1, 100, 10, 0.25, NOW)
    runs.add_usage(connection, run.id, 1, 200, 20, 0.5, NOW)
    used = runs.get(connection, run.id)
    assert (used.turns, used.input_tokens, used.output_tokens, used.cost_usd) == (2, 300, 30, 0.75)
    runs.add_usage(connection, run.id, 1, 1, 1, None, NOW)
    assert runs.get(connection, run.id).cost_usd is None
    runs.add_usage(connection, run.id, 1, 1, 1, 0.5, NOW)
    assert runs.get(connection, run.id).cost_usd is None


def test_tool_calls_are_summed_up_by_tool(connection: Connection, run: Run) -> None:
    for tool, took in (("Bash", 10), ("Read", 1), ("Bash", 30)):
        runs.count_tool_call(connection, run.id, tool, took)
    stored = connection.exec_driver_sql("SELECT tool_calls FROM agent_runs").scalar_one()
    assert stored == ('[{"tool":"Bash","count":2,"total_duration":40},{"tool":"Read","count":1,"total_duration":1}]')


def test_a_run_may_have_a_policy_of_its_own(connection: Connection, world: World) -> None:
    own = runs.NewRun(
        world.task.card.id, world.project.id, world.agent.id, world.session_id, "p", "m", 50, policy="free"
    )
    assert runs.row(connection, runs.create(connection, own, NOW).id).policy is Policy.FREE


def test_model_calls_add_up_by_run_task_and_project(connection: Connection, world: World, run: Run) -> None:
    def call(turn: int, cost: float | None) -> model_calls.NewModelCall:
        return model_calls.NewModelCall(
            run.id, world.task.card.id, world.agent.id, world.project.id,
            turn, "m", 10, 20, 30, 40, cost, 5, "end_turn", None, NOW,
        )  # fmt: skip

    model_calls.add_many(connection, [call(1, 0.5), call(2, 0.25)])
    expected = model_calls.UsageTotals(2, 20, 40, 60, 80, 0.75)
    assert model_calls.totals(connection, run_id=run.id) == expected
    assert model_calls.totals(connection, task_id=world.task.card.id) == expected
    assert model_calls.totals(connection, project_id=world.project.id) == expected
    model_calls.add_many(connection, [call(3, None)])
    assert model_calls.totals(connection, run_id=run.id).cost_usd is None
    model_calls.add_many(connection, [])
