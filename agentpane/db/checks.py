"""How the checks of each task stand: one round a task, of its snapshot on one merged tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection as Connection
from sqlalchemy import and_, bindparam, delete, insert, select, update

from agentpane.db.references import AnySelect
from agentpane.db.schema import CheckTable, TaskTable
from agentpane.domain.board import Column
from agentpane.domain.checks import SETTLED, UNDER_WAY, CheckResult, CheckState
from agentpane.domain.ids import ProjectId, TaskId

_C = CheckTable
_RESULT = (_C.name, _C.required, _C.state, _C.exit_code, _C.seconds, _C.tree, _C.finished_at, _C.output)
# What a card shows: a card that has left with another snapshot, or with none, has no checks any more.
_SHOWN = (
    select(_C.task_id, *_RESULT)
    .join(TaskTable, and_(TaskTable.id == _C.task_id, TaskTable.snapshot == _C.snapshot))
    .where(TaskTable.column.in_((Column.WAITING_APPROVAL, Column.VERIFIED)))
    .order_by(_C.task_id, _C.ordinal)
)
_ON_CARD = _SHOWN.where(_C.task_id == bindparam("wanted"))
_ON_CARDS = _SHOWN.where(TaskTable.project_id == bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class Planned:
    """A check of a round. known: what is known of it already; None: it is still to be run."""

    name: str
    required: bool
    digest: str
    known: CheckResult | None


def begin(
    connection: Connection, task_id: TaskId, snapshot: str, tree: str, planned: Sequence[Planned]
) -> tuple[CheckResult, ...]:
    """Store a round in place of the one before."""
    connection.execute(delete(_C).where(_C.task_id == task_id))
    for ordinal, one in enumerate(planned):
        fields: dict[str, object] = {"state": CheckState.PENDING}
        if one.known is not None:
            known = one.known
            fields = {"state": known.state, "exit_code": known.exit_code, "seconds": known.seconds}
            fields |= {"output": known.output, "finished_at": known.at}
        connection.execute(
            insert(_C).values(
                task_id=task_id, ordinal=ordinal, name=one.name, required=one.required, snapshot=snapshot, tree=tree,
                digest=one.digest, **fields,
            )
        )  # fmt: skip
    return of_task(connection, task_id)


def set_result(connection: Connection, task_id: TaskId, result: CheckResult) -> None:
    """Say how a check of the round stands; a round on another tree is left as it is."""
    connection.execute(
        update(_C)
        .where(_C.task_id == task_id, _C.name == result.name, _C.tree == result.tree)
        .values(
            state=result.state,
            exit_code=result.exit_code,
            seconds=result.seconds,
            output=result.output,
            finished_at=result.at,
        )
    )


def of_task(connection: Connection, task_id: TaskId) -> tuple[CheckResult, ...]:
    """The newest round of a task, in the order of its checks."""
    rows = connection.execute(select(*_RESULT).where(_C.task_id == task_id).order_by(_C.ordinal))
    return tuple(CheckResult(*row) for row in rows)


def known(connection: Connection, task_id: TaskId, tree: str) -> Mapping[str, CheckResult]:
    """What the newest round says for good about `tree`, by the checks' digests."""
    settled = (_C.task_id == task_id, _C.tree == tree, _C.state.in_(SETTLED))
    rows = connection.execute(select(_C.digest, *_RESULT).where(*settled))
    return {row[0]: CheckResult(*row[1:]) for row in rows}


def unfinished(connection: Connection) -> tuple[TaskId, ...]:
    """The tasks whose round was not brought to its end."""
    rows = connection.execute(select(_C.task_id).where(_C.state.in_(UNDER_WAY)).distinct())
    return tuple(TaskId(row[0]) for row in rows)


def clear(connection: Connection, task_id: TaskId) -> None:
    connection.execute(delete(_C).where(_C.task_id == task_id))


def shown_on_card(connection: Connection, task_id: TaskId) -> tuple[CheckResult, ...]:
    return _by_task(connection, _ON_CARD, task_id).get(task_id, ())


def shown_on_cards(connection: Connection, project_id: ProjectId) -> Mapping[str, tuple[CheckResult, ...]]:
    """The checks of every card of a project that has any."""
    return _by_task(connection, _ON_CARDS, project_id)


def _by_task(connection: Connection, query: AnySelect, wanted: str) -> dict[str, tuple[CheckResult, ...]]:
    found: dict[str, list[CheckResult]] = {}
    for row in connection.execute(query, {"wanted": wanted}):
        found.setdefault(row[0], []).append(CheckResult(*row[1:]))
    return {task_id: tuple(results) for task_id, results in found.items()}
