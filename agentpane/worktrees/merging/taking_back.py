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
from agentpane.domain.gitpaths import shown_paths
from agentpane.errors import ErrorCode
from agentpane.worktrees.git.errors import cause_of
from agentpane.worktrees.git.files import open_regular
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitRunner, Place
from agentpane.worktrees.keeping.exact import take_away
from agentpane.worktrees.keeping.ground import Ground, Seen
from agentpane.worktrees.merging.checkout import CutShort, GaveUp, place_of, switch
from agentpane.worktrees.merging.obstacles import changes_between, seen
from agentpane.worktrees.places import Checkout
from agentpane.worktrees.values import MergeIntent, MergeRefused, Repository

_LINK, _SUBMODULE = "120000", "160000"


@dataclass(frozen=True, slots=True)
class _Written:
    """What of a move lies in the checkout: files to lay out once more, files to take away, and what is neither."""

    again: tuple[str, ...]
    away: tuple[str, ...]
    foreign: tuple[str, ...]


async def take_back(
    git: GitRunner, repo: Repository, checkout: Checkout, intent: MergeIntent, gave_up: GaveUp
) -> MergeRefused | CutShort:
    """Let the checkout be as it was before the move. CutShort where that cannot be done either."""
    place = place_of(repo, checkout.path, checkout.git_dir)
    if gave_up.index_moved:
        back = await switch(git, place, intent.new, intent.old)
        return CutShort() if back.exit_code != 0 else _refused(checkout, gave_up, ())
    changes = await changes_between(git, repo, intent.old, intent.new)
    written = await _look(git, place, changes, gave_up.before)
    if not await _lay_out(git, place, written):
        return CutShort()
    return _refused(checkout, gave_up, written.foreign)


async def _look(
    git: GitRunner, place: Place, changes: Sequence[FileChange], before: Mapping[str, Seen | None]
) -> _Written:
    assert place.work_tree is not None
    now = await asyncio.to_thread(seen, place.work_tree, changes)
    again, away, foreign = [], [], []
    for change in changes:
        path, was = change.path, before[change.path]
        if now[path] == was or _SUBMODULE in (change.old_mode, change.new_mode):
            continue
        if not await _is_of_the_move(git, place, change, there=now[path] is not None):
            foreign.append(path)
        elif was is not None and change.status != "A":
            again.append(path)
        elif was is None and change.status == "A":
            away.append(path)
    return _Written(tuple(again), tuple(away), tuple(foreign))


async def _is_of_the_move(git: GitRunner, place: Place, change: FileChange, there: bool) -> bool:
    """Whether git has left the file, or its absence."""
    assert place.work_tree is not None
    if there:
        return await _begins(git, place, change.path, change.new_mode, change.new_sha)
    return await asyncio.to_thread(Ground(place.work_tree).barrier, change.path) is None


async def _begins(git: GitRunner, place: Place, path: str, mode: str, sha: str) -> bool:
    """Whether the file holds what git writes there, or the beginning of it. Nothing is written to find out."""
    if not sha.strip("0"):
        return False
    shape = ("cat-file", "blob", sha) if mode == _LINK else ("cat-file", "--filters", f"--path={path}", sha)
    expected = await git.run(place, *shape, ok=range(-64, 256), timeout=LONG_TIMEOUT)
    return expected.exit_code == 0 and await asyncio.to_thread(_is_beginning, place, path, expected.stdout)


def _is_beginning(place: Place, path: str, expected: bytes) -> bool:
    assert place.work_tree is not None
    file = place.work_tree / path
    try:
        if file.is_symlink():
            return os.fsencode(os.readlink(file)) == expected
        with open_regular(file) as opened:
            return expected.startswith(opened.read(len(expected) + 1))
    except OSError:
        return False


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
            take_away(root, (path,))
    return not any(os.path.lexists(root / path) for path in paths)


def _refused(checkout: Checkout, gave_up: GaveUp, foreign: tuple[str, ...]) -> MergeRefused:
    cause = cause_of(gave_up.said.stderr)
    said = gave_up.said.stderr.decode("utf-8", "replace").strip()
    kept = (
        f"These changed meanwhile and were left as they are: {shown_paths(foreign)}."
        if foreign
        else "Nothing has been changed."
    )
    return MergeRefused(
        cause.code if cause else ErrorCode.MERGE_CHECKOUT_DIRTY,
        f"{cause.what if cause else 'Git gave up.'} The checkout {checkout.path} could not be moved: {said} "
        f"What git had written was taken back. {kept}",
        cause.hint if cause else "Look at what git says, then try again.",
        foreign,
    )
