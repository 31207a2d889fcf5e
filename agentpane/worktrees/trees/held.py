"""What keeps a worktree of ours from being taken away although it is ours: the person's own lock on it, or what is
mounted in it, which is none of the worktree's and would be deleted with it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.gitpaths import display_path
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.mounts import mounted_in
from agentpane.worktrees.git.files import open_regular
from agentpane.worktrees.trees.begun import BEGUN
from agentpane.worktrees.trees.seal import LOCKED, WHY_LOCKED
from agentpane.worktrees.values import Worktree

_SHOWN = 200  # characters of what the person gave as the reason


@dataclass(frozen=True, slots=True)
class Held:
    """why: in words that follow "it was not removed: ". hint: what to do about it."""

    why: str
    hint: str

    def failure(self, path: Path, code: ErrorCode = ErrorCode.WORKTREE_REMOVAL_FAILED) -> AgentPaneError:
        return AgentPaneError(code, f"{path} was not removed: {self.why}.", self.hint, {"path": str(path)})


def held_by(worktree: Worktree) -> Held | None:
    """What keeps the worktree from being taken away; None when nothing does."""
    return locked(worktree) or mounted(worktree.path)


def locked(worktree: Worktree) -> Held | None:
    """The same for a lock alone, which stands in git's record and outlives the folder."""
    reason = _reason(worktree.git_dir)
    if reason is None:
        return None
    told = f" ({reason})" if reason else ""
    unlock = f"git worktree unlock {shlex.quote(str(worktree.path))}"
    return Held(f"it was locked with git{told}", f"Nothing was deleted. When it may go: {unlock}")


def mounted(folder: Path) -> Held | None:
    """The same for what is mounted in a folder."""
    places = mounted_in(folder)
    if not places:
        return None
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    unmount = f"umount {shlex.quote(str(places[0]))}"
    return Held(
        f"something is mounted in it, at {display_path(str(places[0]))}{more}",
        f"Nothing was deleted. Unmount it first: {unmount}",
    )


def _reason(git_dir: Path) -> str | None:
    """What a person's lock on a worktree gives as the reason; None where there is no lock, or it is ours."""
    try:
        with open_regular(git_dir / LOCKED) as file:
            reason = file.read(4 * _SHOWN)
    except OSError:
        return None
    if reason == WHY_LOCKED or reason.strip() == BEGUN:
        return None
    return display_path(reason.decode("utf-8", "replace").strip()[:_SHOWN])
