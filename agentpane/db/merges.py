"""The journal of merges: what is about to move is written down first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import and_, insert, literal_column, or_, select, update

from agentpane.db.references import AnySelect, new_id
from agentpane.db.schema import MergeTable
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.merges import MergeId, MergeKind, MergeRecord, MergeState
from agentpane.domain.review import MergeStrategy

_M = MergeTable
_OPEN = (MergeState.INTENT, MergeState.NEEDS_PERSON)


@dataclass(frozen=True, slots=True)
class NewMerge:
    """`target`: the branch that moves from `old_sha` to `new_sha`; `checkout`: where it is checked out, if anywhere."""

    task_id: TaskId
    project_id: ProjectId
    target: str
    old_sha: str
    new_sha: str
    reviewed_sha: str
    strategy: str
    checkout: str | None
    approved_by: str | None = None
    kind: MergeKind = MergeKind.MERGE


def intend(connection: Connection, new: NewMerge, at: datetime) -> MergeId:
    merge_id = MergeId(new_id())
    connection.execute(
        insert(_M).values(
            id=merge_id,
            project_id=new.project_id,
            task_id=new.task_id,
            strategy=MergeStrategy(new.strategy),
            target_ref=new.target,
            old_sha=new.old_sha,
            new_sha=new.new_sha,
            reviewed_sha=new.reviewed_sha,
            checkout_path=new.checkout,
            approved_by=new.approved_by,
            kind=new.kind,
            started_at=at,
        )
    )
    return merge_id


def finish(connection: Connection, merge_id: str, state: str, at: datetime) -> None:
    """Say how a merge ended: `done`, `rolled_back`, or `needs_person`."""
    connection.execute(update(_M).where(_M.id == merge_id).values(state=MergeState(state), finished_at=at))


def close(connection: Connection, task_id: TaskId, at: datetime) -> None:
    """Put an end to what is still open of a task's merges: another act has settled what they were about."""
    of_task = update(_M).where(_M.task_id == task_id, _M.state.in_(_OPEN))
    connection.execute(of_task.values(state=MergeState.ROLLED_BACK, finished_at=at))


def get(connection: Connection, merge_id: str) -> MergeRecord:
    return MergeRecord(*connection.execute(_merges().where(_M.id == merge_id)).one())


def unfinished(connection: Connection, task_id: TaskId | None = None) -> tuple[MergeRecord, ...]:
    """The merges, of one task or of all, of which nobody wrote down how they ended, oldest first."""
    query = _merges().where(_M.state == MergeState.INTENT)
    return _all(connection, query if task_id is None else query.where(_M.task_id == task_id))


def unsettled(connection: Connection) -> tuple[MergeRecord, ...]:
    """Those, and the ones that were cut off and that only a person can settle, oldest first."""
    return _all(connection, _merges().where(_M.state.in_(_OPEN)))


def open_at(
    connection: Connection,
    project_id: ProjectId,
    target: str,
    checkout: str | None = None,
    besides: Collection[MergeId] = (),
) -> tuple[MergeRecord, ...]:
    """Those of a project's branch, or of any in that checkout, `besides` these ones; oldest first."""
    here = and_(_M.project_id == project_id, _M.target_ref == target)
    place = here if checkout is None else or_(here, _M.checkout_path == checkout)
    return _all(connection, _merges().where(_M.state.in_(_OPEN), place, _M.id.not_in(besides)))


def for_task(connection: Connection, task_id: TaskId) -> tuple[MergeRecord, ...]:
    """The merges of a task, oldest first."""
    return _all(connection, _merges().where(_M.task_id == task_id))


def _all(connection: Connection, query: AnySelect) -> tuple[MergeRecord, ...]:
    rows = connection.execute(query.order_by(_M.started_at, literal_column("rowid")))
    return tuple(MergeRecord(*row) for row in rows)


def _merges() -> AnySelect:
    return select(
        _M.id,
        _M.project_id,
        _M.task_id,
        _M.strategy,
        _M.target_ref,
        _M.old_sha,
        _M.new_sha,
        _M.reviewed_sha,
        _M.checkout_path,
        _M.approved_by,
        _M.state,
        _M.started_at,
        _M.finished_at,
        _M.kind,
    )
