"""Recovery snapshots: where they are, and until when they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection as Connection
from sqlalchemy import delete, insert, literal_column, select

from agentpane.db.references import AnySelect, by_prefix
from agentpane.db.schema import RecoveryTable
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.limits import invalid
from agentpane.domain.recoveries import RecoveryId, RecoverySnapshot

KEPT = timedelta(days=30)
_R = RecoveryTable


@dataclass(frozen=True, slots=True)
class NewRecovery:
    id: RecoveryId
    project_id: ProjectId
    task_id: TaskId | None
    ref: str
    sha: str
    reason: str
    size_bytes: int = 0
    kept: timedelta = KEPT


def add(connection: Connection, new: NewRecovery, at: datetime) -> RecoverySnapshot:
    connection.execute(
        insert(_R).values(
            id=new.id,
            project_id=new.project_id,
            task_id=new.task_id,
            ref=new.ref,
            sha=new.sha,
            reason=new.reason,
            size_bytes=new.size_bytes,
            created_at=at,
            expires_at=at + new.kept,
        )
    )
    return get(connection, new.id)


def get(connection: Connection, recovery_id: RecoveryId) -> RecoverySnapshot:
    """Raises AgentPaneError with VALIDATION_ERROR if there is none."""
    row = connection.execute(_recoveries().where(_R.id == recovery_id)).one_or_none()
    if row is None:
        raise invalid("recovery", f"There is no recovery snapshot “{recovery_id}”.")
    return RecoverySnapshot(*row)


def resolve(connection: Connection, ref: str) -> RecoveryId:
    """The snapshot that an id or a unique beginning of one means."""
    recovery_id = by_prefix(connection, "recovery", _R.id, ref)
    if recovery_id is None:
        raise invalid("recovery", f"There is no recovery snapshot “{ref}”.")
    return RecoveryId(recovery_id)


def for_project(connection: Connection, project_id: ProjectId) -> tuple[RecoverySnapshot, ...]:
    """The snapshots of a project, newest first."""
    newest = _recoveries().where(_R.project_id == project_id)
    rows = connection.execute(newest.order_by(_R.created_at.desc(), literal_column("rowid").desc()))
    return tuple(RecoverySnapshot(*row) for row in rows)


def expired(connection: Connection, now: datetime) -> tuple[RecoverySnapshot, ...]:
    """The snapshots whose time is over."""
    rows = connection.execute(_recoveries().where(_R.expires_at <= now).order_by(_R.expires_at))
    return tuple(RecoverySnapshot(*row) for row in rows)


def remove(connection: Connection, recovery_id: RecoveryId) -> None:
    """Forget a snapshot whose ref is gone."""
    connection.execute(delete(_R).where(_R.id == recovery_id))


def _recoveries() -> AnySelect:
    return select(
        _R.id,
        _R.project_id,
        _R.task_id,
        _R.ref,
        _R.sha,
        _R.reason,
        _R.size_bytes,
        _R.created_at,
        _R.expires_at,
    )
