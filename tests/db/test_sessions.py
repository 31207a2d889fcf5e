"""A session is an append-only series without gaps, and says no once it is closed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from agentpane.db import sessions, tasks
from agentpane.db.connection import Database
from agentpane.domain.ids import RunId, SessionId
from agentpane.domain.json import JsonObject
from agentpane.domain.sessions import EVENT_LIMIT, EventKind, NewEvent, SessionEvent
from agentpane.errors import AgentPaneError, ErrorCode

from .conftest import NOW, World, make_world


def _event(kind: EventKind = EventKind.TEXT, data: JsonObject | None = None) -> NewEvent:
    return NewEvent(NOW, kind, 3, RunId("run"), {"text": "x"} if data is None else data)


def test_events_are_numbered_from_one_without_gaps_and_read_as_they_were_given(
    connection: Connection, world: World
) -> None:
    data: JsonObject = {"text": "Größe \udcff \U0001f600", "n": [1, 2.5, None, True], "o": {"k": "v"}}
    first = sessions.append(connection, world.session_id, [_event(data=data), _event()])
    second = sessions.append(connection, world.session_id, [NewEvent(NOW, EventKind.STATE, 0, None, {})])
    assert [event.seq for event in (*first, *second)] == [1, 2, 3]
    assert first[0] == SessionEvent(1, NOW, EventKind.TEXT, 3, RunId("run"), data)
    assert sessions.read(connection, world.session_id, 0, 10) == first + second
    assert sessions.read(connection, world.session_id, 1, 1) == first[1:]
    assert sessions.read(connection, world.session_id, 3, 10) == ()
    assert sessions.last_seq(connection, world.session_id) == 3


def test_every_kind_of_event_is_stored(connection: Connection, world: World) -> None:
    stored = sessions.append(connection, world.session_id, [_event(kind) for kind in EventKind])
    assert sessions.read(connection, world.session_id, 0, 100) == stored


TEXTS = st.text(st.characters(codec=None), max_size=20)
DATA = st.dictionaries(TEXTS, st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS), max_size=4)


@hypothesis_settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(DATA, max_size=4), max_size=4))
def test_whatever_is_appended_comes_back_in_order(
    connection: Connection, world: World, batches: list[list[dict[str, object]]]
) -> None:
    before = sessions.last_seq(connection, world.session_id)
    given_data = [data for batch in batches for data in batch]
    for batch in batches:
        sessions.append(connection, world.session_id, [_event(data=data) for data in batch])  # type: ignore[arg-type]
    events = sessions.read(connection, world.session_id, before, 1_000)
    assert [event.data for event in events] == given_data
    assert [event.seq for event in events] == list(range(before + 1, before + 1 + len(given_data)))


def test_a_task_has_one_session_which_opening_again_finds(connection: Connection, world: World) -> None:
    assert sessions.open_for_task(connection, world.task.card.id, world.agent.id, NOW) == world.session_id
    other = tasks.create(connection, tasks.NewTask(world.project.id, "Other"), NOW)
    assert sessions.open_for_task(connection, other.card.id, None, NOW) != world.session_id
    info = sessions.info(connection, world.session_id)
    assert (info.url, info.title) == (f"agentpane://session/{world.session_id}", "Fix the flaky test")


def test_a_closed_session_refuses_events_and_can_be_read_and_opened_again(connection: Connection, world: World) -> None:
    stored = sessions.append(connection, world.session_id, [_event()])
    sessions.close(connection, world.session_id, NOW)
    with pytest.raises(AgentPaneError) as refused:
        sessions.append(connection, world.session_id, [_event()])
    assert refused.value.code is ErrorCode.SESSION_CLOSED
    assert sessions.read(connection, world.session_id, 0, 10) == stored
    sessions.open_for_task(connection, world.task.card.id, world.agent.id, NOW)
    assert sessions.append(connection, world.session_id, [_event()])[0].seq == 2


def test_a_session_that_is_not_there_is_said_to_be_missing(connection: Connection) -> None:
    nowhere = SessionId("nowhere")
    for ask in (
        lambda: sessions.append(connection, nowhere, [_event()]),
        lambda: sessions.last_seq(connection, nowhere),
        lambda: sessions.close(connection, nowhere, NOW),
        lambda: sessions.set_active_users(connection, nowhere, [], NOW),
    ):
        with pytest.raises(AgentPaneError) as refused:
            ask()
        assert refused.value.code is ErrorCode.SESSION_NOT_FOUND
    assert sessions.read(connection, nowhere, 0, 10) == ()


async def test_an_event_that_is_too_long_is_refused_with_its_whole_batch(database: Database) -> None:
    session_id = (await database.write(lambda connection: make_world(connection))).session_id
    with pytest.raises(ValueError, match="beside the database"):
        await database.write(sessions.append, session_id, [_event(), _event(data={"text": "x" * EVENT_LIMIT})])
    assert await database.read(sessions.last_seq, session_id) == 0
    fitting: JsonObject = {"t": "x" * (EVENT_LIMIT - len('{"t":""}'))}
    assert len(await database.write(sessions.append, session_id, [_event(data=fitting)])) == 1


async def test_batches_of_many_jobs_at_once_leave_no_gap_and_keep_their_order(database: Database) -> None:
    session_id = (await database.write(lambda connection: make_world(connection))).session_id

    async def job(name: str) -> None:
        for number in range(10):
            batch = [_event(data={"job": name, "n": number * 3 + part}) for part in range(3)]
            await database.write(sessions.append, session_id, batch)

    await asyncio.gather(*(job(name) for name in "abcde"))
    events = await database.read(sessions.read, session_id, 0, 1_000)
    assert [event.seq for event in events] == list(range(1, 151))
    for name in "abcde":
        assert [event.data["n"] for event in events if event.data["job"] == name] == list(range(30))


def test_messages_and_tool_calls_are_counted(connection: Connection, world: World) -> None:
    kinds = (EventKind.USER_MESSAGE, EventKind.TEXT, EventKind.TOOL_CALL, EventKind.TOOL_RESULT, EventKind.STATE)
    sessions.append(connection, world.session_id, [_event(kind) for kind in kinds])
    info = sessions.info(connection, world.session_id)
    assert (info.message_count, info.tool_call_count, info.last_seq) == (2, 1, 5)


def test_the_windows_that_show_a_session_keep_the_time_at_which_they_came(connection: Connection, world: World) -> None:
    later = NOW + timedelta(seconds=1)
    sessions.set_active_users(connection, world.session_id, ["one"], NOW)
    sessions.set_active_users(connection, world.session_id, ["one", "two"], later)
    stored = connection.exec_driver_sql("SELECT active_users FROM sessions").scalar_one()
    came, seen = 1795262400123456, 1795262401123456
    assert stored == (
        f'[{{"user_id":"one","joined_at":{came},"last_seen":{seen}}},'
        f'{{"user_id":"two","joined_at":{seen},"last_seen":{seen}}}]'
    )
