"""Every migration keeps what was stored before it, and one that fails leaves the file as it was."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from agentpane.db import files, migrate
from agentpane.db.connection import Database
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder, shipped

Plain = sqlite3.Connection


@dataclass(frozen=True, slots=True)
class Story:
    """What stands in the file before a migration, and what must be true after it."""

    before: Callable[[Plain], None]
    after: Callable[[Plain], None]


def _nothing(connection: Plain) -> None:
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def _takes_a_whole_board(connection: Plain) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("INSERT INTO projects (id, name, path) VALUES ('p', 'P', '/p')")
    connection.execute("INSERT INTO tasks (id, project_id, title) VALUES ('t', 'p', 'T')")
    connection.execute("INSERT INTO agents (id, project_id, name) VALUES ('a', 'p', 'A')")
    connection.execute(
        "INSERT INTO agent_runs (id, agent_id, task_id, project_id, prompt, number, backend, model)"
        " VALUES ('r', 'a', 't', 'p', 'do', 1, 'anthropic', 'm')"
    )
    connection.execute("INSERT INTO sessions (id, project_id, task_id, url) VALUES ('s', 'p', 't', 'u')")
    connection.execute("INSERT INTO session_events (session_id, seq, kind, data) VALUES ('s', 1, 'text', '{}')")
    connection.execute("DELETE FROM projects")
    left = [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("tasks", "session_events")]
    assert left == [(0,), (0,)]


STORIES: Mapping[str, Story] = {"0001": Story(_nothing, _takes_a_whole_board)}


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")))
    return ScriptDirectory.from_config(config)


def test_the_revisions_that_the_program_knows_are_the_ones_that_alembic_finds_in_one_line() -> None:
    found = [script.revision for script in _scripts().walk_revisions()]
    assert tuple(reversed(found)) == files.known_revisions()
    assert _scripts().get_heads() == [files.known_revisions()[-1]]


def test_every_migration_has_a_story() -> None:
    assert set(STORIES) == set(files.known_revisions())


@pytest.mark.parametrize("revision", files.known_revisions())
def test_a_migration_keeps_what_was_stored_before_it(tmp_path: Path, revision: str) -> None:
    database = tmp_path / "seeded.db"
    database.touch()
    earlier = [known for known in files.known_revisions() if known < revision]
    if earlier:
        migrate.upgrade(database, earlier[-1])
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        STORIES[revision].before(connection)
    migrate.upgrade(database, revision)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(revision,)]
        STORIES[revision].after(connection)


async def test_a_new_folder_gets_a_database_that_only_its_user_can_read(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "fresh")
    database = await Database.open(folder)
    try:
        beside = [file for file in folder.root.iterdir() if file.name.startswith("agentpane.db")]
        assert {file.stat().st_mode & 0o777 for file in beside} == {0o600}
        assert folder.root.stat().st_mode & 0o777 == 0o700
        assert await database.check() == ()
    finally:
        await database.close()
    assert [file.name for file in folder.root.iterdir() if file.name.startswith("agentpane.db")] == ["agentpane.db"]


async def test_a_file_with_wider_permissions_is_closed_to_others(folder: DataFolder) -> None:
    folder.database.chmod(0o644)
    await (await Database.open(folder)).close()
    assert folder.database.stat().st_mode & 0o777 == 0o600


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(folder: DataFolder) -> None:
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = folder.database.read_bytes()
    with pytest.raises(AgentPaneError) as refused:
        await Database.open(folder)
    assert refused.value.code is ErrorCode.STORE_TOO_NEW
    assert folder.database.read_bytes() == before
    assert list(folder.backups.iterdir()) == []


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be taken for one" * 40, b"x"])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(folder: DataFolder, content: bytes) -> None:
    folder.database.write_bytes(content)
    with pytest.raises(AgentPaneError) as refused:
        await Database.open(folder)
    assert refused.value.code is ErrorCode.STORE_CORRUPT
    assert folder.database.read_bytes() == content


async def test_a_database_of_another_program_is_refused(folder: DataFolder) -> None:
    folder.database.unlink()
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(AgentPaneError) as refused:
        await Database.open(folder)
    assert refused.value.code is ErrorCode.STORE_CORRUPT


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a further revision, with the given body, the newest one that the program knows."""

    def make(body: str) -> None:
        scripts = tmp_path / "migrations"
        (scripts / "versions").mkdir(parents=True)
        for name in ("env.py", "script.py.mako", "versions/0001_schema.py"):
            (scripts / name).write_bytes((shipped("migrations") / name).read_bytes())
        newest = files.known_revisions()[-1]
        (scripts / "versions" / "9000_next.py").write_text(
            f"from alembic import op\nrevision = '9000'\ndown_revision = {newest!r}\n"
            f"branch_labels = None\ndepends_on = None\n\n\ndef upgrade():\n    {body}\n"
        )
        for module in (files, migrate):
            monkeypatch.setattr(module, "shipped", lambda name: scripts)

    return make


def _store_a_project(folder: DataFolder) -> None:
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        connection.execute("INSERT INTO projects (id, name, path) VALUES ('p', 'Kept', '/p')")


def _projects(file: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT name FROM projects").fetchall()


def test_an_older_file_is_copied_to_the_backups_and_migrated(
    folder: DataFolder, next_revision: Callable[[str], None]
) -> None:
    _store_a_project(folder)
    old = files.known_revisions()[-1]
    next_revision("op.execute('ALTER TABLE projects ADD COLUMN colour TEXT')")
    migrate.prepare(folder)
    assert files.read_revision(folder.database) == "9000"
    (kept,) = folder.backups.iterdir()
    assert files.read_revision(kept) == old
    assert _projects(kept) == _projects(folder.database) == [("Kept",)]
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "body",
    [
        "op.execute('CREATE TABLE half_done (x INTEGER)'); raise RuntimeError('the migration fails')",
        "op.execute(\"INSERT INTO tasks (id, project_id, title) VALUES ('t', 'nowhere', 'orphan')\")",
    ],
    ids=["it raises", "its result is not sound"],
)
def test_a_migration_that_fails_leaves_the_file_as_it_was(
    folder: DataFolder, next_revision: Callable[[str], None], body: str
) -> None:
    _store_a_project(folder)
    old = files.known_revisions()[-1]
    next_revision(body)
    with pytest.raises((RuntimeError, AgentPaneError)):
        migrate.prepare(folder)
    assert files.read_revision(folder.database) == old
    assert _projects(folder.database) == [("Kept",)]
    with closing(sqlite3.connect(folder.database)) as connection:
        assert files.faults(connection) == ()
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half_done'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (0,)


_START = """
import asyncio, sys
from pathlib import Path
from agentpane.db.connection import Database
from agentpane.paths import DataFolder

assert "sqlalchemy" not in sys.modules

async def start() -> None:
    await (await Database.open(DataFolder(Path(sys.argv[1])))).close()

asyncio.run(start())
assert "sqlalchemy" in sys.modules
assert "alembic" not in sys.modules
"""


def test_a_start_with_nothing_to_migrate_imports_no_alembic(folder: DataFolder) -> None:
    done = subprocess.run([sys.executable, "-c", _START, str(folder.root)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
