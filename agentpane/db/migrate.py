"""Bringing the database file to the newest revision, without ever losing the one that was there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from agentpane.db import files
from agentpane.db.faults import corrupt
from agentpane.paths import DataFolder, shipped


def prepare(folder: DataFolder) -> None:
    """Make the database if there is none, or migrate the one that is there.

    An old one is copied to the backups first; if its migration fails or its result is not sound, the copy is put back.
    Raises AgentPaneError with STORE_TOO_NEW, STORE_CORRUPT, STORE_LOCKED or STORE_FULL.
    """
    folder.make()
    database = folder.database
    if not database.exists() or database.stat().st_size == 0:
        _create(database)
        return
    database.chmod(0o600)
    revision = files.read_revision(database)
    newest = files.known_revisions()[-1]
    if revision == newest:
        return
    kept = files.backup_name(folder, f"revision-{revision or 'none'}")
    files.copy(database, kept)
    try:
        upgrade(database, newest)
    except BaseException:
        _put_back(folder, kept)
        raise


def upgrade(database: Path, revision: str) -> None:
    """Run the migrations up to `revision` in one transaction, and check the result."""
    from alembic import command
    from alembic.config import Config

    from agentpane.db.engine import connect

    # Tables are rebuilt by copying them, so foreign keys are off.
    with connect(database, foreign_keys=False) as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(shipped("migrations")).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    with files.plain_connection(database) as plain:
        found = files.faults(plain)
    if found:
        raise corrupt(f"The migrated database is not sound: {found[0]}")


def _create(database: Path) -> None:
    """Build it beside its place, so that a start that is cut off leaves nothing half made."""
    building = database.with_name(f"{database.name}.new")
    building.unlink(missing_ok=True)
    os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        upgrade(building, files.known_revisions()[-1])
        with closing(sqlite3.connect(building)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        os.replace(building, database)
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            building.with_name(building.name + ending).unlink(missing_ok=True)


def _put_back(folder: DataFolder, kept: Path) -> None:
    incoming = folder.root / f"{folder.database.name}.incoming"
    incoming.unlink(missing_ok=True)
    files.copy(kept, incoming)
    for ending in ("-wal", "-shm"):
        folder.database.with_name(folder.database.name + ending).unlink(missing_ok=True)
    os.replace(incoming, folder.database)
