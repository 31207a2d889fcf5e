"""Where a worktree stands: its branch's commit, HEAD on that branch, the index, and what git has under way there."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.runner import GitError, GitRunner, Place
from agentpane.worktrees.places import head_branch

# A merge, a rebase or the like that is not finished. What is named there is in the recovery bin before it goes.
_UNFINISHED = (
    "MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "MERGE_RR", "MERGE_AUTOSTASH", "SQUASH_MSG", "AUTO_MERGE",
    "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "rebase-merge", "rebase-apply", "sequencer",
)  # fmt: skip


async def move_refs(git: GitRunner, place: Place, updates: list[tuple[str, str, str | None]]) -> None:
    """Move refs all at once or not at all. An expected old value of None allows any, an empty one none.

    Raises RESOURCE_LOCKED.
    """
    zeros = "0" * len(updates[0][1])
    lines = [b"start"]
    for ref, new, old in updates:
        expected = "" if old is None else f" {old or zeros}"
        lines.append(f"update {ref} {new}{expected}".encode("utf-8", "surrogateescape"))
    try:
        await git.run(place, "update-ref", "--stdin", stdin=b"\n".join([*lines, b"prepare", b"commit", b""]))
    except GitError as error:
        raise AgentPaneError(
            ErrorCode.RESOURCE_LOCKED,
            f"The branch changed meanwhile, so nothing was stored: {error.stderr}",
            "Try again when nothing else works on that branch.",
            error.details,
        ) from error


async def stand_on(git: GitRunner, place: Place, branch: str, index: Path) -> None:
    """Let the worktree see its new commit: HEAD names the branch, and the index holds what was committed."""
    if head_branch(place.git_dir) != branch:
        await git.run(place, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    await asyncio.to_thread(_replace_index, index, place.git_dir / "index")


async def end_unfinished(place: Place) -> None:
    """Let git forget a merge, a rebase or the like that is not finished; its files, index and HEAD stay."""
    await asyncio.to_thread(_forget, place.git_dir)


def _forget(git_dir: Path) -> None:
    for name in _UNFINISHED:
        path = git_dir / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _replace_index(made: Path, own: Path) -> None:
    temporary = own.with_name(f"index.agentpane-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    # Through no link that lies there meanwhile.
    with open(made, "rb") as source, open(temporary, "xb") as copy:
        shutil.copyfileobj(source, copy, 1024 * 1024)
    shutil.copystat(made, temporary)
    os.replace(temporary, own)
