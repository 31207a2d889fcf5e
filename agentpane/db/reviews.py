"""Reviews of snapshots: the verdict, its reason, and the remarks on lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection as Connection
from sqlalchemy import insert, literal_column, select

from agentpane.db.references import new_id
from agentpane.db.schema import ReviewCommentTable, ReviewTable
from agentpane.domain.ids import TaskId
from agentpane.domain.review import ReviewComment, ReviewVerdict

_R = ReviewTable
_C = ReviewCommentTable


@dataclass(frozen=True, slots=True)
class Review:
    id: str
    snapshot: str
    verdict: ReviewVerdict
    reason: str
    at: datetime


def add(
    connection: Connection,
    task_id: TaskId,
    snapshot: str,
    verdict: str,
    reason: str,
    comments: Sequence[ReviewComment],
    at: datetime,
    by: str | None = None,
) -> str:
    """Store a review of a snapshot; returns its id."""
    review_id = new_id()
    connection.execute(
        insert(_R).values(
            id=review_id,
            task_id=task_id,
            snapshot=snapshot,
            verdict=ReviewVerdict(verdict),
            reason=reason,
            reviewer=by,
            created_at=at,
        )
    )
    rows = [
        {
            "id": new_id(),
            "review_id": review_id,
            "task_id": task_id,
            "ordinal": ordinal,
            "path": comment.path,
            "line": comment.line,
            "old_side": comment.old_side,
            "body": comment.body,
            "created_at": at,
        }
        for ordinal, comment in enumerate(comments)
    ]
    if rows:
        connection.execute(insert(_C), rows)
    return review_id


def of_task(connection: Connection, task_id: TaskId) -> tuple[Review, ...]:
    """The reviews of a task, oldest first."""
    query = select(_R.id, _R.snapshot, _R.verdict, _R.reason, _R.created_at).where(_R.task_id == task_id)
    rows = connection.execute(query.order_by(_R.created_at, literal_column("rowid")))
    return tuple(Review(row.id, row.snapshot, row.verdict, row.reason or "", row.created_at) for row in rows)
