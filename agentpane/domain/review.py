"""What a person reviews, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.filemodes import FileNote, file_notes


class MergeStrategy(StrEnum):
    MERGE = "merge"
    SQUASH = "squash"
    FF = "ff"


class ReviewVerdict(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"


class ApproveResult(StrEnum):
    MERGED = "merged"
    CONFLICTED = "conflicted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One changed file. Paths may hold surrogate escapes; counts are None for a binary file."""

    path: str
    old_path: str | None
    status: str  # A, M, D, R, C or T
    added: int | None
    removed: int | None
    binary: bool
    old_mode: str = ""  # six octal digits, 000000 where the file is absent
    new_mode: str = ""
    target: str | None = None  # where a symbolic link leads, or the commit of a submodule

    @property
    def notes(self) -> tuple[FileNote, ...]:
        """What to know about the file beside its text."""
        return file_notes(self.path, self.old_mode, self.new_mode, self.target)


MOST_COMMITS = 50


@dataclass(frozen=True, slots=True)
class DiffSummary:
    """The snapshot of a task against its merge base."""

    base: str
    snapshot: str
    files: tuple[FileDiff, ...]
    target: str  # the branch that approving merges into
    # The sha and the subject of what lies below the snapshot and is not the target's, newest first.
    commits: tuple[str, ...] = ()
    more_commits: bool = False  # there are more of them than MOST_COMMITS


@dataclass(frozen=True, slots=True)
class PatchChunk:
    """A part of git's patch, byte for byte. `next_offset` is None at the end."""

    data: bytes
    next_offset: int | None


@dataclass(frozen=True, slots=True)
class ReviewComment:
    """A remark on one line, or on the whole file if `line` is None.

    line: counts from 1 in the new file, or in the old one where `old_side` is set, as for a removed line.
    """

    path: str
    line: int | None
    body: str
    old_side: bool = False


@dataclass(frozen=True, slots=True)
class ApproveOutcome:
    """What approving did. Nothing has changed unless `result` is MERGED.

    recovery: the snapshot of what the worktree held beyond what was reviewed, where there was anything.
    """

    task_id: str
    result: ApproveResult
    merge_commit: str | None
    paths: tuple[str, ...]
    code: str | None
    message: str
    hint: str
    recovery: str | None = None
