"""What the sandbox has refused to a command or ended it for, in words for the agent: what, and what it may do."""

from __future__ import annotations

from collections.abc import Sequence

from agentpane.domain.json import JsonValue

TOOK_TOO_MUCH = (
    "The sandbox has ended the command with everything that it had started: one command may take only so much of this "
    "machine. Do it in smaller parts or with fewer jobs at once, and remove what fills the disk."
)


def words(refused_hosts: Sequence[str], killed_for: str | None) -> str:
    """Empty when nothing was refused."""
    said = []
    if refused_hosts:
        said.append(
            f"The network refused {', '.join(refused_hosts)}: commands reach only the hosts that are allowed here. "
            "Do without, or say in your last answer which host you need and why; a person can allow it in the "
            "project's settings."
        )
    if killed_for is not None:
        said.append(f"{killed_for} {TOOK_TOO_MUCH}")
    return "\n".join(said)


def data(refused_hosts: Sequence[str], killed_for: str | None) -> dict[str, JsonValue]:
    """The same for a result's data."""
    found: dict[str, JsonValue] = {"refused_hosts": list(refused_hosts)} if refused_hosts else {}
    return found if killed_for is None else {**found, "killed_for": killed_for}
