"""Names of the branches that AgentPane makes.

Git itself accepts bidirectional controls, `CON` and `refs/heads/x` as names; ours are made of
lower-case ASCII letters, digits and dashes, with at most one slash, so they read the same everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

PREFIX = "agentpane"
SLUG_LENGTH = 40
ID_LENGTH = 6


def slug(title: str) -> str:
    """A title in our own character set; "task" when nothing of it can be kept."""
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode("ascii")
    words = re.findall(r"[a-z0-9]+", ascii_only.lower())
    kept = "-".join(words)[:SLUG_LENGTH].rstrip("-")
    return kept or "task"


def branch_name(title: str, task_id: str) -> str:
    """The branch of a task: what it is about, and the start of its id."""
    short_id = "".join(re.findall(r"[a-z0-9]", task_id.lower()))[:ID_LENGTH]
    return f"{PREFIX}/{slug(title)}-{short_id}" if short_id else f"{PREFIX}/{slug(title)}"


def recovered_branch(title: str, recovery_id: str) -> str:
    """The branch that a recovery snapshot is laid out on when its card has no use for it."""
    return branch_name(f"recovered {title}", recovery_id)


def free_branch(wanted: str, taken: Collection[str]) -> str:
    """The name to use in place of `wanted` beside the branches that are `taken`.

    A branch called `agentpane` leaves no room for `agentpane/…`, so a dash takes the slash's place there.
    A name that is taken, or that is the folder of another branch, gets -2, -3 and so on. Names are
    compared without case, since a branch may be a file on a disk that does not know case.
    """
    known = {name.casefold() for name in taken}
    folders = {name[:at] for name in known for at in range(len(name)) if name[at] == "/"}
    name = wanted
    if PREFIX in known and name.startswith(f"{PREFIX}/"):
        name = f"{PREFIX}-{name.removeprefix(f'{PREFIX}/').replace('/', '-')}"
    number, candidate = 1, name
    while candidate.casefold() in known or candidate.casefold() in folders:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
