"""What this package is asked with and answers with: frozen values, safe on any thread."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from agentpane.domain.diff import DiffStat
from agentpane.domain.recoveries import Beside
from agentpane.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as it was when the person named it; where its parts lie is never asked of a worktree again."""

    path: Path  # the root of the work tree, or the bare folder
    git_dir: Path
    common_dir: Path
    bare: bool
    object_format: str  # sha1 or sha256
    allowed_filters: frozenset[str] = frozenset()  # filters that the person allows for this project, such as lfs
    main_checkout: Path | None = None  # of a repository that was named by a linked worktree of it, if it has one


@dataclass(frozen=True, slots=True)
class BranchTip:
    branch: str
    sha: str


@dataclass(frozen=True, slots=True)
class WorktreePlan:
    """A worktree to make. `copy_files` are paths relative to the repository's own checkout; for `mark` see Worktree."""

    path: Path
    branch: str
    base_sha: str
    copy_files: tuple[str, ...] = ()
    mark: str = field(default_factory=lambda: secrets.token_hex(12))


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree of ours; `git_dir` is the one recorded when it was made.

    mark: what was left in `git_dir` then, the id of its row. Without it nothing may be removed.
    """

    path: Path
    git_dir: Path
    branch: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class CreatedWorktree:
    path: Path
    branch: str
    git_dir: Path
    copied: tuple[str, ...]  # of the plan's copy_files those that exist
    mark: str = ""

    @property
    def worktree(self) -> Worktree:
        return Worktree(self.path, self.git_dir, self.branch, self.mark)


@dataclass(frozen=True, slots=True)
class ListedWorktree:
    """A worktree as git lists it; `branch` is None for a detached HEAD, `head` for a bare repository."""

    path: Path
    head: str | None
    branch: str | None
    prunable: bool
    locked: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The commit that a person reviews, and its size against the merge base."""

    sha: str
    tree: str
    stat: DiffStat
    base: str  # the merge base that it is compared with


@dataclass(frozen=True, slots=True)
class NothingChanged:
    """The worktree holds what its base holds."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """A commit that keeps what a worktree held, under a ref of its own, on top of the commit `parent`.

    files, size: how many differ from the parent, and their bytes, each content counted once.
    """

    ref: str
    sha: str
    parent: str
    files: int
    size: int
    beside: Beside


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """A commit that holds what a turn left, outside of any branch. stat: what the turn changed."""

    sha: str
    stat: DiffStat


@dataclass(frozen=True, slots=True)
class TurnTree:
    """The tree of what a worktree holds, without the files that are left out of it."""

    tree: str
    left_out: tuple[str, ...]


class MergeStrategy(StrEnum):
    MERGE = "merge"  # always a commit with two parents
    SQUASH = "squash"  # one commit with the target as its only parent
    FF = "ff"  # the reviewed commit itself, or nothing


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What to merge where. `reviewed` must be what `refs/agentpane/run/<run_id>/reviewed` names."""

    target: str  # a branch, without refs/heads/
    reviewed: str
    run_id: str
    strategy: MergeStrategy | str
    message: str
    base_sha: str | None = None  # where the work began; a target without it has been rewound
    only_tree: str | None = None  # the one tree that may come of it; None: any


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What a merge would make of the target as it is: `tree`, on top of the commit `old`."""

    old: str
    tree: str


@dataclass(frozen=True, slots=True)
class MergeIntent:
    """Written down before a ref or a checkout is touched, so that a merge cut short can be found and settled."""

    run_id: str
    target: str
    old: str
    new: str
    reviewed: str
    checkout: Path | None  # the work tree that has `target` checked out
    checkout_git_dir: Path | None
    back: bool = False  # `new` comes before `old`: a merge is taken back
    began_s: float = 0.0  # when it was written down


@dataclass(frozen=True, slots=True)
class Merged:
    commit: str
    old_target: str
    tree: str


@dataclass(frozen=True, slots=True)
class ConflictPath:
    path: str
    kind: str  # contents, modify/delete, add/add, rename/delete, binary …


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Both sides changed the same place. Nothing has been touched."""

    paths: tuple[ConflictPath, ...]
    target_sha: str


@dataclass(frozen=True, slots=True)
class MergeRefused:
    """The merge was not done, and nothing has been touched.

    open: something has, and its intent has to be settled; what the person has not committed is kept.
    """

    code: ErrorCode
    message: str
    hint: str = ""
    paths: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True, slots=True)
class TreeChanged:
    """Something else would come of the merge than the plan's `only_tree`. Nothing has been touched."""

    tree: str


MergeOutcome = Merged | Conflicted | MergeRefused | TreeChanged


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """A merge to take back: it took `target` from `old` to `merge`.

    message: of the commit that reverts it, if any; again: of the one on top, which holds the change for its review.
    """

    target: str
    old: str
    merge: str
    reviewed: str
    run_id: str
    message: str
    again: str


@dataclass(frozen=True, slots=True)
class Undone:
    """exact: the target stands where it stood before the merge; else a commit on top of it reverts the merge; None: it
    did not hold the merge any more, and was left as it is.

    again: the commit that holds the change, pinned for review once more; base: what it is compared with.
    """

    target: str
    exact: bool | None
    again: str
    base: str


UndoOutcome = Undone | MergeRefused


class RecoveryOutcome(StrEnum):
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    NEEDS_PERSON = "needs_person"


@dataclass(frozen=True, slots=True)
class MergeRecovery:
    """How a merge that was cut short has been settled."""

    outcome: RecoveryOutcome
    message: str
    commit: str | None = None  # set when completed
    paths: tuple[str, ...] = ()  # what the person has to look at
