"""How well a command that we do not trust is confined: the tier's name and what it means in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Tier(StrEnum):
    """Named in the window and in the audit log; never lowered silently."""

    BUBBLEWRAP = "A"
    NONE = "C"

    @property
    def description(self) -> str:
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Mapping[Tier, str] = {
    Tier.BUBBLEWRAP: (
        "bubblewrap: commands see the worktree and the installed programs, nothing else of your files, "
        "no other process, and no network unless it is allowed."
    ),
    Tier.NONE: (
        "no sandbox: commands run as you and may read and change whatever you may, "
        "so that every command is asked for. Everything a command starts is still ended with it."
    ),
}
