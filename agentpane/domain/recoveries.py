"""The recovery bin: what worktrees held before something of it was discarded, and how long that is kept."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NewType

from agentpane.domain.ids import ProjectId, TaskId

RecoveryId = NewType("RecoveryId", str)

KEPT = timedelta(days=30)
NOTICE = timedelta(days=3)  # how long before its end a snapshot is spoken of


@dataclass(frozen=True, slots=True)
class Beside:
    """What a recovery snapshot keeps besides files. Laying it out again leaves it where it is kept.

    commits: how many no branch holds; loose: those of them that the files are not built on.
    staged: which parent of the snapshot, from 1, has what was staged and lay in no file; 0 is none.
    histories: which parent has a bundle, NAME.bundle, of the commits of each repository inside that `bundles` names.
    closed, partly: the repositories inside of which no commit, or only some, could be kept.
    """

    commits: int = 0
    loose: int = 0
    staged: int = 0
    histories: int = 0
    bundles: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoverySnapshot:
    """A commit that keeps what a worktree held beyond `parent`, under a ref of its own.

    It names what it came from in words too, since card and project may be gone before it.
    size_bytes: of the files that differ from `parent`, each content counted once, before git compresses it.
    copied: files of it that were copied into the worktree; they are never committed on a branch.
    """

    id: RecoveryId
    project_id: ProjectId
    task_id: TaskId | None
    ref: str
    sha: str
    reason: str
    size_bytes: int
    created_at: datetime
    expires_at: datetime
    files: int = 0
    title: str = ""  # of the card
    project: str = ""
    repository: str = ""  # absolute path
    branch: str = ""
    base_branch: str = ""
    base_sha: str | None = None
    parent: str = ""
    copied: tuple[str, ...] = ()
    beside: Beside = field(default_factory=Beside)


@dataclass(frozen=True, slots=True)
class RestoredWork:
    """Where a recovery snapshot was laid out, and what is kept of it, under `ref`, that was not.

    task_id: the card whose worktree that is; None for one of its own.
    """

    recovery: RecoveryId
    path: str
    branch: str
    task_id: TaskId | None
    ref: str = ""
    beside: Beside = field(default_factory=Beside)


def days_left(expires_at: datetime, now: datetime) -> int:
    """How many days a snapshot stays, one that has begun counted whole."""
    return max(math.ceil((expires_at - now) / timedelta(days=1)), 1)


def ways_to(ref: str, beside: Beside) -> tuple[str, ...]:
    """The commands that bring up what is kept besides files, each on a line of its own, run in the repository."""
    found: list[str] = []
    if beside.commits:
        found.append(f"git log {ref}^@ --not --branches --remotes --tags")
    if beside.staged:
        found.append(f"git diff {ref}^1 {ref}^{beside.staged}")
    if not all(map(str.isprintable, beside.bundles)):  # no shell could be told such a name in a line
        return (*found, f"git ls-tree -r {ref}^{beside.histories}")
    for name in beside.bundles:
        source = shlex.quote(f"{ref}^{beside.histories}:{name}.bundle")
        found.append(f"git show {source} > kept.bundle && git fetch kept.bundle 'refs/*:refs/kept/*'")
    return tuple(found)
