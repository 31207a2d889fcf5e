"""One SQLite file, one thread that writes to it and one that reads, one transaction for each operation.

Callers hand over a plain function of a connection and get back a frozen value; no connection and no
row leaves this package. SQLAlchemy is imported by the threads, not by whoever imports this module.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from agentpane.db import files, migrate
from agentpane.db.faults import store_error
from agentpane.db.files import restore as restore
from agentpane.errors import AgentPaneError
from agentpane.paths import DataFolder

if TYPE_CHECKING:
    from sqlalchemy import Connection as Connection

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0


class Database:
    """The open database. Make one with `open`, end it with `close`."""

    def __init__(self, folder: DataFolder, writer: _Lane, reader: _Lane) -> None:
        self._folder = folder
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, folder: DataFolder, *, busy_timeout: float = BUSY_TIMEOUT_S) -> Database:
        """Open the folder's database; make or migrate it first where that is needed.

        Raises AgentPaneError with STORE_TOO_NEW, STORE_CORRUPT, STORE_LOCKED or STORE_FULL; then nothing has changed.
        """
        writer, reader = _Lane("db-writer"), _Lane("db-reader")
        try:
            await writer.call(migrate.prepare, folder)
            await writer.call(writer.connect, folder.database, False, busy_timeout)
            await reader.call(reader.connect, folder.database, True, busy_timeout)
        except BaseException:
            await _close(reader, writer)
            raise
        return cls(folder, writer, reader)

    async def write(self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn` in one transaction: committed when it returns, undone when it raises.

        A caller that is cancelled while the transaction waits its turn withdraws it. Once it has begun it is
        carried through and its result returned; the cancellation then comes at the caller's next await.
        """
        work = self._writer.submit(self._writer.transact, lambda connection: fn(connection, *args, **kwargs))
        return await _carry_through(work)

    async def read(self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn` on one consistent state of the database; it cannot write."""
        return await self._reader.call(self._reader.transact, lambda connection: fn(connection, *args, **kwargs))

    async def check(self) -> tuple[str, ...]:
        """What SQLite finds wrong with the file, one line each; empty when nothing is."""
        return await self._reader.call(self._reader.faults)

    async def backup(self, file: Path) -> Path:
        """Copy the database to `file`, consistent at one moment. Raises VALIDATION_ERROR if it exists already."""
        return await asyncio.to_thread(files.backup, self._folder, file)

    async def replace_with(self, file: Path) -> Path:
        """Put the backup `file` in the place of the open database, migrated if it is older; see `files.restore`.

        What was asked for before is answered by the old database, what is asked for after by the new one.
        Returns where the old one is kept. Raises what `files.restore` and `open` raise; the old one is then open again.
        """
        await self._reader.call(self._reader.disconnect)
        try:
            return await self._writer.call(self._exchange, file)
        finally:
            await self._reader.call(self._reader.connect, self._folder.database, True, BUSY_TIMEOUT_S)

    def _exchange(self, file: Path) -> Path:
        self._writer.disconnect()
        try:
            kept = restore(self._folder, file)
            try:
                migrate.prepare(self._folder)
            except AgentPaneError:
                restore(self._folder, kept)
                raise
            return kept
        finally:
            self._writer.connect(self._folder.database, False, BUSY_TIMEOUT_S)

    async def close(self) -> None:
        """Finish what is under way and close the file, leaving no journal beside it."""
        await _close(self._reader, self._writer)


class _Lane:
    """One thread with one connection. Every method but `submit`, `call` and `end` runs on that thread."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: Connection | None = None

    def submit(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._threads.submit(fn, *args, **kwargs)

    async def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self.submit(_worded, lambda: fn(*args, **kwargs)))

    async def end(self) -> None:
        await self.call(self.disconnect)
        self._threads.shutdown(wait=False)

    def connect(self, database: Path, read_only: bool, busy_timeout: float) -> None:
        from agentpane.db.engine import connect

        self._connection = connect(database, read_only=read_only, busy_timeout=busy_timeout)

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def transact(self, fn: Callable[[Connection], T]) -> T:
        return _worded(lambda: self._transact(fn))

    def faults(self) -> tuple[str, ...]:
        driver = self._open().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return files.faults(driver)

    def _transact(self, fn: Callable[[Connection], T]) -> T:
        connection = self._open()
        with connection.begin():
            return fn(connection)

    def _open(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the database is closed")
        return self._connection


async def _close(reader: _Lane, writer: _Lane) -> None:
    await reader.end()  # first, so that the writer is the last to close and checkpoints
    await writer.end()


def _worded(fn: Callable[[], T]) -> T:
    """Run `fn`; what SQLite says when it cannot go on is raised as an AgentPaneError."""
    try:
        return fn()
    except AgentPaneError:
        raise
    except Exception as error:
        cause = getattr(error, "orig", error)  # SQLAlchemy wraps the driver's error
        worded = store_error(cause) if isinstance(cause, sqlite3.Error) else None
        if worded is None:
            raise
        raise worded from error


async def _carry_through(work: Future[T]) -> T:
    """The outcome of `work`, which is withdrawn by a cancellation only before it has begun."""
    try:
        return await asyncio.wrap_future(work)
    except asyncio.CancelledError:
        if work.cancelled():
            raise
    outcome = asyncio.wrap_future(work)
    while not outcome.done():
        try:
            await asyncio.wait([outcome])
        except asyncio.CancelledError:
            continue
    job = asyncio.current_task()
    if job is not None:
        job.uncancel()  # the request is put back as it was, to be met at the next await
        job.cancel()
    return outcome.result()
