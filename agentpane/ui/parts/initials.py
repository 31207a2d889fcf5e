"""Names for where there is room for a letter or two."""

from __future__ import annotations

from collections.abc import Sequence


def initials(names: Sequence[str]) -> list[str]:
    """A capital for each name; where several begin alike, with the first letter in which this one differs from them."""
    return [_initial(name, [*names[:at], *names[at + 1 :]]) for at, name in enumerate(names)]


def _initial(name: str, others: Sequence[str]) -> str:
    name, others = name.casefold(), [other.casefold() for other in others]
    alike = [other for other in others if other[:1] == name[:1]]
    if not alike:
        return name[:1].upper()
    own = (
        letter
        for at, letter in enumerate(name)
        if at and letter.isalnum() and all(other[at : at + 1] != letter for other in alike)
    )
    return (name[:1] + next(own, name[1:2])).upper()
