"""The audit log: appended to, read, verified, and pruned from its oldest end under a seal.

Each project has a chain of its own. Where a chain ends is kept in a second table, so that a cut tail is
found; where pruning has cut its beginning stands there too, and in the chain itself as an entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection as Connection
from sqlalchemy import delete, func, select, update

from agentpane.clock import from_micros, to_micros
from agentpane.db.columns import encode_json, storable
from agentpane.db.references import new_id
from agentpane.db.schema import AuditHeadTable, AuditTable
from agentpane.domain.audit import (
    GENESIS,
    AuditEntry,
    AuditFault,
    AuditRecord,
    AuditVerdict,
    ToolStatus,
    entry_hash,
)

PRUNED = "audit.prune"  # the act under which a seal is entered
_PAGE = 1_000
_A = AuditTable
_H = AuditHeadTable

_COLUMNS = (
    "id, number, project_id, agent_id, agent_run_id, task_id, tool, status, input, output, error, duration,"
    " turn_number, timestamp, actor, previous_hash, hash"
)
_INSERT = f"INSERT INTO audit_logs ({_COLUMNS}) VALUES ({', '.join('?' * 17)})"
_READ = f"SELECT {_COLUMNS} FROM audit_logs WHERE project_id = ? AND number > ? ORDER BY number LIMIT ?"
_HEAD_OF = "SELECT number, hash, sealed_number, sealed_hash FROM audit_heads WHERE project_id = ?"
_HEAD = (
    "INSERT INTO audit_heads (project_id, number, hash, updated_at) VALUES (?, ?, ?, ?) ON CONFLICT (project_id)"
    " DO UPDATE SET number = excluded.number, hash = excluded.hash, updated_at = excluded.updated_at"
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends, and up to where it has been pruned."""

    number: int = 0
    hash: str = GENESIS
    sealed_number: int = 0
    sealed_hash: str = GENESIS


def append(connection: Connection, records: Sequence[AuditRecord]) -> tuple[AuditEntry, ...]:
    """Enter records, in order, each at the end of its project's chain."""
    heads: dict[str, Head] = {}
    entries = []
    for record in records:
        head = heads.get(record.project_id) or head_of(connection, record.project_id)
        entry = _chained(head, _as_stored(record))
        heads[record.project_id] = replace(head, number=entry.number, hash=entry.hash)
        entries.append(entry)
    if entries:
        connection.exec_driver_sql(_INSERT, [_as_row(entry) for entry in entries])
        at = to_micros(entries[-1].record.at)
        connection.exec_driver_sql(_HEAD, [(project, head.number, head.hash, at) for project, head in heads.items()])
    return tuple(entries)


def read(connection: Connection, project_id: str, after: int, limit: int) -> tuple[AuditEntry, ...]:
    """At most `limit` entries of a project after number `after`, in order."""
    found = connection.exec_driver_sql(_READ, (project_id, after, limit))
    return tuple(_entry(tuple(row)) for row in found)


def head_of(connection: Connection, project_id: str) -> Head:
    row = connection.exec_driver_sql(_HEAD_OF, (project_id,)).one_or_none()
    return Head() if row is None else Head(*row)


def projects(connection: Connection) -> tuple[str, ...]:
    """The ids of all projects that the log tells of, purged ones too."""
    found = connection.execute(select(_H.project_id).union(select(_A.project_id))).scalars()
    return tuple(sorted(found))


def verify(connection: Connection) -> AuditVerdict:
    """Follow every chain from its beginning or seal to its head.

    Finds an entry that was changed, is missing, stands in another place or was added, a cut tail, and a head
    that disagrees. Returns the first fault.
    """
    checked = 0
    for project_id in projects(connection):
        count, fault = _verify_project(connection, project_id)
        checked += count
        if fault is not None:
            return AuditVerdict(False, checked, fault)
    return AuditVerdict(True, checked, None)


def prune(connection: Connection, project_id: str, keep_days: int, keep_entries: int, at: datetime) -> int:
    """Delete the entries that are older than `keep_days`, and the oldest beyond `keep_entries`. Returns how many went.

    A seal with the number and hash of the last one that goes is entered first, so that the rest still verifies.
    """
    head = head_of(connection, project_id)
    oldest_day = at - timedelta(days=keep_days)
    young = select(func.min(_A.number)).where(_A.project_id == project_id, _A.timestamp >= oldest_day)
    first_young = connection.execute(young).scalar_one() or head.number + 1
    through = max(first_young - 1, head.number - keep_entries)
    if through <= head.sealed_number:
        return 0
    sealed_hash = connection.execute(
        select(_A.hash).where(_A.project_id == project_id, _A.number == through)
    ).scalar_one()
    append(connection, (_seal(project_id, through, sealed_hash, at),))
    sealed = update(_H).where(_H.project_id == project_id)
    connection.execute(sealed.values(sealed_number=through, sealed_hash=sealed_hash))
    gone = connection.execute(delete(_A).where(_A.project_id == project_id, _A.number <= through))
    return gone.rowcount


