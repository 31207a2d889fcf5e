"""Worktrees made ahead of their cards, on no branch, and handed over without starting git.

Filling and advancing are git's own checkout, one at a time and with the lowest claim on the machine. Handing one over
writes a branch, a HEAD and a pointer, and renames the folder: the same few steps for any number of files.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.branches import free_branch
from agentpane.domain.diff import decode_path, split_z
from agentpane.worktrees.git.runner import GitError, GitRunner
from agentpane.worktrees.places import head_branch, inside, objects_of, point_back, recorded_path
from agentpane.worktrees.refs import ref_files
from agentpane.worktrees.refs.ref_files import RefTakenError, Signature
from agentpane.worktrees.repository import branch_tip
from agentpane.worktrees.trees import create, exclude
from agentpane.worktrees.trees.copying import copy_into
from agentpane.worktrees.trees.identity import points_to, why_not_its_folder, why_not_ours
from agentpane.worktrees.trees.leftover import beyond_index
from agentpane.worktrees.trees.remove import delete_branch
from agentpane.worktrees.trees.seal import break_seal, is_sealed, put_seal
from agentpane.worktrees.values import Repository, Worktree


@dataclass(frozen=True, slots=True)
class NewBranch:
    """A branch that is about to be made, and who its log says has made it."""

    name: str
    by: Signature


class Ready:
    """The worktrees that are kept ready in any repository. It shares git and the locks with the rest."""

    def __init__(self, git: GitRunner, lock_of: Callable[[Repository], asyncio.Lock]) -> None:
        self._git = git
        self._lock_of = lock_of

    async def make(self, repo: Repository, path: Path, base_sha: str, mark: str) -> Worktree:
        """Make a worktree at a commit, on no branch, and seal it. Raises as `create.create_worktree` does."""
        made = await create.create_detached(self._git, self._lock_of(repo), repo, path, base_sha, mark)
        try:
            with create.storing(path):
                await asyncio.to_thread(put_seal, made, base_sha)
        except BaseException:
            await asyncio.shield(create.take_back(self._git, repo, made.path, None, "", ()))
            raise
        return made

    async def advance(self, repo: Repository, ready: Worktree, base_sha: str) -> bool:
        """Take the files of an untouched worktree to another commit; False, and no file changed, for a touched one."""
        if await asyncio.to_thread(why_not_ours, repo, ready) or not await self.is_untouched(repo, ready):
            return False
        await asyncio.to_thread(break_seal, ready.git_dir)
        try:
            await create.move_on(self._git, repo, ready, base_sha)
        except GitError:
            return False  # somebody has begun to write in it since it was looked at
        with create.storing(ready.path):
            # Whoever had been at work here would have broken the seal: what HEAD was at before is nobody's work.
            for name in ("logs/HEAD", "ORIG_HEAD"):
                (ready.git_dir / name).unlink(missing_ok=True)
            await asyncio.to_thread(put_seal, ready, base_sha)
        return True

    async def is_untouched(self, repo: Repository, worktree: Worktree) -> bool:
        """Whether the worktree holds exactly the files of its HEAD, and none that git ignores either."""
        return not await beyond_index(self._git, inside(repo, worktree))

    async def ignored(self, repo: Repository, worktree: Worktree) -> tuple[str, ...]:
        """The files in a worktree that git ignores; of a folder that is ignored as a whole its name alone."""
        shape = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
        listed = await self._git.run(inside(repo, worktree), *shape)
        return tuple(decode_path(name) for name in split_z(listed.stdout))

    async def free_branch(self, repo: Repository, wanted: str) -> NewBranch | None:
        """The branch that is made for one like `wanted`; None where refs are not kept as files that we may write."""
        values = await self._git.configuration(objects_of(repo))
        if not ref_files.are_files(repo, values):
            return None
        # Two folders are listed, which is done before a thread would have begun.
        name = free_branch(wanted, ref_files.branches_beside(repo, wanted))
        return NewBranch(name, ref_files.signature(values, repo.bare))

    async def hand_over(
        self, repo: Repository, ready: Worktree, base_sha: str, path: Path, branch: NewBranch
    ) -> Worktree | None:
        """Give a sealed worktree its card's path and a new branch. None, and nothing done, when it cannot serve.

        Raises OSError when it stopped half-way; `put_back` settles that.
        """
        async with self._lock_of(repo):
            return await asyncio.to_thread(_hand_over, repo, ready, base_sha, path, branch)

    async def put_back(self, repo: Repository, card: Worktree, base_sha: str) -> Worktree | None:
        """Settle a hand-over that was cut short: ready as before, unless its folder has the card's path already.

        card: what it was to become. Git's record leads to the folder then in either case. A branch of that name goes
        only if the hand-over has made it: its HEAD says so, or the branch's log. Without either it stays.
        """
        async with self._lock_of(repo):
            folder = await asyncio.to_thread(_folder, card)
            if folder is None:
                return None
            if recorded_path(repo, card.git_dir) != folder:
                with create.storing(folder):
                    await asyncio.to_thread(point_back, card.git_dir, folder)
            if folder == card.path:
                await asyncio.to_thread(break_seal, card.git_dir)
                return None
            named = head_branch(card.git_dir) == card.branch
            ours = named or await asyncio.to_thread(ref_files.was_made, repo, card.branch, _made(card, base_sha))
            if named:
                await asyncio.to_thread(ref_files.detach_head, card.git_dir, base_sha)
            if ours and await branch_tip(self._git, repo, card.branch) == base_sha:
                await delete_branch(self._git, repo, card.branch, base_sha)
            return Worktree(folder, card.git_dir, "", card.mark)

    async def is_sealed(self, ready: Worktree, base_sha: str) -> bool:
        """Whether a ready worktree is as it was when it was finished, as far as a quick look tells."""
        return await asyncio.to_thread(is_sealed, ready, base_sha)

    async def copy_files(self, repo: Repository, worktree: Worktree, listed: tuple[str, ...]) -> tuple[str, ...]:
        """Copy the listed files of the person's checkout into a worktree that was handed over; see `copying.copy_into`.

        Under its new name too it stays out of that checkout's status.
        """
        await asyncio.to_thread(exclude.follow, repo, pooled_path(worktree.path, worktree.git_dir), worktree.path)
        return await copy_into(self._git, repo, worktree, listed)


def pooled_path(card_path: Path, git_dir: Path) -> Path:
    """Where a worktree lay before it was handed over: git called its record after that folder."""
    return card_path.with_name(git_dir.name)


def _hand_over(repo: Repository, ready: Worktree, base_sha: str, path: Path, branch: NewBranch) -> Worktree | None:
    # As text: a comparison of paths takes as long as a look at a file.
    folder, record = os.fspath(ready.path), os.fspath(ready.git_dir)
    root, name = os.path.split(folder)
    above = os.path.dirname(path)
    if above != root and os.path.realpath(above) != root:
        return None
    whole = Path(root, path.name)
    if os.path.split(record) != (f"{repo.common_dir}/worktrees", name):
        return None
    if os.path.lexists(whole) or not is_sealed(ready, base_sha):
        return None
    try:
        ref_files.make_branch(repo, branch.name, base_sha, branch.by, _made(ready, base_sha))
    except (RefTakenError, OSError):
        return None
    ref_files.point_head(ready.git_dir, branch.name, base_sha, branch.by)
    os.rename(ready.path, whole)
    point_back(ready.git_dir, whole)
    break_seal(ready.git_dir)
    return Worktree(whole, ready.git_dir, branch.name, ready.mark)


def _made(worktree: Worktree, base_sha: str) -> str:
    """What the log of the branch that a worktree is given says, and that of no other branch does."""
    return f"branch: Created from {base_sha} for worktree {worktree.mark}"


def _folder(card: Worktree) -> Path | None:
    """Where the folder of a worktree is that was being handed over."""
    for folder in (card.path, pooled_path(card.path, card.git_dir)):
        if points_to(folder) == card.git_dir and why_not_its_folder(folder, card) is None:
            return folder
    return None
