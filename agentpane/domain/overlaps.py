"""Which cards edit the same places: their changes laid side by side on the base branch as it is.

Cards begin at different commits of that branch, so that their line numbers mean different lines. Each change is
carried to the branch's newest commit first, and compared there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from agentpane.domain.conflicts import LineRange, Overlap, OverlapKind, joined
from agentpane.domain.hunks import Hunk, carried
from agentpane.domain.ids import TaskId

MOST_OVERLAPS = 200  # of one card; those that clash come first


@dataclass(frozen=True, slots=True)
class FileEdit:
    """What a change does to one file.

    path: as the change leaves it; old_path: as it found it, None for a new file.
    whole: it cannot be told by lines: binary, a link, another type.
    """

    path: str
    old_path: str | None
    deleted: bool = False
    whole: bool = False
    hunks: tuple[Hunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """A card's change since its base, and what the base branch has changed since then, by the path at that base."""

    task_id: TaskId
    title: str
    edits: tuple[FileEdit, ...]
    upstream: Mapping[str, FileEdit]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of one card. `places`: for each hunk where it is on the base branch, which has the file at `origin`."""

    work: Work
    edit: FileEdit
    origin: str | None  # None: the card makes it

    places: tuple[LineRange, ...]


Sides = tuple[Overlap, Overlap]


def overlaps(works: Sequence[Work]) -> dict[TaskId, tuple[Overlap, ...]]:
    """The overlaps of each card, by path and by the other card. A card without any has an empty tuple."""
    found: dict[TaskId, dict[tuple[str, TaskId], Overlap]] = {work.task_id: {} for work in works}
    for entries in _by_path(works):
        for one, other in combinations(entries, 2):
            if one.work.task_id == other.work.task_id:
                continue
            for mine, theirs in ((one, other), (other, one)):
                overlap = _overlap(mine, theirs)
                if overlap is not None:
                    found[mine.work.task_id].setdefault((overlap.path, overlap.task_id), overlap)
    return {task_id: tuple(each[key] for key in sorted(each)) for task_id, each in found.items()}


def shortened(of_card: Sequence[Overlap]) -> tuple[Overlap, ...]:
    """What a card shows of its overlaps: those that clash first, and no more than anybody reads."""
    return tuple(sorted(of_card, key=lambda overlap: not overlap.clashes)[:MOST_OVERLAPS])


def _by_path(works: Sequence[Work]) -> Iterator[list[_Entry]]:
    """The files that more than one card has to do with: under the path on the base branch, and under a new one."""
    known: dict[str, list[_Entry]] = {}
    for work in works:
        for edit in work.edits:
            upstream = work.upstream.get(edit.old_path) if edit.old_path is not None else None
            between = upstream.hunks if upstream is not None else ()
            origin = upstream.path if upstream is not None else edit.old_path
            entry = _Entry(work, edit, origin, tuple(carried(hunk.old, between) for hunk in edit.hunks))
            paths = {edit.path} if origin is None else {origin}
            for path in paths | {edit.path} if _moved(edit) else paths:
                known.setdefault(path, []).append(entry)
    return (entries for entries in known.values() if len(entries) > 1)


def _overlap(mine: _Entry, theirs: _Entry) -> Overlap | None:
    """How `mine` overlaps with `theirs`, as the card of `mine` sees it."""
    task_id, title, path = theirs.work.task_id, theirs.work.title, mine.edit.path
    kind = _kind(mine, theirs)
    if kind is not None:
        return Overlap(task_id, title, path, (), kind)
    touched = _touched(mine.places, theirs.places)
    if not touched:
        return None
    lines = joined(tuple(mine.edit.hunks[number].new for number in touched))
    return Overlap(task_id, title, path, lines)


def _kind(mine: _Entry, theirs: _Entry) -> OverlapKind | None:
    """The kind where the file is meant as a whole; None where its lines decide, or nothing overlaps."""
    one, other = mine.edit, theirs.edit
    if one.deleted or other.deleted:
        edits = [edit for edit in (one, other) if not edit.deleted]
        return OverlapKind.DELETED if any(edit.hunks or edit.whole or _moved(edit) for edit in edits) else None
    same_origin = mine.origin is not None and mine.origin == theirs.origin
    if same_origin and one.path != other.path and _moved(one) and _moved(other):
        return OverlapKind.FILE
    if not same_origin and one.path == other.path:
        return OverlapKind.FILE
    if (one.whole and (other.whole or other.hunks)) or (other.whole and one.hunks):
        return OverlapKind.FILE
    return None


def _moved(edit: FileEdit) -> bool:
    return not edit.deleted and edit.path != edit.old_path


def _touched(mine: Sequence[LineRange], theirs: Sequence[LineRange]) -> list[int]:
    """Which of `mine` touch one of `theirs`. Both are in order."""
    found: list[int] = []
    at = 0
    for number, place in enumerate(mine):
        while at < len(theirs) and theirs[at].high < place.low:
            at += 1
        if at < len(theirs) and place.touches(theirs[at]):
            found.append(number)
    return found
