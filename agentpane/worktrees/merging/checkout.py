"""Moving a checkout of the person's forward to a merge, keeping every edit, or refusing and changing nothing.

Their own filters and line endings are in force here; hooks are not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.diff import FileChange
from agentpane.domain.gitpaths import shown_paths
from agentpane.errors import ErrorCode
from agentpane.worktrees.git.config import ONE_WORKER
from agentpane.worktrees.git.errors import cause_of
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitOutput, GitRunner, Place
from agentpane.worktrees.keeping.ground import Seen
from agentpane.worktrees.merging.obstacles import (
    changes_between,
    closed_folders,
    in_the_way,
    refresh,
    seen,
    unseen_by_git,
)
from agentpane.worktrees.places import Checkout, head_branch, hold_common_dir
from agentpane.worktrees.repository import branch_tip
from agentpane.worktrees.values import MergeIntent, MergeRefused, Repository


def place_of(repo: Repository, path: Path, git_dir: Path) -> Place:
    """A checkout of the person's, with their own filters in force."""
    hold_common_dir(git_dir, repo.common_dir)
    return Place(git_dir, repo.common_dir, path, own_filters=True, allowed_filters=repo.allowed_filters)


def lock_of(git_dir: Path) -> Path:
    return git_dir / "index.lock"


class CutShort:
    """Git died on the way: the checkout may be half changed."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Git ended by itself, on the way: what it has written by then has to be taken back.

    before: how the files of the move lay there. index_moved: all files were written, and the branch could not be.
    """

    said: GitOutput
    before: Mapping[str, Seen | None]
    index_moved: bool


Stopped = MergeRefused | CutShort | GaveUp
_UNDER_WAY = "Finish what is under way there, then try again."
_HIDDEN = (
    "Where `git status` tells nothing of a file that is named, git was told not to look at it: `git update-index "
    "--no-assume-unchanged FILE`, or `--no-skip-worktree FILE`, shows what you have changed. Then commit or move it."
)
_REF_STAYED = re.compile(rb"cannot (?:lock|update) ref|update_ref failed")


async def fast_forward(git: GitRunner, repo: Repository, checkout: Checkout, intent: MergeIntent) -> Stopped | None:
    """Fast-forward the checkout to the merge. None when git did, or when the branch moved before it could."""
    place = place_of(repo, checkout.path, checkout.git_dir)
    if lock_of(checkout.git_dir).exists():
        return locked(checkout)
    if head_branch(checkout.git_dir) != intent.target:
        return None
    changes = await changes_between(git, repo, intent.old, intent.new)
    closed = await asyncio.to_thread(closed_folders, checkout.path, changes)
    if closed:
        return _closed(checkout, closed)
    before = await asyncio.to_thread(seen, checkout.path, changes)
    if await unseen_by_git(git, place, changes, before):
        if not await refresh(git, place):
            return CutShort()
        blocked = await in_the_way(git, repo, place, intent.old, intent.new)
        if blocked:
            return _refused(checkout, intent, blocked, GitOutput(1, b"", b""))
    # --no-overwrite-ignore: git would silently replace a file of the person's that it ignores.
    forward = await git.run(
        place, "merge", "--ff-only", "--no-overwrite-ignore", "--no-stat", "--quiet", "--no-autostash",
        "--no-verify-signatures", "--no-squash", intent.new, ok=range(-64, 256), timeout=LONG_TIMEOUT,
        # Such as `-s ours`, which overrules --ff-only.
        config={f"branch.{intent.target}.mergeOptions": "", **ONE_WORKER},
    )  # fmt: skip
    if forward.exit_code == 0:
        return None
    if forward.exit_code < 0:
        return CutShort()
    gave_up = await _gave_up(checkout, forward, changes, before)
    if gave_up is not None:
        return gave_up
    if lock_of(checkout.git_dir).exists():
        return locked(checkout)
    blocked = await in_the_way(git, repo, place, intent.old, intent.new)
    if not blocked and b"fast-forward" in forward.stderr and cause_of(forward.stderr) is None:
        return None
    return _refused(checkout, intent, blocked, forward)


