"""Recovery snapshots: where they are, what they came from, and until when they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection as Connection
from sqlalchemy import delete, insert, literal_column, select, update

from agentpane.db.references import AnySelect, by_prefix, new_id
from agentpane.db.schema import RecoveryTable
from agentpane.domain.ids import ProjectId
from agentpane.domain.limits import invalid
from agentpane.domain.recoveries import RecoveryId, RecoverySnapshot

_R = RecoveryTable
_COLUMNS = (
    "id",
    "project_id",
    "task_id",
    "ref",
    "sha",
    "reason",
    "size_bytes",
    "created_at",
    "expires_at",
    "files",
    "title",
    "project",
    "repository",
    "branch",
    "base_branch",
    "base_sha",
    "parent",
    "copied",
    "beside",
)
_HINT = "`agentpane recovery list` shows what there is. Nothing has changed."


def fresh_id() -> RecoveryId:
    """An id for a snapshot that is to be made; its ref carries it too."""
    return RecoveryId(new_id())


def add(connection: Connection, new: RecoverySnapshot) -> RecoverySnapshot:
    """Record a snapshot whose ref is there."""
    connection.execute(insert(_R).values({name: getattr(new, name) for name in _COLUMNS}))
    return get(connection, new.id)


def get(connection: Connection, recovery_id: RecoveryId) -> RecoverySnapshot:
    """Raises AgentPaneError with VALIDATION_ERROR if there is none."""
    row = connection.execute(_recoveries().where(_R.id == recovery_id)).one_or_none()
    if row is None:
        raise invalid("recovery", f"There is no recovery snapshot “{recovery_id}”.", _HINT)
    return RecoverySnapshot(*row)


def resolve(connection: Connection, ref: str) -> RecoveryId:
    """The snapshot that an id or a unique beginning of one means."""
    recovery_id = by_prefix(connection, "recovery", _R.id, ref)
    if recovery_id is None:
        raise invalid("recovery", f"There is no recovery snapshot “{ref}”.", _HINT)
    return RecoveryId(recovery_id)


def everything(connection: Connection) -> tuple[RecoverySnapshot, ...]:
    """The snapshots of all projects, those that are gone among them, newest first."""
    return _found(connection, _recoveries())


def for_project(connection: Connection, project_id: ProjectId) -> tuple[RecoverySnapshot, ...]:
    """The snapshots of a project, newest first."""
    return _found(connection, _recoveries().where(_R.project_id == project_id))


def ending(connection: Connection, now: datetime, within: timedelta) -> tuple[RecoverySnapshot, ...]:
    """The snapshots that are kept yet, but not beyond this span, newest first."""
    return _found(connection, _recoveries().where(_R.expires_at > now, _R.expires_at <= now + within))


def expired(connection: Connection, now: datetime) -> tuple[RecoverySnapshot, ...]:
    """The snapshots whose time is over, and of which somebody has been told that it ends."""
    over = _recoveries().where(_R.expires_at <= now, _R.noticed_at.is_not(None))
    return tuple(RecoverySnapshot(*row) for row in connection.execute(over.order_by(_R.expires_at)))


def any_unnoticed(connection: Connection, now: datetime, within: timedelta) -> bool:
    """Whether the time of one is over, or ends within this span, and nobody has been told."""
    asked = select(_R.id).where(_R.expires_at <= now + within, _R.noticed_at.is_(None)).limit(1)
    return connection.execute(asked).one_or_none() is not None


def put_off(connection: Connection, now: datetime, by: timedelta) -> None:
    """Give those whose time is over, though nobody has been told, this much more."""
    late = update(_R).where(_R.expires_at <= now, _R.noticed_at.is_(None))
    connection.execute(late.values(expires_at=now + by))


def notice(connection: Connection, now: datetime, span: timedelta, ids: Sequence[RecoveryId] | None = None) -> None:
    """Somebody is told of what ends within this span: it goes after it, and not before.

    ids: those that are spoken of; None: all that `ending` finds.
    """
    those = _R.expires_at > now if ids is None else _R.id.in_(ids)
    told = update(_R).where(those, _R.expires_at <= now + span, _R.noticed_at.is_(None))
    connection.execute(told.values(noticed_at=now, expires_at=now + span))


def remove(connection: Connection, recovery_id: RecoveryId) -> None:
    """Forget a snapshot whose ref is gone."""
    connection.execute(delete(_R).where(_R.id == recovery_id))


def _found(connection: Connection, wanted: AnySelect) -> tuple[RecoverySnapshot, ...]:
    rows = connection.execute(wanted.order_by(_R.created_at.desc(), literal_column("rowid").desc()))
    return tuple(RecoverySnapshot(*row) for row in rows)


def _recoveries() -> AnySelect:
    return select(*(getattr(_R, name) for name in _COLUMNS))
