"""A SQLAlchemy engine on one file, with the transactions that we begin and foreign keys that are enforced."""

from __future__ import annotations

import os
import sqlite3
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from agentpane.db.faults import corrupt

BUSY_TIMEOUT_S = 5.0
JOURNAL_LIMIT = 64 * 1024 * 1024  # bytes that the write-ahead log keeps after a checkpoint


_file: ContextVar[Path] = ContextVar("database")


def connect(
    database: Path, *, read_only: bool = False, foreign_keys: bool = True, busy_timeout: float = BUSY_TIMEOUT_S
) -> Connection:
    """Open the file, which must exist. A read-only connection cannot write and never checkpoints.

    A connection that SQLAlchemy has to make anew is to the file that its thread has opened last.
    """
    _file.set(database)
    return _engine(read_only, foreign_keys, busy_timeout).connect()


@cache
def _engine(read_only: bool, foreign_keys: bool, busy_timeout: float) -> Engine:
    """One for whatever file is opened in the same manner: what its statements compile to stays with it."""
    engine = create_engine(
        "sqlite://", creator=lambda: _opened(_file.get(), read_only, foreign_keys, busy_timeout), poolclass=NullPool
    )
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _opened(database: Path, read_only: bool, foreign_keys: bool, busy_timeout: float) -> sqlite3.Connection:
    # isolation_level=None leaves transactions to us; with the driver's own the foreign_keys pragma would
    # come inside a transaction, where SQLite ignores it.
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(database))}?mode=rw", uri=True, isolation_level=None, timeout=busy_timeout
    )
    try:
        _set_up(connection, read_only, foreign_keys)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, read_only: bool, foreign_keys: bool) -> None:
    connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
    if foreign_keys and connection.execute("PRAGMA foreign_keys").fetchone() != (1,):
        raise corrupt("SQLite does not enforce foreign keys here.")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA temp_store=MEMORY")
    if read_only:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA query_only=ON")
    else:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA journal_size_limit={JOURNAL_LIMIT}")
