"""What decides about the refs of runs: which runs there are, and where their cards stand."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection as Connection
from sqlalchemy import select

from agentpane.db.schema import ProjectTable, RunTable, TaskTable
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.keeping import CardStand

_R, _T = RunTable, TaskTable
_AT_ONCE = 500


def repositories(connection: Connection) -> tuple[str, ...]:
    """The repositories of all projects, archived ones too."""
    return tuple(connection.execute(select(ProjectTable.path).distinct()).scalars())


def cards_of(connection: Connection, runs: Collection[str]) -> dict[str, TaskId | None]:
    """The card of each of these runs that is known; None where the card is deleted."""
    found: dict[str, TaskId | None] = {}
    asked = sorted(runs)
    for start in range(0, len(asked), _AT_ONCE):
        rows = connection.execute(select(_R.id, _R.task_id).where(_R.id.in_(asked[start : start + _AT_ONCE])))
        found |= {row.id: None if row.task_id is None else TaskId(row.task_id) for row in rows}
    return found


def of_project(connection: Connection, project_id: ProjectId) -> frozenset[str]:
    """All runs of a project."""
    return frozenset(connection.execute(select(_R.id).where(_R.project_id == project_id)).scalars())


def stand(connection: Connection, task_id: TaskId | None) -> CardStand | None:
    """None when there is no such card."""
    columns = select(_T.column, _T.archived_at, _T.updated_at, _T.snapshot).where(_T.id == task_id)
    row = connection.execute(columns).one_or_none()
    return None if row is None else CardStand(row.column, row.archived_at is not None, row.updated_at, row.snapshot)
