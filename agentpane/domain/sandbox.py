"""How well a command that we do not trust is confined: the tier's name and what it means in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """Named in the window and in the audit log; never lowered silently."""

    BUBBLEWRAP = "A"
    LANDLOCK = "B"
    NONE = "C"

    @property
    def description(self) -> str:
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Mapping[Tier, str] = {
    Tier.BUBBLEWRAP: (
        "bubblewrap: commands see the worktree and the installed programs, nothing else of your files, "
        "no other process, and no network unless it is allowed."
    ),
    Tier.LANDLOCK: (
        "Landlock: commands can write the worktree and /tmp only, read little beside it, and open no connection that "
        "is not allowed; they see the machine's other processes. Commands are asked for."
    ),
    Tier.NONE: (
        "no sandbox: commands run as you and may read and change whatever you may, "
        "so that every command is asked for. Everything a command starts is still ended with it."
    ),
}


class NetworkMode(StrEnum):
    NONE = "none"
    HOSTS = "hosts"  # the named hosts, through the engine's proxy
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Network:
    """What a command may reach. `hosts` are names, or patterns such as `*.example.com`; read in mode HOSTS only."""

    mode: NetworkMode = NetworkMode.NONE
    hosts: tuple[str, ...] = ()


NO_NETWORK = Network()
EVERYWHERE = Network(NetworkMode.ALL)
