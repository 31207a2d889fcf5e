"""The audit log cannot be changed, shortened or reordered without its verification saying where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from agentpane.db import audit
from agentpane.domain.audit import GENESIS, AuditRecord, ToolStatus, entry_hash
from agentpane.domain.json import JsonObject

from .conftest import NOW


def _record(number: int = 0, project: str = "p", at: datetime = NOW, given: JsonObject | None = None) -> AuditRecord:
    return AuditRecord(
        project_id=project,
        agent_id="agent",
        agent_run_id="run",
        task_id="task",
        tool="Bash",
        status=ToolStatus.COMPLETE,
        input={"command": f"ls {number}"} if given is None else given,
        output={"code": 0},
        error=None,
        duration_ms=5,
        turn=number,
        at=at,
        actor="agent",
    )


def _fill(connection: Connection, count: int = 6) -> None:
    audit.append(connection, [_record(number) for number in range(count)])


def test_entries_are_numbered_in_their_project_and_chained(connection: Connection) -> None:
    first = audit.append(connection, [_record(1, "p"), _record(1, "q"), _record(2, "p")])
    (last,) = audit.append(connection, [_record(3, "p")])
    assert [(entry.record.project_id, entry.number) for entry in first] == [("p", 1), ("q", 1), ("p", 2)]
    assert [first[0].previous_hash, first[1].previous_hash] == [GENESIS, GENESIS]
    assert (first[2].previous_hash, last.previous_hash) == (first[0].hash, first[2].hash)
    assert audit.read(connection, "p", 0, 10) == (first[0], first[2], last)
    assert audit.read(connection, "p", 1, 1) == (first[2],)
    verdict = audit.verify(connection)
    assert (verdict.ok, verdict.entries, verdict.first_bad) == (True, 4, None)


def test_what_is_read_again_has_the_hash_that_was_given(connection: Connection) -> None:
    odd: JsonObject = {"path": "odd\udcff", "pair": (1, 2), "float": 0.1, "ü": None}
    east = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    record = AuditRecord(
        "p", None, None, None, "To\udcffol", ToolStatus.ERROR, odd, None, "bad \ud800", None, 0, east, "x"
    )
    (made,) = audit.append(connection, [record])
    (found,) = audit.read(connection, "p", 0, 1)
    assert found == made
    assert found.record.at == east and found.record.at.tzinfo is UTC
    assert found.record.error == "bad \\ud800"
    assert found.hash == entry_hash(found.number, found.id, found.record, GENESIS)
    assert audit.verify(connection).ok


def test_an_entry_is_never_changed_or_deleted_through_the_file_as_it_is(connection: Connection) -> None:
    _fill(connection)
    for statement in ("UPDATE audit_logs SET actor = 'nobody'", "DELETE FROM audit_logs WHERE number = 1"):
        with pytest.raises(IntegrityError):
            connection.exec_driver_sql(statement)


def _unlocked(connection: Connection) -> None:
    for trigger in ("audit_logs_immutable", "audit_logs_kept"):
        connection.exec_driver_sql(f"DROP TRIGGER {trigger}")


def _sql(*statements: str) -> Callable[[Connection], None]:
    def tamper(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    return tamper


def _forge_a_whole_entry(connection: Connection) -> None:
    """Change an entry and its own hash with it: the next one's link gives it away."""
    entry = audit.read(connection, "p", 2, 1)[0]
    forged = entry_hash(entry.number, entry.id, _record(99), entry.previous_hash)
    connection.exec_driver_sql(
        'UPDATE audit_logs SET input = \'{"command":"ls 99"}\', turn_number = 99, hash = ? WHERE number = 3', (forged,)
    )


