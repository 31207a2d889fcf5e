"""What stands in the way of a card: conflicts with its base branch, and other cards that edit the same places.

Line numbers begin at 1 and are those of the side that they are said of: the target's as the base branch has the file,
the card's as its snapshot has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.ids import TaskId

MOST_RANGES = 20  # of one side of one file; what is beyond them is said as one range more


@dataclass(frozen=True, slots=True)
class LineRange:
    """`count` lines from line `start` on; with a count of 0 the place behind line `start` (0: before the first)."""

    start: int
    count: int

    @property
    def last(self) -> int:
        """The last line of it; for a place between lines the one before it."""
        return self.start + max(self.count - 1, 0)

    @property
    def low(self) -> int:
        """How many lines come before it."""
        return self.start - 1 if self.count else self.start

    @property
    def high(self) -> int:
        """How many lines there are up to its end."""
        return self.low + self.count

    @staticmethod
    def between(low: int, high: int) -> LineRange:
        """What lies behind the first `low` lines, up to line `high`."""
        return LineRange(low + 1, high - low) if high > low else LineRange(low, 0)

    def touches(self, other: LineRange) -> bool:
        """Whether both are the same lines in part, or next to each other: what git does not merge by itself."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True)
class Conflict:
    """One file that cannot be merged by itself, as git names the kind: contents, add/add, modify/delete, binary …

    target_lines, card_lines: the lines that collide, as each side has them. Empty for a side that is without the file,
        and on both sides where the file collides as a whole: binary, renamed twice, changed in its mode, very large,
        or one of very many.
    """

    path: str
    kind: str
    target_lines: tuple[LineRange, ...] = ()
    card_lines: tuple[LineRange, ...] = ()


class OverlapKind(StrEnum):
    LINES = "lines"  # both edit the same lines, or lines next to each other
    DELETED = "deleted"  # one deletes the file that the other edits
    FILE = "file"  # both change the file as a whole: new in both, binary, a link, renamed


@dataclass(frozen=True, slots=True)
class Overlap:
    """Another card that works at the same place.

    path, lines: the place as this card has it; no lines where the file is meant as a whole.
    clashes: git cannot merge the two cards' snapshots at this path by itself.
    """

    task_id: TaskId
    title: str
    path: str
    lines: tuple[LineRange, ...]
    kind: OverlapKind = OverlapKind.LINES
    clashes: bool = False


def joined(ranges: tuple[LineRange, ...], most: int = MOST_RANGES) -> tuple[LineRange, ...]:
    """At most `most` + 1 ranges: those beyond the first `most` become one that reaches from the first to the last."""
    if len(ranges) <= most + 1:
        return ranges
    rest = ranges[most:]
    start = rest[0].start
    return (*ranges[:most], LineRange(start, max(each.last for each in rest) - start + 1))
