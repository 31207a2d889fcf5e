"""The snapshots of turns: where they are, and which of them may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import delete, insert, literal_column, or_, select, tuple_

from agentpane.db.references import AnySelect
from agentpane.db.schema import RunTable, TaskTable, TurnTable
from agentpane.domain.ids import RunId, TaskId
from agentpane.domain.keeping import AT_WORK
from agentpane.domain.turns import TurnSnapshot

_T = TurnTable


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn's snapshot with where it is kept. `repository` is the repository's absolute path."""

    run_id: RunId
    turn: int
    task_id: TaskId
    repository: str
    sha: str
    tree: str
    files: int
    added: int
    removed: int
    left_out: tuple[str, ...]
    created_at: datetime

    def value(self) -> TurnSnapshot:
        return TurnSnapshot(
            self.run_id, self.turn, self.sha, self.created_at, self.files, self.added, self.removed, self.left_out
        )


def add(connection: Connection, new: TurnRow) -> None:
    """Record a snapshot whose ref is there, in the place of an earlier one of the same turn."""
    connection.execute(delete(_T).where(_T.run_id == new.run_id, _T.turn == new.turn))
    connection.execute(insert(_T).values({name: getattr(new, name) for name in TurnRow.__slots__}))


def of_task(connection: Connection, task_id: TaskId) -> tuple[TurnRow, ...]:
    """The snapshots of all runs of a card, oldest first."""
    return _found(connection, _rows().where(_T.task_id == task_id))


def newest(connection: Connection, task_id: TaskId) -> TurnRow | None:
    last = _rows().where(_T.task_id == task_id).order_by(_T.created_at.desc(), literal_column("rowid").desc())
    row = connection.execute(last.limit(1)).one_or_none()
    return None if row is None else TurnRow(*row)


def everything(connection: Connection) -> tuple[TurnRow, ...]:
    return _found(connection, _rows())


def over(connection: Connection, before: datetime) -> tuple[TurnRow, ...]:
    """The snapshots of cards that are gone, and of those that left the board's middle and did not change since."""
    stand = select(TaskTable.column).where(TaskTable.id == _T.task_id).correlate(_T).scalar_subquery()
    last = select(TaskTable.updated_at).where(TaskTable.id == _T.task_id).correlate(_T).scalar_subquery()
    rested = stand.not_in(tuple(AT_WORK)) & (last <= before) & (_T.created_at <= before)
    return _found(connection, _rows().where(or_(stand.is_(None), rested)))


def without_row(connection: Connection, named: Sequence[tuple[str, int]]) -> tuple[tuple[TaskId, str, int], ...]:
    """Of these runs and turns those that have no row, though the run is known; each with its card."""
    known = {(row.run_id, row.turn) for row in connection.execute(select(_T.run_id, _T.turn))}
    missing = [name for name in named if name not in known]
    asked = select(RunTable.id, RunTable.task_id).where(RunTable.id.in_({run_id for run_id, _ in missing}))
    cards = {row.id: row.task_id for row in connection.execute(asked) if row.task_id is not None}
    return tuple((TaskId(cards[run_id]), run_id, turn) for run_id, turn in missing if run_id in cards)


def remove(connection: Connection, gone: Sequence[TurnRow]) -> None:
    """Forget snapshots whose refs are gone."""
    names = [(row.run_id, row.turn) for row in gone]
    if names:
        connection.execute(delete(_T).where(tuple_(_T.run_id, _T.turn).in_(names)))


def _found(connection: Connection, wanted: AnySelect) -> tuple[TurnRow, ...]:
    rows = connection.execute(wanted.order_by(_T.created_at, literal_column("rowid")))
    return tuple(TurnRow(*row) for row in rows)


def _rows() -> AnySelect:
    return select(*(getattr(_T, name) for name in TurnRow.__slots__))
