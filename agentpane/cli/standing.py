"""What stands in the way of a card, in words for a terminal: its conflicts, and the cards at the same places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentpane.cli.pane import line
from agentpane.domain.conflicts import Conflict, LineRange, Overlap, OverlapKind
from agentpane.domain.gitpaths import display_path
from agentpane.domain.tasks import Task

MOST_LINES = 40  # of each list; the JSON has them all

KINDS: Mapping[OverlapKind, str] = {
    OverlapKind.LINES: "is edited at the same place by",
    OverlapKind.DELETED: "is deleted by one card and edited by the other:",
    OverlapKind.FILE: "is changed as a whole by",
}


def standing(value: Task) -> list[str]:
    """What the worktree was left with, one line for each conflict and overlap; nothing where nothing stands there."""
    target = line(value.base_branch or "the base branch")
    conflicts = [f"  {conflict(each, target)}" for each in value.card.conflicts]
    overlaps = [f"  {overlap(each)}" for each in value.card.overlaps]
    restored = ["Its worktree holds restored work, not committed: the next run goes on from there."]
    return [
        *(restored if value.is_restored else ()),
        *_listed(f"Conflicts with {target} as it is:", conflicts),
        *_listed("Other cards at the same places:", overlaps),
    ]


def conflict(value: Conflict, target: str) -> str:
    sides = ((f"{target} has changed", value.target_lines), ("this card", value.card_lines))
    told = ", ".join(f"{who} {lines(ranges)}" for who, ranges in sides if ranges)
    return f"{display_path(value.path)} ({value.kind})" + (f": {told}" if told else "")


def overlap(value: Overlap) -> str:
    where = f", {lines(value.lines)}," if value.lines else ""
    clash = "; git cannot merge the two by itself" if value.clashes else ""
    return f"{display_path(value.path)}{where} {KINDS[value.kind]} “{line(value.title)}” ({value.task_id}){clash}"


def lines(ranges: Sequence[LineRange]) -> str:
    """Such as `line 3`, `lines 3–5, 9`; a place between lines is named by the line before it."""
    one = len(ranges) == 1 and ranges[0].count == 1
    return ("line " if one else "lines ") + ", ".join(map(_range, ranges))


def _range(place: LineRange) -> str:
    if place.count == 0:
        return f"behind {place.start}" if place.start else "before 1"
    return str(place.start) if place.count == 1 else f"{place.start}–{place.last}"


def _listed(heading: str, rows: Sequence[str]) -> list[str]:
    more = [f"  and {len(rows) - MOST_LINES} more; --json has them all"] if len(rows) > MOST_LINES else []
    return [heading, *rows[:MOST_LINES], *more] if rows else []
