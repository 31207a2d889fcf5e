"""Sessions: the append-only series of a task's events, numbered without gaps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, bindparam, insert, select, update
from sqlalchemy import Connection as Connection

from agentpane.clock import from_micros, to_micros
from agentpane.db.columns import encode_json
from agentpane.db.references import new_id
from agentpane.db.schema import SessionTable, TaskTable
from agentpane.domain.ids import AgentId, RunId, SessionId, TaskId
from agentpane.domain.sessions import EVENT_LIMIT, EventKind, NewEvent, SessionEvent
from agentpane.errors import AgentPaneError, ErrorCode

_S = SessionTable
_MESSAGES = frozenset({EventKind.TEXT, EventKind.USER_MESSAGE, EventKind.ANSWER})

# Events are by far the most numerous rows: they go straight to the driver, many in one statement, which
# takes SQLite three fifths of the time that it takes for a statement each.
_INSERT = "INSERT INTO session_events (session_id, seq, at, kind, turn, run_id, data) VALUES "
_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_ROWS_AT_ONCE = 100
_KINDS = {kind: kind.value for kind in EventKind}
_GROW = (
    "UPDATE sessions SET last_seq = last_seq + ?, message_count = message_count + ?,"
    " tool_call_count = tool_call_count + ?, updated_at = ? WHERE id = ? AND is_active RETURNING last_seq"
)
_READ = (
    "SELECT seq, at, kind, turn, run_id, data FROM session_events WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?"
)


_WANTED: BindParameter[Any] = bindparam("wanted")
_OF_TASK = select(_S.id).where(_S.task_id == _WANTED)
_TASK = select(TaskTable.project_id, TaskTable.title).where(TaskTable.id == _WANTED)
_UPDATE = update(_S).where(_S.id == _WANTED)
_INFO = select(
    _S.id, _S.task_id, _S.title, _S.url, _S.is_active, _S.last_seq, _S.message_count, _S.tool_call_count
).where(_S.id == _WANTED)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    id: SessionId
    task_id: TaskId | None
    title: str
    url: str
    is_active: bool
    last_seq: int
    message_count: int
    tool_call_count: int


def open_for_task(connection: Connection, task_id: TaskId, agent_id: AgentId | None, at: datetime) -> SessionId:
    """The task's session, made if it has none and opened again if it was closed."""
    found = connection.execute(_OF_TASK, {"wanted": task_id}).scalar_one_or_none()
    if found is not None:
        reopened = {"agent_id": agent_id, "is_active": True, "closed_at": None, "updated_at": at}
        connection.execute(_UPDATE, {"wanted": found, **reopened})
        return SessionId(found)
    task = connection.execute(_TASK, {"wanted": task_id}).one()
    session_id = SessionId(new_id())
    connection.execute(
        insert(_S),
        {
            "id": session_id,
            "project_id": task.project_id,
            "task_id": task_id,
            "agent_id": agent_id,
            "title": task.title,
            "url": f"agentpane://session/{session_id}",
            "created_at": at,
            "updated_at": at,
        },
    )
    return session_id


def append(connection: Connection, session_id: SessionId, events: Sequence[NewEvent]) -> tuple[SessionEvent, ...]:
    """Store events after the newest one, in order, and return them with their numbers.

    Raises AgentPaneError with SESSION_NOT_FOUND or SESSION_CLOSED, and ValueError for an event that is too long;
    then none of them is stored.
    """
    if not events:
        return ()
    last = _grow(connection, session_id, events)
    stored = tuple(
        SessionEvent(seq, event.at, event.kind, event.turn, event.run_id, event.data)
        for seq, event in enumerate(events, last - len(events) + 1)
    )
    for start in range(0, len(stored), _ROWS_AT_ONCE):
        rows = stored[start : start + _ROWS_AT_ONCE]
        connection.exec_driver_sql(_insert_of(len(rows)), _values(session_id, rows))
    return stored


def read(connection: Connection, session_id: SessionId, after: int, limit: int) -> tuple[SessionEvent, ...]:
    """At most `limit` events after number `after`, in order."""
    found = connection.exec_driver_sql(_READ, (session_id, after, limit))
    return tuple(
        SessionEvent(seq, from_micros(at), EventKind(kind), turn, run_id and RunId(run_id), json.loads(data))
        for seq, at, kind, turn, run_id, data in found
    )


def last_seq(connection: Connection, session_id: SessionId) -> int:
    """The number of the newest event; 0 if there is none yet."""
    return info(connection, session_id).last_seq


def info(connection: Connection, session_id: SessionId) -> SessionInfo:
    """Raises AgentPaneError with SESSION_NOT_FOUND."""
    found = connection.execute(_INFO, {"wanted": session_id}).one_or_none()
    if found is None:
        raise _not_found(session_id)
    return SessionInfo(
        id=SessionId(found.id),
        task_id=None if found.task_id is None else TaskId(found.task_id),
        title=found.title or "",
        url=found.url,
        is_active=found.is_active,
        last_seq=found.last_seq,
        message_count=found.message_count,
        tool_call_count=found.tool_call_count,
    )


def close(connection: Connection, session_id: SessionId, at: datetime) -> None:
    """Refuse further events. What is there can be read for ever."""
    closed = {"is_active": False, "closed_at": at, "updated_at": at}
    if connection.execute(_UPDATE, {"wanted": session_id, **closed}).rowcount == 0:
        raise _not_found(session_id)


def set_active_users(connection: Connection, session_id: SessionId, users: Sequence[str], at: datetime) -> None:
    """The windows that show the session now; who was there before keeps the time at which it came."""
    found = connection.execute(select(_S.active_users).where(_S.id == session_id)).scalar_one_or_none()
    if found is None:
        raise _not_found(session_id)
    joined = {user.user_id: user.joined_at for user in found}
    now = to_micros(at)
    present = [{"user_id": user, "joined_at": joined.get(user, now), "last_seen": now} for user in users]
    connection.execute(_UPDATE, {"wanted": session_id, "active_users": present})


def _grow(connection: Connection, session_id: SessionId, events: Sequence[NewEvent]) -> int:
    """Count the events in; returns the number of the last of them."""
    kinds = [event.kind for event in events]
    messages = sum(kind in _MESSAGES for kind in kinds)
    counted = (len(kinds), messages, kinds.count(EventKind.TOOL_CALL), to_micros(events[-1].at), session_id)
    last = connection.exec_driver_sql(_GROW, counted).scalar_one_or_none()
    if last is not None:
        return int(last)
    info(connection, session_id)  # says so if there is no such session
    raise AgentPaneError(
        ErrorCode.SESSION_CLOSED,
        "The session is closed.",
        hint="It can be read and exported. Nothing has been stored.",
        details={"session": session_id},
    )


@cache
def _insert_of(rows: int) -> str:
    return _INSERT + ", ".join([_ROW] * rows)


def _values(session_id: SessionId, events: Sequence[SessionEvent]) -> tuple[Any, ...]:
    """The parameters of `_insert_of`: the values of one row after those of the other."""
    values: list[Any] = []
    for event in events:
        data = encode_json(event.data)
        if len(data) > EVENT_LIMIT // 4 and len(data.encode()) > EVENT_LIMIT:
            raise ValueError(f"an event of {len(data):,} characters: long outputs are stored beside the database")
        kind = _KINDS[event.kind]
        values += (session_id, event.seq, to_micros(event.at), kind, event.turn, event.run_id, data)
    return tuple(values)


def _not_found(session_id: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.SESSION_NOT_FOUND,
        f"There is no session “{session_id}”.",
        hint="A task has a session from its first run on.",
        details={"session": session_id},
    )
