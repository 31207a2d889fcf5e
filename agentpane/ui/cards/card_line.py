"""One line of words with its icon, as cards and pages show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its icon; `token` names its colour."""

    icon: str
    token: str
    text: str
    short: str = ""  # the same where there is little room
