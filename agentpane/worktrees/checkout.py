"""Moving a checkout of the person's forward to a merge, keeping every edit, or refusing and changing nothing.

Their own filters and line endings are in force here; hooks are not.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agentpane.domain.diff import decode_path, display_path, parse_raw, split_z
from agentpane.errors import ErrorCode
from agentpane.worktrees.git import LONG_TIMEOUT, GitOutput, GitRunner, Place
from agentpane.worktrees.places import Checkout, head_branch, hold_common_dir, objects_of
from agentpane.worktrees.values import MergeIntent, MergeRefused, Repository


def place_of(repo: Repository, path: Path, git_dir: Path) -> Place:
    """A checkout of the person's, with their own filters in force."""
    hold_common_dir(git_dir, repo.common_dir)
    return Place(git_dir, repo.common_dir, path, own_filters=True, allowed_filters=repo.allowed_filters)


def lock_of(git_dir: Path) -> Path:
    return git_dir / "index.lock"


class CutShort:
    """Git died on the way: the checkout may be half changed."""


async def fast_forward(
    git: GitRunner, repo: Repository, checkout: Checkout, intent: MergeIntent
) -> MergeRefused | CutShort | None:
    """Fast-forward the checkout to the merge. None when git did, or when the branch moved before it could."""
    place = place_of(repo, checkout.path, checkout.git_dir)
    if lock_of(checkout.git_dir).exists():
        return locked(checkout)
    if head_branch(checkout.git_dir) != intent.target:
        return None
    # --no-overwrite-ignore: git would silently replace a file of the person's that it ignores.
    forward = await git.run(
        place, "merge", "--ff-only", "--no-overwrite-ignore", "--no-stat", "--quiet", "--no-autostash",
        "--no-verify-signatures", "--no-squash", intent.new, ok=range(-64, 256), timeout=LONG_TIMEOUT,
        config={f"branch.{intent.target}.mergeOptions": ""},  # such as `-s ours`, which overrules --ff-only
    )  # fmt: skip
    if forward.exit_code == 0:
        return None
    if forward.exit_code < 0:
        return CutShort()
    if lock_of(checkout.git_dir).exists():
        return locked(checkout)
    in_the_way = await _in_the_way(git, repo, place, intent)
    if not in_the_way and b"fast-forward" in forward.stderr:
        return None
    return _refused(checkout, intent, in_the_way, forward)


async def step_back(
    git: GitRunner, repo: Repository, checkout: Checkout, intent: MergeIntent
) -> MergeRefused | CutShort | None:
    """Take the checkout and its branch back to the commit before. None when git did, or when the branch has moved."""
    place = place_of(repo, checkout.path, checkout.git_dir)
    if lock_of(checkout.git_dir).exists():
        return locked(checkout)
    if head_branch(checkout.git_dir) != intent.target:
        return None
    in_the_way = await _in_the_way(git, repo, place, intent)
    if in_the_way:
        return _refused(checkout, intent, in_the_way, GitOutput(1, b"", b""))
    back = await _switch(git, place, intent.old, intent.new)
    if back.exit_code < 0:
        return CutShort()
    if back.exit_code != 0:
        return _refused(checkout, intent, (), back)
    ref = f"refs/heads/{intent.target}"
    swap = await git.run(
        place, "update-ref", "-m", "agentpane: undo merge", ref, intent.new, intent.old, ok=range(-64, 256)
    )
    if swap.exit_code != 0:  # somebody committed meanwhile: the files go forward again
        again = await _switch(git, place, intent.new, intent.old)
        if swap.exit_code < 0 or again.exit_code != 0:
            return CutShort()
    return None


async def _switch(git: GitRunner, place: Place, before: str, after: str) -> GitOutput:
    """Take index and files from one commit to another. Git refuses where an edit is in the way, and changes nothing."""
    return await git.run(place, "read-tree", "-m", "-u", before, after, ok=range(-64, 256), timeout=LONG_TIMEOUT)


def locked(checkout: Checkout) -> MergeRefused:
    return MergeRefused(
        ErrorCode.RESOURCE_LOCKED,
        f"Another git command is at work in {checkout.path}, or was cut short there. Nothing has been changed.",
        f"Wait for it to end; if none runs, remove {lock_of(checkout.git_dir)}. Then approve again.",
        (str(lock_of(checkout.git_dir)),),
    )


def _refused(checkout: Checkout, intent: MergeIntent, paths: tuple[str, ...], said: GitOutput) -> MergeRefused:
    if paths:
        shown = ", ".join(display_path(path) for path in paths[:5])
        return MergeRefused(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"{intent.target} is checked out in {checkout.path} with edits that this would overwrite: {shown}. "
            "Nothing has been changed.",
            "Commit or stash these files, then approve again.",
            paths,
        )
    reason = said.stderr.decode("utf-8", "replace").strip()
    return MergeRefused(
        ErrorCode.MERGE_CHECKOUT_DIRTY,
        f"Git would not move the checkout {checkout.path} forward: {reason} Nothing has been changed.",
        "Finish what is under way there, then approve again.",
    )


async def _in_the_way(git: GitRunner, repo: Repository, place: Place, intent: MergeIntent) -> tuple[str, ...]:
    """Files of the person's that the merge would write over: edited, staged, or in the place of a new file."""
    objects = objects_of(repo)
    listed = await git.run(
        objects, "diff-tree", "-r", "--raw", "-z", "--no-abbrev", "--no-renames", intent.old, intent.new
    )
    changes = parse_raw(listed.stdout)
    unstaged, staged = await asyncio.gather(
        git.run(place, "diff-files", "--name-only", "-z", "--no-ext-diff", "--ignore-submodules=all"),
        git.run(place, "diff-index", "--cached", "--name-only", "-z", "--no-ext-diff", "HEAD", "--"),
    )
    edited = {decode_path(name) for output in (unstaged, staged) for name in split_z(output.stdout)}
    return await asyncio.to_thread(
        lambda: tuple(
            change.path
            for change in changes
            if change.path in edited or (change.status == "A" and _blocks(place.work_tree, change.path))
        )
    )


def _blocks(root: Path | None, path: str) -> bool:
    """Whether something of the person's lies where a new file would go, be it a file in the place of a folder."""
    assert root is not None
    if os.path.lexists(root / path):
        return True
    parents = Path(path).parents
    return any(os.path.lexists(root / parent) and not os.path.isdir(root / parent) for parent in parents)
