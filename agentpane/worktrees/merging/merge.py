"""Merging exactly the reviewed commit, in object space, without touching what the person has not committed.

The sequence: merge the trees, make the commit, write the intent down, then move the branch by
compare-and-swap, or, where it is checked out, by git's own fast-forward of that checkout.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentpane.domain.diff import display_path
from agentpane.errors import ErrorCode
from agentpane.worktrees.conflicts.merge_tree import parse_merge_tree
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner
from agentpane.worktrees.merging.moving import Journal as Journal
from agentpane.worktrees.merging.moving import move
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.refs.commits import make_commit
from agentpane.worktrees.refs.history import tree_of_holder
from agentpane.worktrees.repository import branch_tip, commit_tree, is_ancestor, ref_tip
from agentpane.worktrees.snapshots.snapshot import reviewed_ref
from agentpane.worktrees.values import (
    Conflicted,
    ConflictPath,
    Merged,
    MergeIntent,
    MergeOutcome,
    MergePlan,
    MergePreview,
    MergeRefused,
    MergeStrategy,
    Repository,
    TreeChanged,
)

TRIES = 3


@dataclass(frozen=True, slots=True)
class _Ready:
    """A merge whose commit exists in the object store and is named by nothing yet."""

    old: str
    new: str
    tree: str


async def merge(git: GitRunner, repo: Repository, plan: MergePlan, journal: Journal) -> MergeOutcome:
    """Merge the reviewed commit into the target. Expected failures are values; nothing has changed then.

    journal: awaited before a ref or a checkout is touched; what it raises stops the merge.
    A target that merely advanced is merged onto, at most three times, unless another tree than the plan's only one
    would come of that.
    """
    seen: str | None = None
    for _ in range(TRIES):
        old = await branch_tip(git, repo, plan.target)
        refused = await _check(git, repo, plan, old, seen)
        if refused is not None or old is None:
            return refused or _gone(plan)
        ready = await _prepare(git, repo, plan, old)
        if not isinstance(ready, _Ready):
            return ready
        intent = MergeIntent(plan.run_id, plan.target, ready.old, ready.new, plan.reviewed, None, None)
        moved = await move(git, repo, intent, journal)
        if moved is None:
            return Merged(ready.new, ready.old, ready.tree)
        if isinstance(moved, MergeRefused):
            return moved
        seen = old
    return MergeRefused(
        ErrorCode.MERGE_BASE_MOVED,
        f"{plan.target} changed {TRIES} times while it was being merged into. Nothing has been changed.",
        "Approve again when nothing else works on that branch.",
    )


async def preview(
    git: GitRunner, repo: Repository, plan: MergePlan
) -> MergePreview | Merged | Conflicted | MergeRefused:
    """What `merge` would make of the target as it is. Nothing that has a name changes.

    Merged: the target holds the reviewed commit already.
    """
    old = await branch_tip(git, repo, plan.target)
    refused = await _check(git, repo, plan, old, None)
    if refused is not None or old is None:
        return refused or _gone(plan)
    tree = await _merged_tree(git, repo, plan, old)
    return MergePreview(old, tree) if isinstance(tree, str) else tree


async def _check(
    git: GitRunner, repo: Repository, plan: MergePlan, old: str | None, seen: str | None
) -> MergeRefused | None:
    """Whether the target still holds what the work was based on, and the review is still of this commit."""
    if old is None:
        return _gone(plan)
    pinned = await ref_tip(git, repo, reviewed_ref(plan.run_id))
    if pinned != plan.reviewed:
        return MergeRefused(
            ErrorCode.MERGE_REVIEW_STALE,
            f"The commit {plan.reviewed[:12]} is not the one that waits for review. Nothing has been changed.",
            "Look at the newest diff, then approve that.",
        )
    if seen is not None and not await is_ancestor(git, repo, seen, old):
        return _rewound(plan, seen)
    return None


def _rewound(plan: MergePlan, known: str) -> MergeRefused:
    return MergeRefused(
        ErrorCode.MERGE_BASE_MOVED,
        f"{plan.target} has been rewound: it no longer holds {known[:12]}, where this work began. "
        "Nothing has been changed.",
        "Put the branch back, or start the task anew from what the branch is now.",
    )


def _gone(plan: MergePlan) -> MergeRefused:
    return MergeRefused(
        ErrorCode.MERGE_BASE_MOVED,
        f"There is no branch {display_path(plan.target)!r} any more. Nothing has been changed.",
        "Make the branch again, or give the project another base branch.",
    )


async def _prepare(
    git: GitRunner, repo: Repository, plan: MergePlan, old: str
) -> _Ready | Conflicted | Merged | MergeRefused | TreeChanged:
    """Merge the trees and make the commit; nothing that has a name changes."""
    tree = await _merged_tree(git, repo, plan, old)
    if not isinstance(tree, str):
        return tree
    if plan.only_tree not in {None, tree}:
        return TreeChanged(tree)
    if plan.strategy == MergeStrategy.FF:
        return _Ready(old, plan.reviewed, tree)
    parents = [old] if plan.strategy == MergeStrategy.SQUASH else [old, plan.reviewed]
    return _Ready(old, await make_commit(git, repo, tree, parents, plan.message), tree)


async def _merged_tree(
    git: GitRunner, repo: Repository, plan: MergePlan, old: str
) -> str | Conflicted | Merged | MergeRefused:
    """The tree that the target would hold, as an object that nothing names."""
    if plan.strategy == MergeStrategy.FF:
        return await _settled_by_history(git, repo, plan, old) or await _forward(git, repo, plan, old)
    place = objects_of(repo)
    shape = ("merge-tree", "--write-tree", "-z", "--messages", old, plan.reviewed)
    # The question about history and the merge of the trees need nothing of each other.
    trees = asyncio.ensure_future(git.run(place, *shape, ok=(0, 1), timeout=LONG_TIMEOUT))
    try:
        before = await _tree_before(repo, plan, old)
        settled = None if before is not None else await _settled_by_history(git, repo, plan, old)
        if settled is not None:
            return settled
        merged = await trees
    finally:  # nobody waits for what nobody needs
        trees.cancel()
        await asyncio.gather(trees, return_exceptions=True)
    tree, conflicts = parse_merge_tree(merged.stdout)
    if tree == before:  # a target that holds the commit already is not changed by it, nor by one that changes nothing
        settled = await _settled_by_history(git, repo, plan, old)
        if settled is not None:
            return settled
    if merged.exit_code == 1:
        return Conflicted(tuple(ConflictPath(path, kind) for path, kind in conflicts), old)
    return tree


async def _tree_before(repo: Repository, plan: MergePlan, old: str) -> str | None:
    """The target's tree, where its recent commits alone show that it was not rewound."""
    if plan.base_sha is None or plan.base_sha == old:
        return None
    return await asyncio.to_thread(tree_of_holder, repo, old, plan.base_sha)


async def _forward(git: GitRunner, repo: Repository, plan: MergePlan, old: str) -> str | MergeRefused:
    if await is_ancestor(git, repo, old, plan.reviewed):
        return await commit_tree(git, repo, plan.reviewed)
    return MergeRefused(
        ErrorCode.MERGE_BASE_MOVED,
        f"{plan.target} has gone on since this work began, so it cannot be fast-forwarded. Nothing has been changed.",
        "Approve with the strategy merge or squash.",
    )


async def _settled_by_history(
    git: GitRunner, repo: Repository, plan: MergePlan, old: str
) -> Merged | MergeRefused | None:
    """What the history alone says: the target was rewound, or holds the commit already; None: there is work to do."""
    if old == plan.base_sha:
        return None  # a target that has not moved since the work began cannot hold it already
    found = await git.run(objects_of(repo), "merge-base", old, plan.reviewed, ok=(0, 1))
    common = found.line if found.exit_code == 0 else None
    if common == plan.reviewed:
        return Merged(old, old, await commit_tree(git, repo, old))
    if plan.base_sha in {None, common} or await is_ancestor(git, repo, str(plan.base_sha), old):
        return None
    return _rewound(plan, str(plan.base_sha))
