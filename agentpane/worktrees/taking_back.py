"""Taking back what git wrote into a checkout of the person's before it gave up: no room, no permission, a ref's lock.

Git itself leaves such a checkout half changed. Only files that have changed since the move began, and that hold what
the move writes, are touched; whatever is the person's stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.diff import FileChange, encode_path
from agentpane.errors import ErrorCode
from agentpane.worktrees.checkout import CutShort, GaveUp, place_of, switch
from agentpane.worktrees.git import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.git_errors import cause_of
from agentpane.worktrees.merge_recovery import State, states_of
from agentpane.worktrees.obstacles import Seen, changes_between, seen
from agentpane.worktrees.places import Checkout
from agentpane.worktrees.values import MergeIntent, MergeRefused, Repository


@dataclass(frozen=True, slots=True)
class _Written:
    """What of a move lies in the checkout already: files to lay out once more, and files to take away."""

    again: tuple[str, ...]
    away: tuple[str, ...]


async def take_back(
    git: GitRunner, repo: Repository, checkout: Checkout, intent: MergeIntent, gave_up: GaveUp
) -> MergeRefused | CutShort:
    """Let the checkout be as it was before the move. CutShort where that cannot be done either."""
    place = place_of(repo, checkout.path, checkout.git_dir)
    if gave_up.index_moved:
        back = await switch(git, place, intent.new, intent.old)
        if back.exit_code != 0:
            return CutShort()
    changes = [
        change
        for change in await changes_between(git, repo, intent.old, intent.new)
        if "160000" not in (change.old_mode, change.new_mode)
    ]
    try:
        with git.scratch() as folder:
            states = await states_of(git, place, intent, changes, folder)
    except OSError:
        return CutShort()
    written = await asyncio.to_thread(_written, checkout.path, changes, states, gave_up.before)
    if not await _lay_out(git, place, written):
        return CutShort()
    return _refused(checkout, gave_up)


def _written(
    root: Path, changes: Sequence[FileChange], states: Mapping[str, State], before: Mapping[str, Seen | None]
) -> _Written:
    now = seen(root, changes)
    touched = [
        change for change in changes if states[change.path] is State.NEW and now[change.path] != before[change.path]
    ]
    return _Written(
        tuple(change.path for change in touched if change.status != "A" and before[change.path] is not None),
        tuple(change.path for change in touched if change.status == "A" and before[change.path] is None),
    )


async def _lay_out(git: GitRunner, place: Place, written: _Written) -> bool:
    """Whether all of it could be taken back."""
    assert place.work_tree is not None
    gone = await asyncio.to_thread(_take_away, place.work_tree, written.away)
    if not written.again:
        return gone
    names = b"".join(encode_path(path) + b"\0" for path in written.again)
    shape = ("checkout-index", "--force", "--index", "-z", "--stdin")
    done = await git.run(place, *shape, stdin=names, ok=range(-64, 256), timeout=LONG_TIMEOUT)
    return gone and done.exit_code == 0


def _take_away(root: Path, paths: Sequence[str]) -> bool:
    for path in paths:
        with suppress(OSError):
            (root / path).unlink()
            for parent in Path(path).parents[:-1]:
                (root / parent).rmdir()
    return not any(os.path.lexists(root / path) for path in paths)


def _refused(checkout: Checkout, gave_up: GaveUp) -> MergeRefused:
    cause = cause_of(gave_up.said.stderr)
    said = gave_up.said.stderr.decode("utf-8", "replace").strip()
    return MergeRefused(
        cause.code if cause else ErrorCode.MERGE_CHECKOUT_DIRTY,
        f"{cause.what if cause else 'Git gave up.'} It could not move the checkout {checkout.path}: {said} "
        "What it had written was taken back, and nothing has been changed.",
        cause.hint if cause else "Look at what git says, then try again.",
    )