TAMPERING: Sequence[tuple[str, Callable[[Connection], None], int, str]] = [
    ("a changed input", _sql("UPDATE audit_logs SET input = '{}' WHERE number = 3"), 3, "changed"),
    ("a changed actor", _sql("UPDATE audit_logs SET actor = 'person' WHERE number = 1"), 1, "changed"),
    ("a changed time", _sql("UPDATE audit_logs SET timestamp = timestamp + 1 WHERE number = 6"), 6, "changed"),
    ("a changed status", _sql("UPDATE audit_logs SET status = 'error' WHERE number = 2"), 2, "changed"),
    ("an input that is no JSON", _sql("UPDATE audit_logs SET input = '{' WHERE number = 2"), 2, "changed"),
    ("a forged entry", _forge_a_whole_entry, 4, "does not follow"),
    ("a missing entry", _sql("DELETE FROM audit_logs WHERE number = 3"), 3, "missing"),
    ("a missing beginning", _sql("DELETE FROM audit_logs WHERE number = 1"), 1, "missing"),
    (
        "two entries in each other's place",
        _sql(
            "UPDATE audit_logs SET number = 100 WHERE number = 2",
            "UPDATE audit_logs SET number = 2 WHERE number = 3",
            "UPDATE audit_logs SET number = 3 WHERE number = 100",
        ),
        2,
        "changed",
    ),
    ("a cut tail", _sql("DELETE FROM audit_logs WHERE number > 4"), 5, "end are missing"),
    ("a log that is gone", _sql("DELETE FROM audit_logs"), 1, "end are missing"),
    ("a forgotten head", _sql("DELETE FROM audit_heads"), 1, "after the recorded end"),
    ("a head set back", _sql("UPDATE audit_heads SET number = 5"), 6, "after the recorded end"),
    ("another head", _sql("UPDATE audit_heads SET hash = 'f'"), 6, "disagrees"),
    (
        "a beginning cut with a seal that nobody entered",
        _sql(
            "DELETE FROM audit_logs WHERE number <= 2",
            "UPDATE audit_heads SET sealed_number = 2,"
            " sealed_hash = (SELECT previous_hash FROM audit_logs WHERE number = 3)",
        ),
        2,
        "without a seal",
    ),
]


@pytest.mark.parametrize(
    ("tamper", "number", "what"), [one[1:] for one in TAMPERING], ids=[one[0] for one in TAMPERING]
)
def test_the_verification_finds(
    connection: Connection, tamper: Callable[[Connection], None], number: int, what: str
) -> None:
    audit.append(connection, [_record(project="a project before it")])
    _fill(connection)
    connection.exec_driver_sql("CREATE TEMP TABLE others AS SELECT * FROM audit_heads WHERE project_id <> 'p'")
    others = connection.exec_driver_sql("SELECT * FROM audit_logs WHERE project_id <> 'p'").all()
    _unlocked(connection)
    connection.exec_driver_sql("DELETE FROM audit_logs WHERE project_id <> 'p'")
    connection.exec_driver_sql("DELETE FROM audit_heads WHERE project_id <> 'p'")
    tamper(connection)
    connection.exec_driver_sql("INSERT INTO audit_heads SELECT * FROM others")
    for row in others:
        connection.exec_driver_sql(f"INSERT INTO audit_logs VALUES ({', '.join('?' * len(row))})", tuple(row))
    verdict = audit.verify(connection)
    assert not verdict.ok
    assert verdict.first_bad is not None
    assert (verdict.first_bad.project_id, verdict.first_bad.number) == ("p", number)
    assert what in verdict.first_bad.what


def test_a_long_chain_is_followed_page_by_page(connection: Connection) -> None:
    _fill(connection, 2_500)
    assert audit.verify(connection).entries == 2_500


@pytest.mark.parametrize(
    ("keep_days", "keep_entries", "left"), [(90, 4, 4), (3, 100, 3), (3, 2, 2), (90, 100, 10), (0, 100, 0)]
)
def test_the_oldest_entries_go_under_a_seal_and_the_rest_still_verifies(
    connection: Connection, keep_days: int, keep_entries: int, left: int
) -> None:
    audit.append(connection, [_record(day, at=NOW + timedelta(days=day)) for day in range(1, 11)])
    audit.append(connection, [_record(1, "other project")])
    now = NOW + timedelta(days=11)
    gone = audit.prune(connection, "p", keep_days, keep_entries, now)
    assert gone == 10 - left
    entries = audit.read(connection, "p", 0, 100)
    sealed = 1 if gone else 0
    assert [entry.number for entry in entries] == list(range(gone + 1, 11 + sealed))
    verdict = audit.verify(connection)
    assert (verdict.ok, verdict.entries) == (True, left + sealed + 1)
    if gone:
        assert entries[-1].record.tool == audit.PRUNED
        assert entries[-1].record.input["through"] == gone
    audit.append(connection, [_record(11, at=now)])
    assert audit.verify(connection).ok


def test_pruning_twice_leaves_one_chain(connection: Connection) -> None:
    _fill(connection, 10)
    assert audit.prune(connection, "p", 90, 5, NOW) == 5
    assert audit.prune(connection, "p", 90, 3, NOW) == 3
    assert audit.prune(connection, "p", 90, 5, NOW) == 0
    assert audit.verify(connection).ok
    _unlocked(connection)
    connection.exec_driver_sql("DELETE FROM audit_logs WHERE number = 9")
    assert not audit.verify(connection).ok
