"""The tables are the seed schema's, column by column, with what the rules add; the models and the file agree."""

from __future__ import annotations

import re
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Enum, inspect
from sqlalchemy.exc import IntegrityError

from agentpane.db.schema import Base

# The seed schema in snake_case: column → (may be null, default). `now` is the present.
SEED: dict[str, dict[str, tuple[bool, object]]] = {
    "projects": {
        "id": (False, None),
        "name": (False, None),
        "path": (False, None),
        "description": (True, None),
        "config": (False, "json"),
        "max_concurrent_agents": (False, "3"),
        "github_owner": (True, None),
        "github_repo": (True, None),
        "github_installation_id": (True, None),
        "config_path": (True, "'.claude'"),
        "created_at": (False, "now"),
        "updated_at": (False, "now"),
    },
    "tasks": {
        "id": (False, None),
        "project_id": (False, None),
        "agent_id": (True, None),
        "session_id": (True, None),
        "title": (False, None),
        "description": (True, None),
        "column": (False, "'backlog'"),
        "position": (False, "0"),
        "branch": (True, None),
        "worktree_id": (True, None),
        "diff_summary": (True, None),
        "files_changed": (True, None),
        "lines_added": (True, None),
        "lines_removed": (True, None),
        "approved_at": (True, None),
        "approved_by": (True, None),
        "rejection_reason": (True, None),
        "rejection_count": (True, "0"),
        "started_at": (True, None),
        "completed_at": (True, None),
        "turn_count": (True, "0"),
        "labels": (True, "'[]'"),
        "metadata": (True, "'{}'"),
        "created_at": (False, "now"),
        "updated_at": (False, "now"),
    },
    "agents": {
        "id": (False, None),
        "project_id": (False, None),
        "name": (False, None),
        "type": (False, "'task'"),
        "status": (False, "'idle'"),
        "config": (False, "json"),
        "current_task_id": (True, None),
        "current_session_id": (True, None),
        "current_worktree_id": (True, None),
        "total_tasks": (True, "0"),
        "completed_tasks": (True, "0"),
        "failed_tasks": (True, "0"),
        "last_error": (True, None),
        "last_error_at": (True, None),
        "created_at": (False, "now"),
        "updated_at": (False, "now"),
    },
    "agent_runs": {
        "id": (False, None),
        "agent_id": (False, None),
        "task_id": (True, None),
        "project_id": (False, None),
        "session_id": (True, None),
        "status": (False, "'queued'"),  # an enum of its own, whose runs begin queued
        "prompt": (False, None),
        "result": (True, None),
        "turn_count": (True, "0"),
        "token_input_count": (True, "0"),
        "token_output_count": (True, "0"),
        "tool_calls": (True, "'[]'"),
        "error": (True, None),
        "error_type": (True, None),
        "started_at": (True, None),  # a queued run has not started
        "completed_at": (True, None),
        "duration": (True, None),
    },
    "sessions": {
        "id": (False, None),
        "project_id": (False, None),
        "task_id": (True, None),
        "agent_id": (True, None),
        "title": (True, None),
        "url": (False, None),
        "is_active": (False, "1"),
        "active_users": (True, "'[]'"),
        "message_count": (True, "0"),
        "tool_call_count": (True, "0"),
        "created_at": (False, "now"),
        "updated_at": (False, "now"),
        "closed_at": (True, None),
    },
    "worktrees": {
        "id": (False, None),
        "project_id": (False, None),
        "task_id": (True, None),
        "branch": (False, None),
        "base_branch": (False, "'main'"),
        "path": (False, None),
        "status": (False, "'creating'"),
        "env_copied": (True, "0"),
        "deps_installed": (True, "0"),
        "init_script_run": (True, "0"),
        "last_error": (True, None),
        "created_at": (False, "now"),
        "updated_at": (False, "now"),
        "merged_at": (True, None),
        "removed_at": (True, None),
    },
    "audit_logs": {
        "id": (False, None),
        "agent_id": (True, None),  # empty where no agent has a part
        "agent_run_id": (True, None),
        "task_id": (True, None),
        "project_id": (False, None),
        "tool": (False, None),
        "status": (False, "'pending'"),
        "input": (False, None),
        "output": (True, None),
        "error": (True, None),
        "duration": (True, None),
        "turn_number": (False, None),
        "timestamp": (False, "now"),
    },
    "github_installations": {
        "id": (False, None),
        "account_id": (False, None),
        "account_login": (False, None),
        "account_type": (False, None),
        "account_avatar_url": (True, None),
        "status": (False, "'active'"),
        "permissions": (True, "'{}'"),
        "repository_selection": (True, None),
        "installed_at": (False, "now"),
        "updated_at": (False, "now"),
        "suspended_at": (True, None),
    },
    "repository_configs": {
        "id": (False, None),
        "installation_id": (False, None),
        "owner": (False, None),
        "repo": (False, None),
        "full_name": (False, None),
        "config_path": (False, "'.claude'"),
        "config_sha": (True, None),
        "config": (True, "'{}'"),
        "last_synced_at": (True, None),
        "sync_error": (True, None),
        "default_branch": (True, "'main'"),
        "is_private": (True, "0"),
        "created_at": (False, "now"),
        "updated_at": (False, "now"),
    },
}

