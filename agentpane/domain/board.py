"""The board's rules: which column a card may be in, and what may put it there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from agentpane.errors import AgentPaneError, ErrorCode


class Column(StrEnum):
    BACKLOG = "backlog"
    IN_PROGRESS = "in_progress"
    WAITING_APPROVAL = "waiting_approval"
    VERIFIED = "verified"


COLUMN_TITLES: Mapping[Column, str] = {
    Column.BACKLOG: "Backlog",
    Column.IN_PROGRESS: "In Progress",
    Column.WAITING_APPROVAL: "Waiting Approval",
    Column.VERIFIED: "Verified",
}


class BoardEvent(StrEnum):
    """What can happen to a card besides being reordered."""

    START = "start"
    COMPLETE = "complete"
    CANCEL = "cancel"
    APPROVE = "approve"
    REJECT = "reject"
    HAND_OVER = "hand_over"  # its conflict, to its agent
    TAKE_BACK = "take_back"  # from there, unresolved
    UNDO = "undo"
    ARCHIVE = "archive"


TRANSITIONS: Mapping[tuple[Column, BoardEvent], Column] = {
    (Column.BACKLOG, BoardEvent.START): Column.IN_PROGRESS,
    (Column.IN_PROGRESS, BoardEvent.COMPLETE): Column.WAITING_APPROVAL,
    (Column.IN_PROGRESS, BoardEvent.CANCEL): Column.BACKLOG,
    (Column.WAITING_APPROVAL, BoardEvent.APPROVE): Column.VERIFIED,
    (Column.WAITING_APPROVAL, BoardEvent.REJECT): Column.IN_PROGRESS,
    (Column.WAITING_APPROVAL, BoardEvent.HAND_OVER): Column.IN_PROGRESS,
    (Column.IN_PROGRESS, BoardEvent.TAKE_BACK): Column.WAITING_APPROVAL,
    (Column.WAITING_APPROVAL, BoardEvent.CANCEL): Column.BACKLOG,
    (Column.VERIFIED, BoardEvent.UNDO): Column.WAITING_APPROVAL,
    # Off the board, and from there back to the column in which it was.
    (Column.VERIFIED, BoardEvent.ARCHIVE): Column.VERIFIED,
    (Column.BACKLOG, BoardEvent.ARCHIVE): Column.BACKLOG,
}

# A card reaches VERIFIED only by merging, and WAITING_APPROVAL only by an agent's work, so no drag may put it there.
MAY_DRAG_TO: Mapping[Column, frozenset[Column]] = {
    Column.BACKLOG: frozenset({Column.IN_PROGRESS}),
    Column.IN_PROGRESS: frozenset({Column.BACKLOG}),
    Column.WAITING_APPROVAL: frozenset({Column.BACKLOG}),
    Column.VERIFIED: frozenset(),
}


# What can be done with a card instead of what its column does not allow.
WAYS_ON: Mapping[Column, str] = {
    Column.BACKLOG: "It can be run.",
    Column.IN_PROGRESS: "It comes to review when its agent ends with a diff; where its run has stopped, resume it. "
    "It can be cancelled.",
    Column.WAITING_APPROVAL: "Approve its diff to merge it, or reject it with a reason for its agent to go on with.",
    Column.VERIFIED: "Undo its merge to review it once more, or archive it.",
}


def after(column: Column, event: BoardEvent) -> Column:
    """The column that `event` takes a card of `column` to.

    Raises AgentPaneError with TASK_INVALID_TRANSITION, naming the allowed moves.
    """
    target = TRANSITIONS.get((column, event))
    if target is None:
        raise invalid_transition(column, f"“{event}” does not apply to a card in {COLUMN_TITLES[column]}.")
    return target


def archived(task_id: str) -> AgentPaneError:
    """What is said when something else is wanted of an archived card than to see it or to have it back."""
    return AgentPaneError(
        ErrorCode.TASK_INVALID_TRANSITION,
        "This card is archived.",
        hint=f"Put it back on the board first: agentpane task unarchive {task_id}. Nothing has changed.",
        details={"task": task_id, "archived": True},
    )


def drag_refusal(source: Column, target: Column) -> str | None:
    """Why a card of `source` may not be dragged to `target`, or None if it may. Reordering is always allowed."""
    if source == target or target in MAY_DRAG_TO[source]:
        return None
    if target == Column.VERIFIED and source == Column.WAITING_APPROVAL:
        return "A card becomes Verified by approving its diff: open the review."
    if target == Column.VERIFIED:
        return "Only a merged card is Verified."
    if target == Column.WAITING_APPROVAL:
        return "A card comes here when its agent has finished."
    if source == Column.VERIFIED:
        return "This card is merged. Undo the merge to review it once more."
    return "Reject the diff with a reason to send the card back to its agent."


def check_drag(source: Column, target: Column) -> None:
    """Raises AgentPaneError with TASK_INVALID_TRANSITION if a drag from `source` to `target` is not allowed."""
    refusal = drag_refusal(source, target)
    if refusal is not None:
        raise invalid_transition(source, refusal, "")


def invalid_transition(column: Column, message: str, way_on: str | None = None) -> AgentPaneError:
    """way_on: what can be done instead, where the message says it already or it is another than WAYS_ON has."""
    way = WAYS_ON[column] if way_on is None else way_on
    allowed = sorted(MAY_DRAG_TO[column])
    where = ", ".join(COLUMN_TITLES[Column(name)] for name in allowed) or "nowhere"
    return AgentPaneError(
        ErrorCode.TASK_INVALID_TRANSITION,
        message,
        hint=f"{way} From {COLUMN_TITLES[column]} a card may be moved to: {where}. Nothing has changed.".lstrip(),
        details={"from": column.value, "allowed": [str(name) for name in allowed]},
    )
