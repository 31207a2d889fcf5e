"""Moving a branch from one commit to another, written down first: by compare-and-swap, or with its checkout.

A checkout of the person's keeps every edit, or the move is refused and nothing has changed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from agentpane.errors import ErrorCode
from agentpane.worktrees.git.errors import cause_of
from agentpane.worktrees.git.runner import GitError, GitOutput, GitRunner
from agentpane.worktrees.merging.checkout import CutShort, GaveUp, fast_forward, lock_of, locked, step_back
from agentpane.worktrees.merging.merge_recovery import recover_merge
from agentpane.worktrees.merging.taking_back import take_back
from agentpane.worktrees.places import Checkout, checkouts, objects_of
from agentpane.worktrees.repository import branch_tip
from agentpane.worktrees.snapshots.snapshot import reviewed_ref
from agentpane.worktrees.values import MergeIntent, MergeRecovery, MergeRefused, RecoveryOutcome, Repository

_LOCK_LOOKS, _LOCK_PAUSE = 20, 0.05

Journal = Callable[[MergeIntent], Awaitable[None]]


_UNDER_WAY = {"MERGE_HEAD": "A merge", "CHERRY_PICK_HEAD": "A cherry-pick", "REVERT_HEAD": "A revert"}


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
    refused = await _refuse_locks(repo, intent.target, checkout)
    if refused is not None:
        return refused
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
        if isinstance(refused, GaveUp):
            refused = await take_back(git, repo, checkout, intent, refused)
            if isinstance(refused, MergeRefused) and await branch_tip(git, repo, intent.target) != intent.old:
                return TargetMoved()
        if isinstance(refused, CutShort):
            return await _finished(git, repo, intent, checkout)
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
    return None if swap.exit_code == 0 else await _not_swapped(git, repo, intent, swap)


async def _not_swapped(
    git: GitRunner, repo: Repository, intent: MergeIntent, said: GitOutput
) -> MergeRefused | TargetMoved:
    cause = cause_of(said.stderr)
    if cause is None or await branch_tip(git, repo, intent.target) != intent.old:
        return TargetMoved()
    reason = said.stderr.decode("utf-8", "replace").strip()
    message = f"{cause.what} Git could not move {intent.target}: {reason} Nothing has been changed."
    return MergeRefused(cause.code, message, cause.hint)


async def _finished(
    git: GitRunner, repo: Repository, intent: MergeIntent, checkout: Checkout
) -> MergeRefused | TargetMoved | None:
    """Raises GitError where it cannot be finished now; the intent that was written down is settled later."""
    try:
        return _settled(await recover_merge(git, repo, intent))
    except GitError as error:
        error.hint = (
            f"{error.hint} {checkout.path} is half changed; what you have not committed there is kept. It is settled "
            "when the engine starts next, or by `agentpane doctor --fix`."
        )
        raise


async def _refuse_locks(repo: Repository, target: str, checkout: Checkout | None) -> MergeRefused | None:
    """Git finds a lock on the branch only once it has written the files of the checkout."""
    locks = [repo.common_dir / "refs" / "heads" / f"{target}.lock"]
    if checkout is not None:
        locks.append(checkout.git_dir / "HEAD.lock")
    for lock in locks:
        for _ in range(_LOCK_LOOKS):
            if not os.path.lexists(lock):
                break
            await asyncio.sleep(_LOCK_PAUSE)
        else:
            return MergeRefused(
                ErrorCode.RESOURCE_LOCKED,
                f"Another git command holds {target}, or was cut short: {lock} is there. Nothing has been changed.",
                "Wait for it to end; if none runs, remove that file. Then try again.",
                (str(lock),),
            )
    return None


def _settled(recovery: MergeRecovery) -> MergeRefused | TargetMoved | None:
    if recovery.outcome is RecoveryOutcome.COMPLETED:
        return None
    if recovery.outcome is RecoveryOutcome.ROLLED_BACK:
        return TargetMoved()
    hint = (
        "Look at these files, and try again when the checkout is as you want it; what was cut short is settled first."
    )
    return MergeRefused(ErrorCode.MERGE_CHECKOUT_DIRTY, recovery.message, hint, recovery.paths, open=True)


def _refuse_checkouts(target: str, held: list[Checkout]) -> MergeRefused | None:
    if len(held) > 1:
        paths = tuple(str(checkout.path) for checkout in held)
        return MergeRefused(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"{target} is checked out in more than one place ({', '.join(paths)}). Nothing has been changed.",
            "Switch all but one of them to another branch, then try again.",
            paths,
        )
    if held and held[0].busy:
        return MergeRefused(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"A rebase of {target} is under way in {held[0].path}. Nothing has been changed.",
            "Finish or abort the rebase, then try again.",
            (str(held[0].path),),
        )
    if held and (under_way := _under_way(held[0])) is not None:
        return MergeRefused(
            ErrorCode.MERGE_CHECKOUT_DIRTY,
            f"{under_way} is under way in {held[0].path}, where {target} is checked out. Nothing has been changed.",
            "Finish or abort it there, then try again.",
            (str(held[0].path),),
        )
    # None may be there before the intent is written: recovery takes one that it finds for ours.
    return locked(held[0]) if held and lock_of(held[0].git_dir).exists() else None


def _under_way(checkout: Checkout) -> str | None:
    """What the person has begun there with git, whose end would be built on another commit than its beginning."""
    return next((what for name, what in _UNDER_WAY.items() if os.path.lexists(checkout.git_dir / name)), None)