SEED_INDEXES: dict[str, dict[str, list[str]]] = {
    "projects": {
        "projects_path_idx": ["path"],
        "projects_github_idx": ["github_owner", "github_repo"],
        "projects_updated_at_idx": ["updated_at"],
    },
    "tasks": {
        "tasks_project_idx": ["project_id"],
        "tasks_column_idx": ["project_id", "column"],
        "tasks_agent_idx": ["agent_id"],
        "tasks_position_idx": ["project_id", "column", "position"],
        "tasks_branch_idx": ["branch"],
    },
    "agents": {
        "agents_project_idx": ["project_id"],
        "agents_status_idx": ["project_id", "status"],
        "agents_current_task_idx": ["current_task_id"],
    },
    "agent_runs": {
        "agent_runs_agent_idx": ["agent_id"],
        "agent_runs_task_idx": ["task_id"],
        "agent_runs_project_idx": ["project_id"],
        "agent_runs_status_idx": ["status"],
        "agent_runs_started_at_idx": ["started_at"],
    },
    "sessions": {
        "sessions_project_idx": ["project_id"],
        "sessions_task_idx": ["task_id"],
        "sessions_agent_idx": ["agent_id"],
        "sessions_url_idx": ["url"],
        "sessions_active_idx": ["is_active"],
    },
    "worktrees": {
        "worktrees_project_idx": ["project_id"],
        "worktrees_task_idx": ["task_id"],
        "worktrees_branch_idx": ["branch"],
        "worktrees_status_idx": ["status"],
        "worktrees_path_idx": ["path"],
    },
    "audit_logs": {
        "audit_logs_agent_idx": ["agent_id"],
        "audit_logs_agent_run_idx": ["agent_run_id"],
        "audit_logs_task_idx": ["task_id"],
        "audit_logs_project_idx": ["project_id"],
        "audit_logs_tool_idx": ["tool"],
        "audit_logs_timestamp_idx": ["timestamp"],
    },
    "github_installations": {"github_installations_account_idx": ["account_login"]},
    "repository_configs": {
        "repository_configs_installation_idx": ["installation_id"],
        "repository_configs_full_name_idx": ["full_name"],
        "repository_configs_owner_repo_idx": ["owner", "repo"],
    },
}

# (table, column) → (table it refers to, what happens when that row goes)
FOREIGN_KEYS = {
    ("tasks", "project_id"): ("projects", "CASCADE"),
    ("agents", "project_id"): ("projects", "CASCADE"),
    ("agent_runs", "agent_id"): ("agents", "CASCADE"),
    ("agent_runs", "task_id"): ("tasks", "SET NULL"),
    ("agent_runs", "project_id"): ("projects", "CASCADE"),
    ("agent_runs", "parent_run_id"): ("agent_runs", "CASCADE"),
    ("sessions", "project_id"): ("projects", "CASCADE"),
    ("sessions", "task_id"): ("tasks", "SET NULL"),
    ("sessions", "agent_id"): ("agents", "SET NULL"),
    ("worktrees", "project_id"): ("projects", "CASCADE"),
    ("worktrees", "task_id"): ("tasks", "SET NULL"),
    ("repository_configs", "installation_id"): ("github_installations", "CASCADE"),
    ("session_events", "session_id"): ("sessions", "CASCADE"),
    ("model_calls", "project_id"): ("projects", "CASCADE"),
    ("model_calls", "task_id"): ("tasks", "SET NULL"),
    ("model_calls", "run_id"): ("agent_runs", "CASCADE"),
    ("approvals", "project_id"): ("projects", "CASCADE"),
    ("approvals", "task_id"): ("tasks", "CASCADE"),
    ("approvals", "run_id"): ("agent_runs", "CASCADE"),
    ("reviews", "task_id"): ("tasks", "CASCADE"),
    ("review_comments", "review_id"): ("reviews", "CASCADE"),
    ("review_comments", "task_id"): ("tasks", "CASCADE"),
    ("checks", "task_id"): ("tasks", "CASCADE"),
    ("merges", "project_id"): ("projects", "CASCADE"),
    ("merges", "task_id"): ("tasks", "SET NULL"),
}

ADDED_TABLES = {
    "session_events",
    "model_calls",
    "approvals",
    "reviews",
    "review_comments",
    "checks",
    "merges",
    "recoveries",
    "turn_snapshots",
    "settings",
    "audit_heads",
    "alembic_version",
}