def _verify_project(connection: Connection, project_id: str) -> tuple[int, AuditFault | None]:
    head = head_of(connection, project_id)
    number, previous, count = head.sealed_number, head.sealed_hash, 0
    seal: AuditRecord | None = None
    for row in _walk(connection, project_id):
        number += 1
        try:
            entry = _entry(row)
            record = entry.record
            sound = entry.hash == entry_hash(entry.number, entry.id, record, entry.previous_hash)
        except ValueError:
            return count, AuditFault(project_id, number, "the entry has been changed")
        if entry.number != number:
            what = "an entry is missing" if entry.number > number else "an entry was added"
            return count, AuditFault(project_id, number, what)
        if not sound:
            return count, AuditFault(project_id, number, "the entry has been changed")
        if entry.previous_hash != previous:
            return count, AuditFault(project_id, number, "the entry does not follow the one before it")
        previous = entry.hash
        count += 1
        if record.tool == PRUNED:
            seal = record
    if number != head.number:
        what = "entries at the end are missing" if number < head.number else "there are entries after the recorded end"
        return count, AuditFault(project_id, min(number, head.number) + 1, what)
    if previous != head.hash:
        return count, AuditFault(project_id, number, "the recorded end disagrees with the last entry")
    return count, _seal_fault(project_id, head, seal)


def _seal_fault(project_id: str, head: Head, seal: AuditRecord | None) -> AuditFault | None:
    if head.sealed_number == 0:
        return None
    if seal is None or (seal.input.get("through"), seal.input.get("hash")) != (head.sealed_number, head.sealed_hash):
        return AuditFault(project_id, head.sealed_number, "entries at the beginning are missing without a seal")
    return None


def _walk(connection: Connection, project_id: str) -> Iterator[tuple[Any, ...]]:
    # Ordered by number with no lower bound, so that an entry smuggled in below the seal is met too.
    after = -(2**62)
    while True:
        page = connection.exec_driver_sql(_READ, (project_id, after, _PAGE)).all()
        for row in page:
            yield tuple(row)
        if len(page) < _PAGE:
            return
        after = page[-1][1]


def _seal(project_id: str, through: int, sealed_hash: str, at: datetime) -> AuditRecord:
    return AuditRecord(
        project_id=project_id,
        agent_id=None,
        agent_run_id=None,
        task_id=None,
        tool=PRUNED,
        status=ToolStatus.COMPLETE,
        input={"through": through, "hash": sealed_hash},
        output=None,
        error=None,
        duration_ms=None,
        turn=0,
        at=at,
        actor="engine",
    )


def _as_stored(record: AuditRecord) -> AuditRecord:
    """The record as it will be read again, so that its hash can be computed anew."""
    return replace(
        record,
        tool=storable(record.tool),
        actor=storable(record.actor),
        error=None if record.error is None else storable(record.error),
        input=json.loads(encode_json(record.input)),
        output=None if record.output is None else json.loads(encode_json(record.output)),
        at=record.at.astimezone(UTC),
    )


def _chained(head: Head, record: AuditRecord) -> AuditEntry:
    number, entry_id = head.number + 1, new_id()
    return AuditEntry(entry_id, number, record, head.hash, entry_hash(number, entry_id, record, head.hash))


def _as_row(entry: AuditEntry) -> tuple[Any, ...]:
    record = entry.record
    return (
        entry.id,
        entry.number,
        record.project_id,
        record.agent_id,
        record.agent_run_id,
        record.task_id,
        record.tool,
        record.status.value,
        encode_json(record.input),
        None if record.output is None else encode_json(record.output),
        record.error,
        record.duration_ms,
        record.turn,
        to_micros(record.at),
        record.actor,
        entry.previous_hash,
        entry.hash,
    )


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    (entry_id, number, project, agent, run, task, tool, status, given, output, error, duration, turn, at) = row[:14]
    actor, previous_hash, own_hash = row[14:]
    record = AuditRecord(
        project_id=project,
        agent_id=agent,
        agent_run_id=run,
        task_id=task,
        tool=tool,
        status=ToolStatus(status),
        input=json.loads(given),
        output=None if output is None else json.loads(output),
        error=error,
        duration_ms=duration,
        turn=turn,
        at=from_micros(at),
        actor=actor,
    )
    return AuditEntry(entry_id, number, record, previous_hash, own_hash)
