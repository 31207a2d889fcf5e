"""Transactions are whole, the reader cannot write, and what SQLite cannot do is said in words."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from agentpane.db import projects, sessions, settings, tasks
from agentpane.db.connection import Database
from agentpane.domain.ids import ProjectId
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder

from .conftest import NOW, make_world


def _new(name: str) -> projects.NewProject:
    return projects.NewProject(name, f"/srv/{name}", "main")


async def _names(database: Database) -> list[str]:
    return [project.name for project in await database.read(projects.list_all)]


async def test_a_write_that_raises_leaves_nothing_behind(database: Database) -> None:
    def store_then_fail(connection: Connection) -> None:
        projects.create(connection, _new("gone"), NOW)
        raise RuntimeError("after the first statement")

    with pytest.raises(RuntimeError, match="after the first statement"):
        await database.write(store_then_fail)
    assert await _names(database) == []
    await database.write(projects.create, _new("kept"), NOW)
    assert await _names(database) == ["kept"]


@pytest.mark.parametrize("lane", ["write", "read"])
async def test_foreign_keys_are_enforced_on_both_connections(database: Database, lane: str) -> None:
    def pragma(connection: Connection) -> object:
        return connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()

    assert await getattr(database, lane)(pragma) == 1


@pytest.mark.parametrize("lane", ["_reader", "_writer"])
async def test_a_connection_that_is_given_up_is_made_anew_to_the_same_file(
    database: Database, folder: DataFolder, tmp_path: Path, lane: str
) -> None:
    other = DataFolder(tmp_path / "other")
    other.make()
    await (await Database.open(other)).close()  # in threads of its own, by the same engines
    await getattr(database, lane).call(lambda: getattr(database, lane)._open().invalidate())
    ask = database.read if lane == "_reader" else database.write
    file = await ask(lambda c: c.exec_driver_sql("PRAGMA database_list").one().file)
    assert Path(file) == folder.database


async def test_a_row_that_refers_to_nothing_is_refused(database: Database) -> None:
    orphan = tasks.NewTask(ProjectId("nowhere"), "Orphan")
    with pytest.raises(IntegrityError):
        await database.write(tasks.create, orphan, NOW)


async def test_the_file_is_in_wal_mode_and_every_commit_is_synced(database: Database) -> None:
    def pragmas(connection: Connection) -> tuple[object, ...]:
        names = ("journal_mode", "synchronous", "query_only")
        return tuple(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names)

    assert await database.write(pragmas) == ("wal", 2, 0)
    assert await database.read(pragmas) == ("wal", 2, 1)


async def test_the_reader_cannot_write(database: Database) -> None:
    with pytest.raises((OperationalError, AgentPaneError)):
        await database.read(projects.create, _new("never"), NOW)
    assert await _names(database) == []


async def test_a_long_read_does_not_hold_up_a_write(database: Database) -> None:
    reading, written = threading.Event(), threading.Event()

    def slow_read(connection: Connection) -> int:
        before = len(projects.list_all(connection))
        reading.set()
        assert written.wait(10)
        return before + len(projects.list_all(connection))

    read = asyncio.create_task(database.read(slow_read))
    await asyncio.to_thread(reading.wait, 10)
    await database.write(projects.create, _new("meanwhile"), NOW)
    written.set()
    assert await read == 0  # one consistent state, from the first look to the last


async def _cancelled_during(database: Database, work: Callable[[Connection], str]) -> list[str]:
    """Start `work`, cancel its caller while it runs, and say what the caller saw."""
    seen: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def held(connection: Connection) -> str:
        begun.set()
        assert go_on.wait(10)
        return work(connection)

    async def caller() -> None:
        seen.append(await database.write(held))
        await asyncio.sleep(0)
        seen.append("not reached")

    job = asyncio.create_task(caller())
    await asyncio.to_thread(begun.wait, 10)
    job.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await job
    return seen


async def test_a_write_that_has_begun_is_carried_through_and_its_caller_told_before_it_is_cancelled(
    database: Database,
) -> None:
    seen = await _cancelled_during(database, lambda c: projects.create(c, _new("whole"), NOW).name)
    assert seen == ["whole"]
    assert await _names(database) == ["whole"]


async def test_a_write_that_still_waits_is_withdrawn_by_a_cancellation(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        begun.set()
        assert go_on.wait(10)

    first = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(begun.wait, 10)
    second = asyncio.create_task(database.write(projects.create, _new("withdrawn"), NOW))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go_on.set()
    await first
    assert await _names(database) == []


async def test_a_timeout_around_a_write_is_still_a_timeout(database: Database) -> None:
    late = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            loop = asyncio.get_running_loop()
            loop.call_later(0.2, late.set)
            await database.write(lambda connection: late.wait(10))
            await asyncio.sleep(10)


async def test_a_full_disk_is_said_in_words_and_the_rest_is_kept(database: Database) -> None:
    await database.write(projects.create, _new("before"), NOW)

    def cap(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # SQLite takes the present size, if that is more

    def fill(connection: Connection) -> None:
        for number in range(100):
            settings.put_value(connection, f"key{number}", "x" * 10_000, NOW)

    await database.write(cap)
    with pytest.raises(AgentPaneError) as refused:
        await database.write(fill)
    assert refused.value.code is ErrorCode.STORE_FULL
    assert await _names(database) == ["before"]
    assert await database.read(settings.get_value, "key0") is None
    assert await database.check() == ()


async def test_a_database_that_another_program_writes_to_is_said_to_be_locked(folder: DataFolder) -> None:
    database = await Database.open(folder, busy_timeout=0.05)
    try:
        with closing(sqlite3.connect(folder.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(AgentPaneError) as refused:
                await database.write(projects.create, _new("blocked"), NOW)
            assert refused.value.code is ErrorCode.STORE_LOCKED
            other.execute("ROLLBACK")
        await database.write(projects.create, _new("free"), NOW)
        assert await _names(database) == ["free"]
    finally:
        await database.close()


def _damage_the_projects(file: Path) -> None:
    with closing(sqlite3.connect(file)) as plain:
        (page,) = plain.execute("SELECT rootpage FROM sqlite_master WHERE name = 'projects'").fetchone()
    with open(file, "r+b") as content:
        content.seek((page - 1) * 4096)
        content.write(b"\xff" * 4096)


async def test_a_damaged_page_is_found_by_check_and_said_in_words_when_met(folder: DataFolder) -> None:
    first = await Database.open(folder)
    await first.write(lambda connection: make_world(connection))
    await first.close()
    _damage_the_projects(folder.database)
    database = await Database.open(folder)
    try:
        with pytest.raises(AgentPaneError) as refused:
            await database.read(projects.list_all)
        assert refused.value.code is ErrorCode.STORE_CORRUPT
        assert await database.check() != ()
    finally:
        await database.close()


async def test_after_close_nothing_is_accepted(folder: DataFolder) -> None:
    database = await Database.open(folder)
    await database.close()
    with pytest.raises(RuntimeError):
        await database.write(projects.create, _new("late"), NOW)


_WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from agentpane.db import sessions
from agentpane.db.connection import Database
from agentpane.domain.sessions import EventKind, NewEvent
from agentpane.paths import DataFolder

async def main() -> None:
    database = await Database.open(DataFolder(Path(sys.argv[1])))
    now = datetime.now(UTC)
    while True:
        batch = [NewEvent(now, EventKind.TEXT, 1, None, {"text": "x" * 200})] * 7
        stored = await database.write(sessions.append, sys.argv[2], batch)
        print(stored[-1].seq, flush=True)

asyncio.run(main())
"""


def _killed_after(acknowledged: int, folder: DataFolder, session_id: str) -> int:
    """Kill a writing process once it has said this often that a batch is stored; the last number that it named."""
    command = [sys.executable, "-c", _WRITER, str(folder.root), session_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        heard = [int(writer.stdout.readline()) for _ in range(acknowledged)]
        os.kill(writer.pid, signal.SIGKILL)
        return max([*heard, *(int(line) for line in writer.stdout if line.endswith("\n"))])


@pytest.mark.parametrize("acknowledged", [1, 20])
async def test_a_killed_writer_loses_no_transaction_that_it_was_told_of(folder: DataFolder, acknowledged: int) -> None:
    database = await Database.open(folder)
    session_id = (await database.write(lambda connection: make_world(connection))).session_id
    await database.close()
    last = _killed_after(acknowledged, folder, session_id)
    again = await Database.open(folder)
    try:
        events = await again.read(sessions.read, session_id, 0, 1_000_000)
        assert len(events) >= last
        assert len(events) % 7 == 0  # no half transaction
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert await again.read(sessions.last_seq, session_id) == len(events)
        assert await again.check() == ()
    finally:
        await again.close()