def test_the_file_holds_the_seed_tables_and_those_that_the_rules_add(connection: Connection) -> None:
    assert set(inspect(connection).get_table_names()) == set(SEED) | ADDED_TABLES


@pytest.mark.parametrize("table", SEED)
def test_a_table_has_every_column_of_the_seed_with_its_default(connection: Connection, table: str) -> None:
    columns = {row[1]: row for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")}
    for name, (nullable, default) in SEED[table].items():
        _, _, _, not_null, found, _ = columns[name]
        if default == "now":
            assert "julianday('now')" in found
        elif default == "json":
            assert found.startswith("'{")
        else:
            assert found == default, name
        if not nullable:
            assert not_null, f"{table}.{name} must not be null"


@pytest.mark.parametrize("table", SEED)
def test_a_table_has_every_index_of_the_seed(connection: Connection, table: str) -> None:
    found = {index["name"]: index["column_names"] for index in inspect(connection).get_indexes(table)}
    assert {name: found.get(name) for name in SEED_INDEXES[table]} == SEED_INDEXES[table]


def test_a_path_and_a_session_address_are_unique(connection: Connection) -> None:
    for table, column in (("projects", "path"), ("sessions", "url")):
        unique = inspect(connection).get_unique_constraints(table)
        assert [one["column_names"] for one in unique] == [[column]]


def test_every_reference_goes_the_way_that_the_schema_says_and_no_other(connection: Connection) -> None:
    found = {}
    for table in inspect(connection).get_table_names():
        for key in inspect(connection).get_foreign_keys(table):
            (column,) = key["constrained_columns"]
            found[table, column] = (key["referred_table"], key["options"]["ondelete"])
    assert found == FOREIGN_KEYS


def test_every_enum_of_the_models_has_the_same_check_in_the_file(connection: Connection) -> None:
    for table in Base.metadata.sorted_tables:
        sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (table.name,)).scalar_one()
        for column in table.columns:
            if isinstance(column.type, Enum):
                check = re.search(rf'CHECK \("?{column.name}"? IN \(([^)]*)\)\)', sql)
                assert check is not None, f"{table.name}.{column.name} has no CHECK"
                assert check[1].replace("'", "").split(", ") == column.type.enums


def test_the_models_and_the_newest_revision_show_no_difference(connection: Connection) -> None:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    assert compare_metadata(context, Base.metadata) == []


def test_the_models_and_the_newest_revision_have_the_same_checks(connection: Connection) -> None:
    for table in Base.metadata.sorted_tables:
        expected = {
            str(one.name) for one in table.constraints if isinstance(one, CheckConstraint) and one.name is not None
        }
        found = {str(one["name"]) for one in inspect(connection).get_check_constraints(table.name)}
        assert found == expected, table.name


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE tasks SET \"column\" = 'elsewhere'", "ck_tasks_column"),
        ("UPDATE tasks SET position = -1", "ck_tasks_position"),
        ("UPDATE agents SET status = 'asleep'", "ck_agents_status"),
        ("UPDATE agents SET type = 'wizard'", "ck_agents_type"),
        ("UPDATE agents SET backend = 'abacus'", "ck_agents_backend"),
        ("UPDATE agent_runs SET status = 'idle'", "ck_agent_runs_status"),
        ("UPDATE projects SET max_concurrent_agents = 11", "ck_projects_max_concurrent_agents"),
        ("UPDATE sessions SET is_active = 2", "ck_sessions_is_active"),
    ],
)
@pytest.mark.usefixtures("run")
def test_a_value_outside_its_enum_or_range_is_refused_by_the_file(
    connection: Connection, statement: str, constraint: str
) -> None:
    with pytest.raises(IntegrityError) as refused:
        connection.exec_driver_sql(statement)
    assert isinstance(refused.value.orig, sqlite3.IntegrityError)
    assert constraint in str(refused.value.orig)


def test_a_row_that_gives_only_what_it_must_gets_the_defaults(connection: Connection) -> None:
    connection.exec_driver_sql("INSERT INTO projects (id, name, path) VALUES ('p', 'P', '/p')")
    connection.exec_driver_sql("INSERT INTO tasks (id, project_id, title) VALUES ('t', 'p', 'T')")
    project = connection.exec_driver_sql("SELECT max_concurrent_agents, config_path, config FROM projects").one()
    task = connection.exec_driver_sql('SELECT "column", position, labels, metadata, created_at FROM tasks').one()
    assert tuple(project[:2]) == (3, ".claude")
    assert '"max_turns":null' in project[2]
    assert tuple(task[:4]) == ("backlog", 0, "[]", "{}")
    present = connection.exec_driver_sql("SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000000").scalar_one()
    assert abs(task[4] - present) < 60_000_000
