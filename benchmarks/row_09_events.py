"""Row 9: storing events over raw sqlite3, and 1,000 tasks with the database over the same tasks without one.

Events: four sessions at once store batches of 100 through `Database.write` and `sessions.append`, from the event as a
value to the commit. The floor is `sqlite3.executemany` of rows that are ready, into the same table with the same
index, a transaction a batch, on one thread.

Tasks: 1,000 cards, 32 at once, each an agent that takes five turns of 50 to 150 ms and says 20 things a turn. With the
database every step is stored as the engine stores it (card, run, events, usage, audit entry, move); without it
the same coroutines only wait.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from agentpane.clock import to_micros
from agentpane.db import agents, audit, files, model_calls, projects, runs, sessions, tasks
from agentpane.db.columns import encode_json
from agentpane.db.connection import Database
from agentpane.domain.agents import Agent, BackendName
from agentpane.domain.audit import AuditRecord, ToolStatus
from agentpane.domain.board import Column
from agentpane.domain.ids import RunId, SessionId, TaskId
from agentpane.domain.projects import Project
from agentpane.domain.runs import RunStatus
from agentpane.domain.sessions import EventKind, NewEvent
from agentpane.paths import DataFolder
from benchmarks.harness import LEAST_ROUNDS, Figure, at_least, at_most, figure, scratch_folder

BATCH = 100
BATCHES = 200
SESSIONS = 4
TASKS = 1_000
AT_ONCE = 32
TURNS = 5
SHORTEST_TURN, LONGEST_TURN = 0.05, 0.15  # seconds
SAYS = 20  # events a turn
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def run() -> list[Figure]:
    with scratch_folder() as folder, asyncio.Runner() as runner:
        return [runner.run(_events(folder / "events")), runner.run(_makespan(folder / "tasks"))]


# Events stored a second


async def _events(root: Path) -> Figure:
    database = await Database.open(DataFolder(root))
    project, agent = await database.write(_make_project)
    opened = [(await database.write(_start, project, agent, number))[2] for number in range(SESSIONS)]
    floor_file = root / "floor.db"
    await asyncio.to_thread(files.copy, DataFolder(root).database, floor_file)
    batch = [_said(0, number) for number in range(BATCH)]
    ours, floor = [], []
    for number in range(LEAST_ROUNDS + 1):
        for measure in ("ours", "floor") if number % 2 else ("floor", "ours"):
            if measure == "ours":
                ours.append(await _stored_a_second(database, opened, batch))
            else:
                floor.append(await asyncio.to_thread(_raw_a_second, floor_file, opened[0], batch))
    await database.close()
    return figure("events stored / raw executemany", ours[1:], floor[1:], at_least(0.8), "/s")


async def _stored_a_second(database: Database, opened: Sequence[SessionId], batch: Sequence[NewEvent]) -> float:
    async def stream(session_id: SessionId) -> None:
        for _ in range(BATCHES // SESSIONS):
            await database.write(sessions.append, session_id, batch)

    began = time.perf_counter()
    await asyncio.gather(*(stream(session_id) for session_id in opened))
    return BATCH * BATCHES / (time.perf_counter() - began)


def _raw_a_second(file: Path, session_id: SessionId, batch: Sequence[NewEvent]) -> float:
    insert = "INSERT INTO session_events (session_id, seq, at, kind, turn, run_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
    rows = [(to_micros(one.at), one.kind.value, one.turn, one.run_id, encode_json(one.data)) for one in batch]
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM session_events").fetchone()
        batches = [
            [(session_id, seq, *row) for seq, row in enumerate(rows, last + 1 + number * BATCH)]
            for number in range(BATCHES)
        ]
        began = time.perf_counter()
        for ready in batches:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, ready)
            connection.execute("COMMIT")
        return BATCH * BATCHES / (time.perf_counter() - began)


# 1,000 tasks


async def _makespan(root: Path) -> Figure:
    with_database, without = [], []
    for number in range(LEAST_ROUNDS + 1):
        for measure in ("with", "without") if number % 2 else ("without", "with"):
            if measure == "without":
                without.append(await _all_tasks(None))
                continue
            database = await Database.open(DataFolder(root / str(number)))
            with_database.append(await _all_tasks(database))
            await database.close()
    return figure("makespan of 1,000 tasks / without a database", with_database[1:], without[1:], at_most(1.05), "s")


async def _all_tasks(database: Database | None) -> float:
    made = await database.write(_make_project) if database is not None else None
    began = time.perf_counter()
    numbers = itertools.count()

    async def work() -> None:
        while (number := next(numbers)) < TASKS:
            if database is not None and made is not None:
                await _stored_task(database, *made, number)
            else:
                for seconds in _turns(number):
                    await asyncio.sleep(seconds)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    return time.perf_counter() - began


async def _stored_task(database: Database, project: Project, agent: Agent, number: int) -> None:
    task_id, run_id, session_id = await database.write(_start, project, agent, number)
    await database.write(runs.start, run_id, NOW)
    await database.write(runs.set_status, run_id, RunStatus.RUNNING, NOW)
    for turn, seconds in enumerate(_turns(number), 1):
        await asyncio.sleep(seconds)
        await database.write(sessions.append, session_id, [_said(turn, one) for one in range(SAYS)])
        await database.write(_end_turn, project, agent, task_id, run_id, turn)
    await database.write(_end, task_id, run_id)


def _turns(number: int) -> list[float]:
    """How long the turns of a task take; the same in every round."""
    chance = random.Random(number)
    return [chance.uniform(SHORTEST_TURN, LONGEST_TURN) for _ in range(TURNS)]


def _make_project(connection: Connection) -> tuple[Project, Agent]:
    project = projects.create(connection, projects.NewProject("Bench", "/bench", "main"), NOW)
    return project, agents.create(connection, agents.NewAgent(project.id, "Agent", BackendName.ANTHROPIC), NOW)


def _start(connection: Connection, project: Project, agent: Agent, number: int) -> tuple[TaskId, RunId, SessionId]:
    task_id = tasks.create(connection, tasks.NewTask(project.id, f"Task {number}"), NOW).card.id
    session_id = sessions.open_for_task(connection, task_id, agent.id, NOW)
    new = runs.NewRun(task_id, project.id, agent.id, session_id, "Do it", "model", 50)
    run_id = runs.create(connection, new, NOW).id
    tasks.set_fields(connection, task_id, NOW, agent_id=agent.id, session_id=session_id, started_at=NOW)
    tasks.move(connection, task_id, Column.IN_PROGRESS, None, NOW)
    return task_id, run_id, session_id


def _end_turn(
    connection: Connection, project: Project, agent: Agent, task_id: TaskId, run_id: RunId, turn: int
) -> None:
    call = model_calls.NewModelCall(
        run_id, task_id, agent.id, project.id, turn, "model", 1_000, 100, 0, 0, 0.01, 100, "tool_use", None, NOW
    )
    model_calls.add_many(connection, (call,))
    runs.add_usage(connection, run_id, 1, 1_000, 100, 0.01, NOW)
    runs.count_tool_call(connection, run_id, "Edit", 5)
    entry = AuditRecord(
        project.id, agent.id, run_id, task_id, "Edit", ToolStatus.COMPLETE, {}, None, None, 5, turn, NOW, "agent"
    )
    audit.append(connection, (entry,))


def _end(connection: Connection, task_id: TaskId, run_id: RunId) -> None:
    runs.set_status(connection, run_id, RunStatus.COMPLETED, NOW, result="Done.")
    tasks.set_fields(connection, task_id, NOW, snapshot="a" * 40, files_changed=1, lines_added=2, lines_removed=3)
    tasks.move(connection, task_id, Column.WAITING_APPROVAL, None, NOW)


def _said(turn: int, number: int) -> NewEvent:
    return NewEvent(NOW, EventKind.TEXT, turn, None, {"text": f"Line {number} of what an agent says in one turn."})
