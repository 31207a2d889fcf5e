"""What the doctor reads: who needs a worktree, what is off the board, and what the rows still speak of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import case, func, select, text, union

from agentpane.db import projects
from agentpane.db.schema import Base, ProjectTable, RecoveryTable, RunTable, TaskTable, WorktreeTable
from agentpane.domain.board import Column
from agentpane.domain.ids import ProjectId, WorktreeId
from agentpane.domain.projects import Project
from agentpane.domain.runs import LIVE
from agentpane.domain.worktrees import WorktreeStatus

_HEX = re.compile(r"\b[0-9a-f]{64}\b")
PAGE = 500


@dataclass(frozen=True, slots=True)
class Need:
    """Who needs a worktree. live: a run of its card is queued, works or is paused."""

    title: str | None
    column: Column | None
    task_archived: bool
    snapshot: str | None
    live: bool
    run_at: datetime | None


def off_board(connection: Connection) -> tuple[Project, ...]:
    """Archived projects that still have worktrees, or something in the recovery bin."""
    left = union(
        select(WorktreeTable.project_id).where(WorktreeTable.status != WorktreeStatus.REMOVED),
        select(RecoveryTable.project_id).where(RecoveryTable.project_id.is_not(None)),
    )
    archived = select(ProjectTable.id).where(ProjectTable.archived_at.is_not(None), ProjectTable.id.in_(left))
    return tuple(projects.get(connection, ProjectId(found)) for found in connection.execute(archived).scalars().all())


def needs(connection: Connection) -> dict[WorktreeId, Need]:
    """Who needs each worktree that is not removed."""
    newest = (
        select(
            RunTable.task_id,
            func.max(case((RunTable.status.in_(tuple(LIVE)), 1), else_=0)).label("live"),
            func.max(RunTable.queued_at).label("queued"),
            func.max(RunTable.paused_at).label("paused"),
            func.max(RunTable.completed_at).label("ended"),
        )
        .where(RunTable.depth == 0)
        .group_by(RunTable.task_id)
        .subquery()
    )
    rows = connection.execute(
        select(
            WorktreeTable.id,
            TaskTable.title,
            TaskTable.column,
            TaskTable.archived_at,
            TaskTable.snapshot,
            newest.c.live,
            newest.c.queued,
            newest.c.paused,
            newest.c.ended,
        )
        .outerjoin(TaskTable, TaskTable.id == WorktreeTable.task_id)
        .outerjoin(newest, newest.c.task_id == WorktreeTable.task_id)
        .where(WorktreeTable.status != WorktreeStatus.REMOVED)
    )
    found = {}
    for row in rows:
        times = [at for at in (row.queued, row.paused, row.ended) if at is not None]
        found[WorktreeId(row.id)] = Need(
            row.title, row.column, row.archived_at is not None, row.snapshot, bool(row.live), max(times, default=None)
        )
    return found


def unknown_worktrees(connection: Connection, ids: Iterable[str]) -> frozenset[str]:
    """Which of these are no ids of worktrees."""
    wanted = frozenset(ids)
    return wanted - frozenset(
        connection.execute(select(WorktreeTable.id).where(WorktreeTable.id.in_(wanted))).scalars()
    )


def unknown_runs(connection: Connection, ids: Iterable[str]) -> frozenset[str]:
    """Which of these are no ids of runs."""
    wanted = sorted(set(ids))
    known: set[str] = set()
    for start in range(0, len(wanted), PAGE):
        some = wanted[start : start + PAGE]
        known.update(connection.execute(select(RunTable.id).where(RunTable.id.in_(some))).scalars())
    return frozenset(wanted) - known


def tables() -> tuple[str, ...]:
    """The tables whose rows may speak of a long output."""
    return tuple(table.name for table in Base.metadata.sorted_tables)


def spoken_of(connection: Connection, table: str, after: int) -> tuple[frozenset[str], int | None]:
    """What a page of a table says that may be the name of a long output, and after which row the next one begins."""
    known = Base.metadata.tables[table]
    names = ", ".join(f'"{column.name}"' for column in known.columns)
    page = connection.execute(
        text(f'SELECT rowid, {names} FROM "{table}" WHERE rowid > :after ORDER BY rowid LIMIT :page'),
        {"after": after, "page": PAGE},
    ).all()
    words: set[str] = set()
    for row in page:
        for value in row[1:]:
            if isinstance(value, str) and len(value) >= 64:
                words.update(_HEX.findall(value))
    return frozenset(words), page[-1][0] if len(page) == PAGE else None
