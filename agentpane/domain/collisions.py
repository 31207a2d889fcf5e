"""Where two versions of a file collide: the places that a merge on their common ancestor cannot settle.

The rule is git's own: a place collides when both sides have changed the same lines of the ancestor, or lines next to
each other, and not to the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentpane.domain.conflicts import LineRange, joined
from agentpane.domain.hunks import Hunk

CLOSE = 3  # lines between two places that git puts into one pair of marks


@dataclass(frozen=True, slots=True)
class _Group:
    """Hunks of both sides that hang together, and the lines of the ancestor that they cover."""

    place: LineRange
    ours: tuple[Hunk, ...]
    theirs: tuple[Hunk, ...]


def collisions(ours: Sequence[Hunk], theirs: Sequence[Hunk]) -> tuple[tuple[LineRange, ...], tuple[LineRange, ...]]:
    """The lines that collide, as each of two sides has them. The hunks carry their lines.

    Lines at the edges of a place that both sides have alike are left out of it; places close to each other are one.
    """
    found: list[tuple[LineRange, LineRange]] = []
    for group in _groups(ours, theirs):
        our_lines, their_lines = _text(group, group.ours), _text(group, group.theirs)
        before, behind = _alike(our_lines, their_lines)
        if before + behind < max(len(our_lines), len(their_lines)):
            pair = _cut(group, group.ours, before, behind), _cut(group, group.theirs, before, behind)
            close = bool(found) and all(new.low - old.high <= CLOSE for old, new in zip(found[-1], pair, strict=True))
            if close:
                pair = _reaching(found[-1][0], pair[0]), _reaching(found[-1][1], pair[1])
                found.pop()
            found.append(pair)
    return joined(tuple(one for one, _ in found)), joined(tuple(other for _, other in found))


def _reaching(first: LineRange, last: LineRange) -> LineRange:
    return LineRange.between(first.low, last.high)


def _groups(ours: Sequence[Hunk], theirs: Sequence[Hunk]) -> Iterator[_Group]:
    """The runs of touching hunks in which both sides have a part."""
    merged = sorted(
        [(hunk.old.low, hunk.old.high, 0, hunk) for hunk in ours]
        + [(hunk.old.low, hunk.old.high, 1, hunk) for hunk in theirs],
        key=lambda each: each[:3],
    )
    at = 0
    while at < len(merged):
        low, high = merged[at][:2]
        sides: tuple[list[Hunk], list[Hunk]] = ([], [])
        while at < len(merged) and (merged[at][0] <= high):
            sides[merged[at][2]].append(merged[at][3])
            high = max(high, merged[at][1])
            at += 1
        if sides[0] and sides[1]:
            yield _Group(LineRange.between(low, high), tuple(sides[0]), tuple(sides[1]))


def _text(group: _Group, side: Sequence[Hunk]) -> list[bytes]:
    """The lines that one side has at the group's place."""
    ancestor = {
        hunk.old.low + number: line for hunk in (*group.ours, *group.theirs) for number, line in enumerate(hunk.removed)
    }
    lines: list[bytes] = []
    at = group.place.low
    for hunk in side:
        lines += [ancestor[number] for number in range(at, hunk.old.low)]
        lines += hunk.added
        at = hunk.old.high
    return lines + [ancestor[number] for number in range(at, group.place.high)]


def _alike(one: Sequence[bytes], other: Sequence[bytes]) -> tuple[int, int]:
    """How many lines both begin with, and how many of the rest both end with."""
    most = min(len(one), len(other))
    before = next((number for number in range(most) if one[number] != other[number]), most)
    behind = next((number for number in range(most - before) if one[-1 - number] != other[-1 - number]), most - before)
    return before, behind


def _cut(group: _Group, side: Sequence[Hunk], before: int, behind: int) -> LineRange:
    """The group's place as one side has it, without its first and last lines."""
    first, last = side[0], side[-1]
    low = first.new.low - (first.old.low - group.place.low) + before
    high = last.new.high + (group.place.high - last.old.high) - behind
    return LineRange.between(low, high)
