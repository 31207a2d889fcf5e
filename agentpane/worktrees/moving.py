"""Moving a branch from one commit to another, written down first: by compare-and-swap, or with its checkout.

A checkout of the person's keeps every edit, or the move is refused and nothing has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from agentpane.errors import ErrorCode
from agentpane.worktrees.checkout import CutShort, fast_forward, lock_of, locked, step_back
from agentpane.worktrees.git import GitRunner
from agentpane.worktrees.merge_recovery import recover_merge
from agentpane.worktrees.places import Checkout, checkouts, objects_of
from agentpane.worktrees.repository import branch_tip
from agentpane.worktrees.snapshot import reviewed_ref
from agentpane.worktrees.values import MergeIntent, MergeRecovery, MergeRefused, RecoveryOutcome, Repository

Journal = Callable[[MergeIntent], Awaitable[None]]


class TargetMoved:
    """The branch changed between looking at it and moving it."""


async def move(
    git: GitRunner, repo: Repository, intent: MergeIntent, journal: Journal
) -> MergeRefused | TargetMoved | None:
    """Move the branch of the intent, whose checkout is looked up here. None when it is done.

    journal: awaited before a ref or a checkout is touched; what it raises stops the move.
    """
    held = checkouts(repo, intent.target)
    refused = _refuse_checkouts(intent.target, held)
    if refused is not None:
        return refused
    checkout = held[0] if held else None
    if checkout is not None:
        intent = replace(intent, checkout=checkout.path, checkout_git_dir=checkout.git_dir)
    await journal(intent)
    # Cut off here, a branch or a checkout would be half changed: whoever cancels waits for the end of it.
    step = asyncio.ensure_future(_move(git, repo, intent, checkout))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait({step})
        raise


async def _move(
    git: GitRunner, repo: Repository, intent: MergeIntent, checkout: Checkout | None
) -> MergeRefused | TargetMoved | None:
    if checkout is not None:
        refused = await (step_back if intent.back else fast_forward)(git, repo, checkout, intent)
        if isinstance(refused, CutShort):
            return _settled(await recover_merge(git, repo, intent))
        moved = refused is not None or await branch_tip(git, repo, intent.target) == intent.new
        return refused if moved else TargetMoved()
    lines = [
        "start",
        f"update refs/heads/{intent.target} {intent.new} {intent.old}",
        f"verify {reviewed_ref(intent.run_id)} {intent.reviewed}",
        "prepare",
        "commit",
        "",
    ]
    message = f"agentpane: {'undo' if intent.back else 'merge'} {intent.reviewed[:12]}"
    swap = await git.run(
        objects_of(repo), "update-ref", "-m", message, "--stdin", ok=(0, 128),
        stdin="\n".join(lines).encode("utf-8", "surrogateescape"),
    )  # fmt: skip
    return None if swap.exit_code == 0 else TargetMoved()


def _settled(recovery: MergeRecovery) -> MergeRefused | TargetMoved | None:
    if recovery.outcome is RecoveryOutcome.COMPLETED:
        return None
    if recovery.outcome is RecoveryOutcome.ROLLED_BACK:
        return TargetMoved()
    hint = "Look at these files, and approve again when the checkout is as you want it."
    return MergeRefused(ErrorCode.MERGE_CHECKOUT_DIRTY, recovery.message, hint, recovery.paths)


def _refuse_checkouts(target: str, held: list[Checkout]) -> MergeRefused | None:
    if len(held) > 1:
        paths = tuple(str(checkout.path) for checkout in held)
        return MergeRefused(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"{target} is checked out in more than one place ({', '.join(paths)}). Nothing has been changed.",
            "Switch all but one of them to another branch, then approve again.",
            paths,
        )
    if held and held[0].busy:
        return MergeRefused(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"A rebase of {target} is under way in {held[0].path}. Nothing has been changed.",
            "Finish or abort the rebase, then approve again.",
            (str(held[0].path),),
        )
    # None may be there before the intent is written: recovery takes one that it finds for ours.
    return locked(held[0]) if held and lock_of(held[0].git_dir).exists() else None
