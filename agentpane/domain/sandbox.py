"""How well a command that we do not trust is confined: the tier's name and what it means in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address


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
        "Landlock: commands write the worktree and a private folder, read the installed programs beside them, and "
        "reach no network unless it is allowed; listed hosts are told apart by the port. They see your processes, "
        "may change the permissions and times of your files, and before Linux 6.12 can end your other programs, "
        "so that commands are asked for."
    ),
    Tier.NONE: (
        "no sandbox: commands run as you and may read and change whatever you may, so that every command is asked "
        "for. Everything a command starts is still ended with it, unless it hides and ends the process that watches it."
    ),
}


class NetworkMode(StrEnum):
    NONE = "none"
    HOSTS = "hosts"  # the named hosts, through the engine's proxy
    ALL = "all"


USUAL_PORTS = frozenset({80, 443})


@dataclass(frozen=True, slots=True)
class Network:
    """What a command may reach. `hosts` is read in mode HOSTS only.

    An entry is a name, an address, or a pattern such as `*.example.com` (what lies below it, not itself), reachable on
    ports 80 and 443; with `:port` behind it, on that port alone. An address of version 6 with a port has brackets.
    `*` is every host. refused: names and patterns without a port, which no entry of `hosts` opens.
    """

    mode: NetworkMode = NetworkMode.NONE
    hosts: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def allows(self, host: str, port: int) -> bool:
        """Whether a host may be reached by this name or address. Where a name leads is looked at apart."""
        if self.mode is not NetworkMode.HOSTS:
            return self.mode is NetworkMode.ALL
        return not self.refuses(host) and any(_covers(entry, host, port) for entry in self.hosts)

    def refuses(self, host: str) -> bool:
        return any(_is_named(plain_host(pattern), plain_host(host)) for pattern in self.refused)

    def names(self, host: str, port: int) -> bool:
        """Whether an entry says exactly this host, and not by a pattern."""
        return any(not entry.startswith("*") and _covers(entry, host, port) for entry in self.hosts)

    def loopback(self) -> tuple[tuple[str, int], ...]:
        """The servers of this machine that are listed with their port."""
        found = (_parts(entry) for entry in self.hosts if self.mode is NetworkMode.HOSTS)
        ours = ((host, port) for host, port in found if port is not None and is_loopback(host))
        return tuple(dict.fromkeys((host, port) for host, port in ours if not self.refuses(host)))


NO_NETWORK = Network()
EVERYWHERE = Network(NetworkMode.ALL)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name. No name is looked up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def plain_host(host: str) -> str:
    """A name as it is compared: without case, brackets and the dot at the end."""
    return host.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _parts(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.strip().rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        return plain_host(host), int(port)
    return plain_host(entry), None


def _covers(entry: str, host: str, port: int) -> bool:
    named, only = _parts(entry)
    if port not in USUAL_PORTS if only is None else port != only:
        return False
    return _is_named(named, plain_host(host))


def _is_named(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) >= len(pattern)
    return pattern in ("*", host)
