"""The cards whose work may stand in each other's way, and what was found about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import bindparam, case, func, select, text, union

from agentpane.db import tasks
from agentpane.db.references import AnySelect
from agentpane.db.schema import SHOWS_OVERLAPS, TaskTable, TurnTable, WorktreeTable
from agentpane.domain.board import Column
from agentpane.domain.conflicts import Conflict, Overlap
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.errors import ErrorCode

_T = TaskTable
_AT_WORK = (Column.IN_PROGRESS, Column.WAITING_APPROVAL)


@dataclass(frozen=True, slots=True)
class Standing:
    """A card, with the commit that stands for its work and the commit which that began from.

    commit: the snapshot that waits for review, or what the newest turn of its worktree left; None without any. While
        a conflict is being resolved, the card's side of it.
    """

    task_id: TaskId
    title: str
    column: Column
    commit: str | None
    base: str | None
    target: str | None  # the branch that it is to be merged into
    conflicts: tuple[Conflict, ...]
    overlaps: tuple[Overlap, ...]
    code: str | None

    @property
    def stands_for(self) -> tuple[str, str | None, str | None, str | None]:
        """What its conflicts and overlaps follow from."""
        return self.column.value, self.commit, self.base, self.target


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What was found about a card as `seen` says that it stood. conflicts: None leaves them as they are."""

    seen: Standing
    conflicts: tuple[Conflict, ...] | None
    overlaps: tuple[Overlap, ...]

    @property
    def is_news(self) -> bool:
        """Whether the card shows something else."""
        shown = self.seen.conflicts if self.conflicts is None else self.conflicts
        return (shown, self.overlaps) != (self.seen.conflicts, self.seen.overlaps)


def standing(connection: Connection, project_id: ProjectId) -> tuple[Standing, ...]:
    """The cards of a project that are at work or wait for approval, and those that still show an overlap."""
    return tuple(Standing(*row) for row in connection.execute(_OF_PROJECT, {"project": project_id}))


def store(connection: Connection, found: Sequence[Foreseen], at: datetime) -> tuple[TaskId, ...]:
    """Store what is new, of cards that still stand as they were seen. Returns those that have changed."""
    changed: list[TaskId] = []
    for each in found:
        seen = each.seen
        row = connection.execute(_OF_CARD, {"wanted": seen.task_id}).one_or_none()
        present = None if row is None else Standing(*row)
        if present is None or present.stands_for != seen.stands_for:
            continue
        conflicts = present.conflicts if each.conflicts is None else each.conflicts
        if (conflicts, each.overlaps) == (present.conflicts, present.overlaps):
            continue
        over = present.code == ErrorCode.MERGE_CONFLICT.value and not conflicts
        code = None if over else present.code
        tasks.set_fields(connection, seen.task_id, at, conflicts=conflicts, overlaps=each.overlaps, code=code)
        changed.append(seen.task_id)
    return tuple(changed)


def _standing() -> AnySelect:
    newest_turn = (
        select(TurnTable.sha)
        .where(TurnTable.task_id == _T.id, TurnTable.created_at >= WorktreeTable.created_at)
        .order_by(TurnTable.created_at.desc(), TurnTable.turn.desc())
        .limit(1)
        .correlate(_T, WorktreeTable)
        .scalar_subquery()
    )
    works = _T.column == Column.IN_PROGRESS
    waits = _T.column == Column.WAITING_APPROVAL
    resolves = works & WorktreeTable.merging.is_not(None)  # what its turns leave holds the target's work as well
    return (
        select(
            _T.id,
            _T.title,
            _T.column,
            case(
                (resolves, func.json_extract(WorktreeTable.merging, "$.card")),
                (works, newest_turn),
                (waits, _T.snapshot),
            ),
            case((works, WorktreeTable.base_sha), (waits, _T.base_sha)),
            _T.base_branch,
            _T.conflicts,
            _T.overlaps,
            _T.code,
        )
        .select_from(_T)
        .outerjoin(WorktreeTable, WorktreeTable.id == _T.worktree_id)
    )


def _of_project() -> AnySelect:
    # Two searches, each by an index of its own: most cards of a large board are neither. The plus keeps SQLite from
    # going through all cards of the project instead.
    here = _T.project_id == bindparam("project")
    at_work = select(_T.id).where(here, _T.column.in_(_AT_WORK), _T.archived_at.is_(None))
    showing = select(_T.id).where(text(SHOWS_OVERLAPS))
    wanted = _standing().where(text("+tasks.project_id = :project"), _T.id.in_(union(at_work, showing)))
    return wanted.order_by(_T.created_at, _T.id)


_OF_PROJECT = _of_project()
_OF_CARD = _standing().where(_T.id == bindparam("wanted"))