async def _gave_up(
    checkout: Checkout, said: GitOutput, changes: Collection[FileChange], before: Mapping[str, Seen | None]
) -> GaveUp | None:
    """None where git refused before it wrote anything."""
    # ORIG_HEAD is what git writes first.
    moved = _REF_STAYED.search(said.stderr) is not None and b"'ORIG_HEAD'" not in said.stderr
    if moved or await asyncio.to_thread(seen, checkout.path, changes) != before:
        return GaveUp(said, before, moved)
    return None


async def step_back(git: GitRunner, repo: Repository, checkout: Checkout, intent: MergeIntent) -> Stopped | None:
    """Take the checkout and its branch back to the commit before. None when git did, or when the branch has moved."""
    place = place_of(repo, checkout.path, checkout.git_dir)
    if lock_of(checkout.git_dir).exists():
        return locked(checkout)
    if head_branch(checkout.git_dir) != intent.target:
        return None
    if not await refresh(git, place):  # `git merge` does so by itself
        return CutShort()
    blocked = await in_the_way(git, repo, place, intent.old, intent.new)
    if blocked:
        return _refused(checkout, intent, blocked, GitOutput(1, b"", b""))
    changes = await changes_between(git, repo, intent.old, intent.new)
    closed = await asyncio.to_thread(closed_folders, checkout.path, changes)
    if closed:
        return _closed(checkout, closed)
    before = await asyncio.to_thread(seen, checkout.path, changes)
    back = await switch(git, place, intent.old, intent.new)
    if back.exit_code < 0:
        return CutShort()
    if back.exit_code != 0:
        return await _gave_up(checkout, back, changes, before) or _refused(checkout, intent, (), back)
    return await _step_branch_back(git, repo, place, checkout, intent)


async def _step_branch_back(
    git: GitRunner, repo: Repository, place: Place, checkout: Checkout, intent: MergeIntent
) -> MergeRefused | CutShort | None:
    ref = f"refs/heads/{intent.target}"
    swap = await git.run(
        place, "update-ref", "-m", "agentpane: undo merge", ref, intent.new, intent.old, ok=range(-64, 256)
    )
    if swap.exit_code != 0:  # somebody committed meanwhile: the files go forward again
        again = await switch(git, place, intent.new, intent.old)
        if swap.exit_code < 0 or again.exit_code != 0:
            return CutShort()
        if cause_of(swap.stderr) is not None and await branch_tip(git, repo, intent.target) == intent.old:
            return _refused(checkout, intent, (), swap)
    return None


async def switch(git: GitRunner, place: Place, before: str, after: str) -> GitOutput:
    """Take index and files from one commit to another. Git refuses where an edit is in the way, and changes nothing."""
    return await git.run(
        place, "read-tree", "-m", "-u", before, after, ok=range(-64, 256), config=ONE_WORKER, timeout=LONG_TIMEOUT
    )


def locked(checkout: Checkout) -> MergeRefused:
    return MergeRefused(
        ErrorCode.RESOURCE_LOCKED,
        f"Another git command is at work in {checkout.path}, or was cut short there. Nothing has been changed.",
        f"Wait for it to end; if none runs, remove {lock_of(checkout.git_dir)}. Then try again.",
        (str(lock_of(checkout.git_dir)),),
    )


def _closed(checkout: Checkout, folders: tuple[str, ...]) -> MergeRefused:
    return MergeRefused(
        ErrorCode.RESOURCE_LOCKED,
        f"Folders of the checkout {checkout.path} may not be written: {shown_paths(folders)}. "
        "Nothing has been changed.",
        "Make them writable for you, then try again.",
        folders,
    )


def _refused(checkout: Checkout, intent: MergeIntent, paths: tuple[str, ...], said: GitOutput) -> MergeRefused:
    if paths:
        return MergeRefused(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"{intent.target} is checked out in {checkout.path} with work that this would overwrite: "
            f"{shown_paths(paths)}. Nothing has been changed.",
            "Commit, stash or move what is named, then try again.",
            paths,
        )
    reason, cause = said.stderr.decode("utf-8", "replace").strip(), cause_of(said.stderr)
    return MergeRefused(
        cause.code if cause else ErrorCode.MERGE_CHECKOUT_DIRTY,
        f"{f'{cause.what} ' if cause else ''}Git would not move the checkout {checkout.path}: {reason.rstrip('.')}. "
        "Nothing has been changed.",
        cause.hint if cause else _HIDDEN if b"would be overwritten" in said.stderr else _UNDER_WAY,
    )
