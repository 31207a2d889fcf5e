"""Projects, agents and tasks as they are stored; positions stay dense whatever is moved."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from agentpane.db import agents, approvals, audit, card_rows, projects, runs, tasks
from agentpane.db.engine import connect
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.approvals import ApprovalState
from agentpane.domain.audit import AuditRecord, ToolStatus
from agentpane.domain.board import Column
from agentpane.domain.conflicts import Conflict, LineRange, Overlap, OverlapKind
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.projects import ProjectConfig, ProjectCounts
from agentpane.domain.runs import AgentStatus, PauseReason, Run, RunError, RunStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder

from .conftest import NOW, World, make_world

LATER = NOW + timedelta(seconds=5)


def _code(refused: pytest.ExceptionInfo[AgentPaneError]) -> ErrorCode:
    return refused.value.code


# Projects


def test_a_project_is_read_as_it_was_stored(connection: Connection) -> None:
    config = ProjectConfig(env_file=".env", copy_files=("a", "b"), init_script="make", policy="careful", max_turns=7)
    new = projects.NewProject("Büro", "/srv/büro", "trunk", "words", config, 5, recorded=True)
    made = projects.create(connection, new, NOW)
    assert projects.get(connection, made.id) == made
    assert (made.name, made.path, made.description, made.base_branch) == ("Büro", "/srv/büro", "words", "trunk")
    assert (made.config, made.max_concurrent_agents, made.recorded) == (config, 5, True)
    assert (made.created_at, made.trusted, made.counts) == (NOW, True, ProjectCounts())


def test_a_path_is_one_project_until_it_is_archived_and_then_comes_back_with_its_history(
    connection: Connection, world: World
) -> None:
    with pytest.raises(AgentPaneError) as refused:
        projects.create(connection, projects.NewProject("Again", "/srv/demo", "main"), NOW)
    assert _code(refused) is ErrorCode.PROJECT_PATH_EXISTS
    projects.archive(connection, world.project.id, LATER)
    assert projects.list_all(connection) == ()
    with pytest.raises(AgentPaneError):
        projects.resolve(connection, world.project.id)
    assert projects.resolve(connection, world.project.id, archived=True) == world.project.id
    again = projects.create(connection, projects.NewProject("Again", "/srv/demo", "main"), LATER)
    assert (again.id, again.name) == (world.project.id, "Again")
    assert [card.id for card in card_rows.of_project(connection, again.id, None)] == [world.task.card.id]


def test_a_project_is_found_by_id_prefix_name_or_path(connection: Connection, world: World) -> None:
    project_id = world.project.id
    for ref in (project_id, project_id[:8], "Demo", "/srv/demo", "/srv/demo/"):
        assert projects.resolve(connection, ref) == project_id
    for ref in ("nothing", "demo", "", "%", "*"):
        with pytest.raises(AgentPaneError) as refused:
            projects.resolve(connection, ref)
        assert _code(refused) is ErrorCode.PROJECT_NOT_FOUND


def test_a_name_of_two_projects_is_not_guessed(connection: Connection, world: World) -> None:
    twin = projects.create(connection, projects.NewProject("Demo", "/srv/twin", "main"), NOW)
    with pytest.raises(AgentPaneError) as refused:
        projects.resolve(connection, "Demo")
    assert _code(refused) is ErrorCode.VALIDATION_ERROR
    assert projects.resolve(connection, "/srv/twin") == twin.id


def test_a_path_that_is_not_utf_8_is_refused_in_words(connection: Connection) -> None:
    with pytest.raises(AgentPaneError) as refused:
        projects.create(connection, projects.NewProject("Odd", "/srv/\udcff", "main"), NOW)
    assert _code(refused) is ErrorCode.PROJECT_PATH_INVALID


def test_what_waits_for_trust_makes_a_project_untrusted(connection: Connection, world: World) -> None:
    projects.set_trust(connection, world.project.id, None, ("init script: make",), LATER, "def")
    assert projects.get(connection, world.project.id).trust_digest == "def"
    assert not projects.get(connection, world.project.id).trusted
    assert projects.get(connection, world.project.id).trust_pending == ("init script: make",)
    projects.set_trust(connection, world.project.id, "abc", (), LATER)
    assert projects.get(connection, world.project.id).trust_digest is None
    assert projects.get(connection, world.project.id).trusted
    assert projects.trusted_hash(connection, world.project.id) == "abc"


def test_a_configuration_that_its_model_refuses_is_not_stored(connection: Connection, world: World) -> None:
    with pytest.raises(AgentPaneError) as refused:
        projects.edit(connection, world.project.id, LATER, config=ProjectConfig(max_turns=0))
    assert _code(refused) is ErrorCode.VALIDATION_ERROR
    assert projects.get(connection, world.project.id).config == ProjectConfig()


def test_a_stored_document_that_is_not_valid_is_said_to_be_corrupt(connection: Connection, world: World) -> None:
    connection.exec_driver_sql('UPDATE projects SET config = \'{"max_turns": "many"}\'')
    with pytest.raises(AgentPaneError) as refused:
        projects.get(connection, world.project.id)
    assert _code(refused) is ErrorCode.STORE_CORRUPT


def test_a_purge_deletes_all_rows_of_a_project_and_never_its_audit(
    connection: Connection, world: World, run: Run
) -> None:
    record = AuditRecord(
        world.project.id, None, None, None, "project.add", ToolStatus.COMPLETE, {}, None, None, None, 0, NOW, "person"
    )
    audit.append(connection, (record,))
    projects.purge(connection, world.project.id, LATER)
    for table in ("projects", "tasks", "agents", "agent_runs", "sessions"):
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0, table
    assert audit.verify(connection).entries == 1


def test_the_counts_say_what_runs_waits_and_has_failed(connection: Connection, world: World) -> None:
    def card(column: Column, *steps: RunStatus, **fields: object) -> TaskId:
        made = tasks.create(connection, tasks.NewTask(world.project.id, "One"), NOW).card.id
        tasks.move(connection, made, column, None, NOW)
        if steps:
            run = runs.create(connection, world.new_run(made), NOW)
            for step in steps[1:]:
                runs.set_status(connection, run.id, step, NOW)
        tasks.set_fields(connection, made, NOW, **fields)
        return made

    queued, starting, running, paused = RunStatus.QUEUED, RunStatus.STARTING, RunStatus.RUNNING, RunStatus.PAUSED
    card(Column.BACKLOG)
    card(Column.IN_PROGRESS, queued)
    card(Column.IN_PROGRESS, queued, starting)
    card(Column.IN_PROGRESS, queued, starting, running)
    card(Column.IN_PROGRESS, queued, starting, running, paused)
    card(Column.IN_PROGRESS, queued, starting, running, RunStatus.ERROR)
    card(Column.IN_PROGRESS, queued, starting, running, RunStatus.INTERRUPTED)
    card(Column.IN_PROGRESS, queued, starting, running, RunStatus.COMPLETED, code="TASK_NO_DIFF")
    card(Column.WAITING_APPROVAL, queued, starting, running, RunStatus.COMPLETED)
    card(Column.VERIFIED, queued, starting, running, RunStatus.COMPLETED)
    expected = ProjectCounts(running=2, queued=1, waiting=3, failed=2)
    assert projects.get(connection, world.project.id).counts == expected
    assert [project.counts for project in projects.list_all(connection)] == [expected]


# Agents


def test_the_first_agent_of_a_project_is_its_default_until_another_is_chosen(
    connection: Connection, world: World
) -> None:
    assert agents.default_for(connection, world.project.id).id == world.agent.id
    config = AgentConfig(model="m", allowed_tools=("Read",), max_turns=3, system_prompt="Be brief.")
    new = agents.NewAgent(world.project.id, "Careful", BackendName.ANTHROPIC, config=config, is_default=True)
    second = agents.create(connection, new, NOW)
    assert (second.config, second.model) == (config, "m")
    assert agents.default_for(connection, world.project.id).id == second.id
    assert [one.name for one in agents.list_for(connection, world.project.id)] == ["Careful", "Claude"]
    agents.edit(connection, world.agent.id, LATER, is_default=True)
    assert [one.is_default for one in agents.list_for(connection, world.project.id)] == [True, False]
    agents.archive(connection, world.agent.id, LATER)
    assert [(one.name, one.is_default) for one in agents.list_for(connection, world.project.id)] == [("Careful", True)]


def test_two_agents_of_a_project_cannot_have_one_name(connection: Connection, world: World) -> None:
    with pytest.raises(AgentPaneError) as refused:
        agents.create(connection, agents.NewAgent(world.project.id, "Claude", BackendName.ANTHROPIC), NOW)
    assert _code(refused) is ErrorCode.VALIDATION_ERROR


def test_an_agent_is_found_by_name_within_its_project_and_by_prefix(connection: Connection, world: World) -> None:
    other = make_world(connection, "/srv/other")
    assert agents.resolve(connection, "Claude", world.project.id) == world.agent.id
    assert agents.resolve(connection, world.agent.id[:9], None) == world.agent.id
    with pytest.raises(AgentPaneError) as ambiguous:
        agents.resolve(connection, "Claude", None)
    assert _code(ambiguous) is ErrorCode.VALIDATION_ERROR
    with pytest.raises(AgentPaneError) as missing:
        agents.resolve(connection, other.agent.id, world.project.id)
    assert _code(missing) is ErrorCode.AGENT_NOT_FOUND


def test_an_agent_shows_what_its_newest_live_run_does_and_counts_its_tasks(
    connection: Connection, world: World, run: Run
) -> None:
    def derived() -> tuple[object, ...]:
        return tuple(
            connection.exec_driver_sql(
                "SELECT status, current_task_id, current_session_id, total_tasks, completed_tasks, failed_tasks,"
                " last_error FROM agents"
            ).one()
        )

    here = (world.task.card.id, world.session_id)
    assert derived() == ("idle", *here, 1, 0, 0, None)
    runs.set_status(connection, run.id, RunStatus.STARTING, NOW)
    assert agents.get(connection, world.agent.id).status is AgentStatus.STARTING
    runs.set_status(connection, run.id, RunStatus.RUNNING, NOW)
    second = tasks.create(connection, tasks.NewTask(world.project.id, "Second"), NOW).card.id
    later = runs.create(connection, world.new_run(second), NOW)
    assert derived()[:2] == ("idle", second)
    runs.set_status(connection, later.id, RunStatus.CANCELLED, NOW)
    assert derived() == ("running", *here, 2, 0, 0, None)
    error = RunError("BACKEND_UNAVAILABLE", "The model is gone.", "")
    runs.set_status(connection, run.id, RunStatus.ERROR, NOW, error=error)
    assert derived() == ("idle", None, None, 2, 0, 1, "The model is gone.")


# Tasks


def test_a_task_is_read_as_it_was_stored(connection: Connection, world: World) -> None:
    new = tasks.NewTask(world.project.id, "Größe", "words", ("a", "b"), world.agent.id)
    made = tasks.create(connection, new, NOW)
    assert tasks.get(connection, made.card.id) == made
    assert (made.card.title, made.description, made.card.labels) == ("Größe", "words", ("a", "b"))
    assert (made.card.column, made.card.position, made.card.agent) == (Column.BACKLOG, 1, "Claude")
    assert (made.created_at, made.card.run, made.runs) == (NOW, None, ())


def test_a_task_is_found_by_its_id_or_a_beginning_of_it(connection: Connection, world: World) -> None:
    assert tasks.resolve(connection, world.task.card.id) == world.task.card.id
    assert tasks.resolve(connection, world.task.card.id[:6]) == world.task.card.id
    for ref in ("zzzzzzzzzzzz", "", "%", "*", "[a-z]"):
        with pytest.raises(AgentPaneError) as refused:
            tasks.resolve(connection, ref)
        assert _code(refused) is ErrorCode.TASK_NOT_FOUND


def test_a_beginning_of_two_ids_is_not_guessed(connection: Connection, world: World) -> None:
    for task_id in ("sameaaa", "samebbb"):
        connection.exec_driver_sql(
            "INSERT INTO tasks (id, project_id, title) VALUES (?, ?, 'T')", (task_id, world.project.id)
        )
    with pytest.raises(AgentPaneError) as refused:
        tasks.resolve(connection, "same")
    assert _code(refused) is ErrorCode.VALIDATION_ERROR
    assert tasks.resolve(connection, "samea") == "sameaaa"


def test_fields_are_set_and_read_again(connection: Connection, world: World) -> None:
    task_id = world.task.card.id
    tasks.set_fields(
        connection,
        task_id,
        LATER,
        branch="agentpane/fix",
        base_branch="main",
        base_sha="b" * 40,
        snapshot="a" * 40,
        files_changed=2,
        lines_added=10,
        lines_removed=1,
        conflicts=(
            Conflict("plain", "contents", (LineRange(3, 1),), (LineRange(3, 2), LineRange(9, 0))),
            Conflict("odd\udcff", "binary"),
        ),
        overlaps=(Overlap(TaskId("other"), "Another", "odd\udcff", (LineRange(1, 2),), OverlapKind.FILE, True),),
        code="MERGE_CONFLICT",
        rejection_reason="Half \ud800 of it",
        rejection_count=1,
        approved_at=LATER,
    )
    task = tasks.get(connection, task_id)
    assert (task.branch, task.base_sha, task.snapshot) == ("agentpane/fix", "b" * 40, "a" * 40)
    assert (task.card.files_changed, task.card.lines_added, task.card.lines_removed) == (2, 10, 1)
    assert [each.path for each in task.card.conflicts] == ["plain", "odd\udcff"]
    assert task.card.code == "MERGE_CONFLICT"
    assert task.card.conflicts[0].card_lines == (LineRange(3, 2), LineRange(9, 0))
    assert task.card.overlaps == (
        Overlap(TaskId("other"), "Another", "odd\udcff", (LineRange(1, 2),), OverlapKind.FILE, True),
    )
    assert (task.rejection_reason, task.card.rejection_count) == ("Half \\ud800 of it", 1)
    assert (task.approved_at, task.card.updated_at) == (LATER, LATER)
    with pytest.raises(ValueError, match="position"):
        tasks.set_fields(connection, task_id, LATER, position=4)


def test_a_card_shows_its_newest_run_its_place_in_the_queue_and_its_open_approvals(
    connection: Connection, world: World, run: Run
) -> None:
    second = tasks.create(connection, tasks.NewTask(world.project.id, "Second"), NOW).card.id
    runs.create(connection, world.new_run(second), LATER)
    board = card_rows.of_project(connection, world.project.id, None)
    places = {card.id: card.run.queue_place for card in board if card.run}
    assert places == {world.task.card.id: 1, second: 2}
    runs.set_status(connection, run.id, RunStatus.STARTING, LATER)
    runs.set_status(connection, run.id, RunStatus.RUNNING, LATER)
    approval = approvals.request(
        connection,
        approvals.NewApproval(world.project.id, world.task.card.id, run.id, "call", "Bash", {"command": "ls"}, "ls"),
        LATER,
    )
    runs.set_status(connection, run.id, RunStatus.PAUSED, LATER, pause_reason=PauseReason.APPROVAL)
    card = tasks.card(connection, world.task.card.id)
    assert card.run is not None
    assert (card.run.status, card.run.pause_reason) == (RunStatus.PAUSED, PauseReason.APPROVAL)
    assert (card.run.queue_place, card.approvals_pending, card.run.started_at) == (None, 1, LATER)
    after = tasks.card(connection, second).run
    assert after is not None and after.queue_place == 1
    approvals.decide(connection, approval.id, ApprovalState.DENIED, "no", "me", LATER)
    assert tasks.card(connection, world.task.card.id).approvals_pending == 0


def test_cards_come_by_column_and_position_and_a_deleted_one_leaves_no_gap(
    connection: Connection, world: World
) -> None:
    made = [tasks.create(connection, tasks.NewTask(world.project.id, f"T{n}"), NOW).card.id for n in range(4)]
    tasks.move(connection, made[3], Column.VERIFIED, 0, NOW)
    tasks.move(connection, made[0], Column.IN_PROGRESS, 0, NOW)
    assert tasks.delete(connection, made[1], NOW) == ((made[2], 1),)
    board = [(card.column, card.position, card.id) for card in card_rows.of_project(connection, world.project.id, None)]
    assert board == [
        (Column.BACKLOG, 0, world.task.card.id),
        (Column.BACKLOG, 1, made[2]),
        (Column.IN_PROGRESS, 0, made[0]),
        (Column.VERIFIED, 0, made[3]),
    ]
    assert [card.id for card in card_rows.of_project(connection, world.project.id, Column.VERIFIED)] == [made[3]]
    tasks.archive(connection, made[3], NOW)
    assert card_rows.of_project(connection, world.project.id, Column.VERIFIED) == ()
    assert tasks.get(connection, made[3]).card.id == made[3]


def test_an_archived_card_leaves_no_gap_and_comes_back_to_where_it_stood(connection: Connection, world: World) -> None:
    made = [tasks.create(connection, tasks.NewTask(world.project.id, f"T{n}"), NOW).card.id for n in range(3)]
    assert tasks.archive(connection, made[0], LATER) == ((made[1], 1), (made[2], 2))
    assert [
        (card.id, card.archived_at) for card in card_rows.of_project(connection, world.project.id, None, archived=True)
    ] == [(made[0], LATER)]
    assert tasks.unarchive(connection, made[0], LATER) == ((made[1], 2), (made[2], 3))
    shown = [(card.position, card.id) for card in card_rows.of_project(connection, world.project.id, None)]
    assert shown == [(0, world.task.card.id), (1, made[0]), (2, made[1]), (3, made[2])]
    assert card_rows.of_project(connection, world.project.id, None, archived=True) == ()


def test_archived_cards_come_newest_first_and_one_that_is_deleted_moves_nobody(
    connection: Connection, world: World
) -> None:
    made = [tasks.create(connection, tasks.NewTask(world.project.id, f"T{n}"), NOW).card.id for n in range(2)]
    tasks.archive(connection, made[0], NOW)
    tasks.archive(connection, made[1], LATER)
    off = card_rows.of_project(connection, world.project.id, Column.BACKLOG, archived=True)
    assert [card.id for card in off] == [made[1], made[0]]
    assert card_rows.of_project(connection, world.project.id, Column.VERIFIED, archived=True) == ()
    assert tasks.delete(connection, made[0], LATER) == ()
    assert tasks.card(connection, world.task.card.id).position == 0


def test_ten_thousand_cards_are_read_in_two_queries_in_under_half_a_second(
    connection: Connection, world: World
) -> None:
    connection.exec_driver_sql(
        "INSERT INTO tasks (id, project_id, title, position, labels) SELECT 't' || value, ?, 'Task ' || value, value,"
        " '[\"bug\"]' FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 10000)"
        " SELECT value FROM n)",
        (world.project.id,),
    )
    connection.exec_driver_sql(
        "INSERT INTO agent_runs (id, agent_id, task_id, project_id, prompt, number, backend, model, status)"
        " SELECT 'r' || t.id, ?, t.id, t.project_id, 'p', t.position, 'anthropic', 'm', 'completed' FROM tasks t"
        " WHERE t.position > 0",
        (world.agent.id,),
    )
    queries: list[str] = []
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_trace_callback(queries.append)
    began = perf_counter()
    cards = card_rows.of_project(connection, world.project.id, None)
    took = perf_counter() - began
    driver.set_trace_callback(None)
    assert len(cards) == 10_001
    assert cards[-1].run is not None
    assert len(queries) == 2
    assert took < 5.0  # ten times the target, so that a busy machine does not fail it


# Moves, against a list of lists


@pytest.fixture
def boards(folder: DataFolder) -> Iterator[tuple[Connection, ProjectId]]:
    with connect(folder.database) as opened, opened.begin():
        yield opened, projects.create(opened, projects.NewProject("Moves", "/srv/moves", "main"), NOW).id


Step = tuple[int, Column | None, int | None]  # a card, and where it goes; no column: into the archive, or out of it
STEPS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([*Column, None]), st.one_of(st.none(), st.integers(-2, 9))),
    max_size=12,
)


@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_positions_stay_dense_and_in_order_whatever_is_moved(
    boards: tuple[Connection, ProjectId], steps: list[Step]
) -> None:
    connection, project_id = boards
    connection.exec_driver_sql("DELETE FROM tasks")
    made = [tasks.create(connection, tasks.NewTask(project_id, f"T{n}"), NOW).card.id for n in range(7)]
    expected: dict[Column, list[str]] = {column: [] for column in Column}
    expected[Column.BACKLOG] = list(made)
    shown: dict[str, tuple[Column, int]] = {task_id: (Column.BACKLOG, place) for place, task_id in enumerate(made)}
    away: dict[str, tuple[Column, int]] = {}
    for number, column, position in steps:
        task_id = made[number]
        if column is None and task_id not in away:
            was, at = away[task_id] = shown.pop(task_id)
            expected[was].remove(task_id)
            renumbered = tasks.archive(connection, task_id, LATER)
        elif task_id in away:
            was, at = away.pop(task_id)
            expected[was].insert(at, task_id)
            renumbered = tasks.unarchive(connection, task_id, LATER)
        else:
            assert column is not None
            expected[shown[task_id][0]].remove(task_id)
            place = len(expected[column]) if position is None else max(0, min(position, len(expected[column])))
            expected[column].insert(place, task_id)
            renumbered = tasks.move(connection, task_id, column, position, LATER).renumbered
        # A board that applies what was announced shows what the database holds.
        assert task_id not in dict(renumbered)
        shown |= {other: (shown[other][0], at) for other, at in renumbered}
        if task_id not in away:
            card = tasks.card(connection, task_id)
            shown[task_id] = (card.column, card.position)
        stored = card_rows.of_project(connection, project_id, None)
        assert [card.id for card in stored] == [one for column_ in Column for one in expected[column_]]
        for column_ in Column:
            assert [card.position for card in stored if card.column is column_] == list(range(len(expected[column_])))
        assert shown == {card.id: (card.column, card.position) for card in stored}
