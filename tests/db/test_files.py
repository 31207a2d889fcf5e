"""A backup is whole at one moment; a restore takes nothing but a sound one, and keeps what it replaces."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentpane.db import files, projects
from agentpane.db.connection import Database, restore
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder

from .conftest import NOW


async def _add(folder: DataFolder, name: str) -> None:
    database = await Database.open(folder)
    await database.write(projects.create, projects.NewProject(name, f"/srv/{name}", "main"), NOW)
    await database.close()


def _faults(file: Path) -> tuple[str, ...]:
    with closing(sqlite3.connect(file)) as connection:
        return files.faults(connection)


async def _names(folder: DataFolder) -> list[str]:
    database = await Database.open(folder)
    try:
        return [project.name for project in await database.read(projects.list_all)]
    finally:
        await database.close()


async def test_a_backup_of_an_open_database_is_one_sound_file_that_only_its_user_can_read(
    database: Database, tmp_path: Path
) -> None:
    await database.write(projects.create, projects.NewProject("Demo", "/srv/demo", "main"), NOW)
    made = await database.backup(tmp_path / "copy.db")
    assert made == tmp_path / "copy.db"
    assert made.stat().st_mode & 0o777 == 0o600
    assert _faults(made) == ()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("copy.db-")]
    with closing(sqlite3.connect(made)) as connection:
        assert connection.execute("SELECT name FROM projects").fetchall() == [("Demo",)]
    await database.write(projects.create, projects.NewProject("Later", "/srv/later", "main"), NOW)


async def test_a_backup_overwrites_nothing(database: Database, tmp_path: Path) -> None:
    taken = tmp_path / "taken.db"
    taken.write_text("precious")
    with pytest.raises(AgentPaneError) as refused:
        await database.backup(taken)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    assert taken.read_text() == "precious"


async def test_a_backup_into_a_folder_that_is_not_there_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(AgentPaneError) as refused:
        await database.backup(tmp_path / "nowhere" / "copy.db")
    assert refused.value.code is ErrorCode.VALIDATION_ERROR


async def test_a_restore_puts_the_backup_in_place_and_keeps_what_was_there(folder: DataFolder, tmp_path: Path) -> None:
    await _add(folder, "first")
    files.backup(folder, tmp_path / "copy.db")
    await _add(folder, "second")
    kept = restore(folder, tmp_path / "copy.db")
    assert await _names(folder) == ["first"]
    assert kept.parent == folder.backups
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT name FROM projects ORDER BY name").fetchall() == [("first",), ("second",)]
    assert folder.database.stat().st_mode & 0o777 == 0o600
    restore(folder, kept)
    assert await _names(folder) == ["first", "second"]


async def test_a_restore_mends_a_database_that_is_damaged(folder: DataFolder, tmp_path: Path) -> None:
    await _add(folder, "saved")
    files.backup(folder, tmp_path / "copy.db")
    damage = b"damaged" * 1000
    folder.database.write_bytes(damage)
    folder.database.with_name("agentpane.db-wal").write_bytes(b"stale journal")
    kept = restore(folder, tmp_path / "copy.db")
    assert await _names(folder) == ["saved"]
    assert kept.read_bytes() == damage
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"stale journal"


async def test_a_restore_into_an_empty_folder_works(folder: DataFolder, tmp_path: Path) -> None:
    await _add(folder, "moved")
    files.backup(folder, tmp_path / "copy.db")
    elsewhere = DataFolder(tmp_path / "elsewhere")
    assert restore(elsewhere, tmp_path / "copy.db") == elsewhere.database
    assert await _names(elsewhere) == ["moved"]


def _not_a_database(file: Path) -> None:
    file.write_bytes(b"words" * 2000)


def _tiny(file: Path) -> None:
    file.write_bytes(b"")


def _foreign(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE other (x)")


def _newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_not_a_database, ErrorCode.STORE_CORRUPT),
        (_tiny, ErrorCode.STORE_CORRUPT),
        (_foreign, ErrorCode.STORE_CORRUPT),
        (_newer, ErrorCode.STORE_TOO_NEW),
        (lambda file: None, ErrorCode.VALIDATION_ERROR),
    ],
    ids=["words", "empty", "another program's", "newer", "missing"],
)
async def test_a_restore_of_anything_else_changes_nothing(
    folder: DataFolder, tmp_path: Path, make: object, code: ErrorCode
) -> None:
    await _add(folder, "kept")
    before = folder.database.read_bytes()
    assert callable(make)
    make(tmp_path / "offered.db")
    with pytest.raises(AgentPaneError) as refused:
        restore(folder, tmp_path / "offered.db")
    assert refused.value.code is code
    assert folder.database.read_bytes() == before
    assert list(folder.backups.iterdir()) == []
    assert not folder.database.with_name("agentpane.db.incoming").exists()


async def test_a_backup_with_a_row_that_refers_to_nothing_is_refused(folder: DataFolder, tmp_path: Path) -> None:
    files.backup(folder, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection, connection:
        connection.execute("INSERT INTO tasks (id, project_id, title) VALUES ('t', 'nowhere', 'orphan')")
    assert _faults(tmp_path / "copy.db") == ("tasks: row 1 refers to a row of projects that does not exist",)
    with pytest.raises(AgentPaneError) as refused:
        restore(folder, tmp_path / "copy.db")
    assert refused.value.code is ErrorCode.STORE_CORRUPT
