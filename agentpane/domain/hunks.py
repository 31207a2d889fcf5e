"""The places where two versions of a file differ, and what becomes of line numbers between versions.

A hunk has no context lines: its ranges are what was replaced, and by what.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentpane.domain.conflicts import LineRange

MOST_HUNKS = 2_000  # of one file; what has more of them counts as one change from the first to the last

_HEADER = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = b"\\ No newline"


@dataclass(frozen=True, slots=True)
class Hunk:
    """removed, added: the lines of both sides with their ends, where somebody asked for them."""

    old: LineRange
    new: LineRange
    removed: tuple[bytes, ...] = ()
    added: tuple[bytes, ...] = ()


def parse_hunk(header: bytes) -> Hunk:
    """Read `@@ -OLD[,COUNT] +NEW[,COUNT] @@…`; a count that is left out is 1. Raises ValueError for anything else."""
    found = _HEADER.match(header)
    if found is None:
        raise ValueError(f"not a hunk header: {header[:80]!r}")
    old, old_count, new, new_count = (None if part is None else int(part) for part in found.groups())
    return Hunk(_range(old, old_count), _range(new, new_count))


def _range(start: int | None, count: int | None) -> LineRange:
    return LineRange(start or 0, 1 if count is None else count)


def parse_patches(patch: bytes) -> dict[bytes, tuple[Hunk, ...]]:
    """Read what `git diff --unified=0` prints, with the lines: the hunks of each file, by its `diff --git` line."""
    files: dict[bytes, tuple[Hunk, ...]] = {}
    for section in re.split(rb"(?m)^diff --git ", patch)[1:]:
        name, _, rest = section.partition(b"\n")
        # A newline ends a line here; a carriage return belongs to it.
        parts = re.split(rb"(?m)^(?=@@ -)", rest)[1:]
        files[name] = tuple(_with_lines(part) for part in parts)
    return files


def _with_lines(part: bytes) -> Hunk:
    header, *lines = part.split(b"\n")
    sides: dict[bytes, list[bytes]] = {b"-": [], b"+": []}
    latest: list[bytes] = []
    for line in lines:
        if line.startswith(_NO_NEWLINE) and latest:
            latest[-1] = latest[-1].removesuffix(b"\n")
        elif line[:1] in sides:
            latest = sides[line[:1]]
            latest.append(line[1:] + b"\n")
    made = parse_hunk(header)
    return Hunk(made.old, made.new, tuple(sides[b"-"]), tuple(sides[b"+"]))


def bounded(hunks: Sequence[Hunk]) -> tuple[Hunk, ...]:
    """The hunks, or one in their place when there are more than anybody would compare."""
    if len(hunks) <= MOST_HUNKS:
        return tuple(hunks)
    first, last = hunks[0], hunks[-1]
    return (
        Hunk(
            LineRange.between(first.old.low, last.old.high),
            LineRange.between(first.new.low, last.new.high),
        ),
    )


def carried(place: LineRange, hunks: Iterable[Hunk]) -> LineRange:
    """Where `place` of the old version is in the new one; what was replaced across its edge belongs to it whole.

    hunks: all that differs between the two versions, in order.
    """
    low, high = place.low, place.high
    shift = 0  # of lines behind the hunks that lie before the place
    new_low: int | None = None
    new_high = 0
    for hunk in hunks:
        old, new = hunk.old, hunk.new
        same_spot = low == high == old.low == old.high
        if old.low >= high and not same_spot:
            break
        if old.high > low or same_spot:
            if new_low is None:
                new_low = new.low if old.low <= low else low + shift
            new_high = max(high, old.high) + new.high - old.high
        shift = new.high - old.high
    if new_low is None:
        return LineRange.between(low + shift, high + shift)
    return LineRange.between(new_low, new_high)
