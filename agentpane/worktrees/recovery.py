"""Keeping everything that a worktree holds, committed or not, before it goes away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import contents
from agentpane.worktrees.git import GitRunner
from agentpane.worktrees.places import head_branch, inside, objects_of, registered_git_dir
from agentpane.worktrees.repository import commit_tree
from agentpane.worktrees.values import Recovery, Repository, Worktree


def recovery_ref(recovery_id: str) -> str:
    return f"refs/agentpane/recovery/{recovery_id}"


async def recovery_snapshot(
    git: GitRunner,
    repo: Repository,
    worktree: Worktree | Path,
    recovery_id: str,
    listed_ignored: tuple[str, ...] = (),
) -> Recovery | None:
    """Commit tracked, untracked and the listed ignored files under a ref of their own, on top of HEAD.

    Neither the worktree nor its index nor its branch changes. A repository that the agent made inside is
    kept as files, without its own history. None when nothing differs from HEAD.
    Raises WORKTREE_NOT_FOUND.
    """
    known = worktree if isinstance(worktree, Worktree) else await asyncio.to_thread(find_worktree, repo, worktree)
    place = inside(repo, known)
    head = (await git.run(place, "rev-parse", "--verify", "HEAD^{commit}")).line
    with git.scratch() as folder:
        index = folder / "index"
        await contents.start_index(git, place, index, head)
        listing = await contents.list_changes(git, place, index)
        extra = await asyncio.to_thread(lambda: sorted(_files(known.path, (*listing.nested, *listed_ignored))))
        await contents.add(git, place, index, [*listing.paths, *extra])
        tree = await contents.write_tree(git, place, index)
    if tree == await commit_tree(git, repo, head):
        return None
    message = f"What the worktree of {known.branch} held\n\nRecovery: {recovery_id}\n".encode("utf-8", "replace")
    commit = (await git.run(place, "commit-tree", tree, "-p", head, stdin=message)).line
    ref = recovery_ref(recovery_id)
    await git.run(objects_of(repo), "update-ref", ref, commit)
    return Recovery(ref, commit)


def find_worktree(repo: Repository, path: Path) -> Worktree:
    """The worktree that the repository has a record of at exactly this path. Raises WORKTREE_NOT_FOUND."""
    whole = Path(os.path.realpath(path.parent)) / path.name
    git_dir = registered_git_dir(repo, whole)
    if git_dir is None:
        raise AgentPaneError(
            ErrorCode.WORKTREE_NOT_FOUND, f"{path} is not a worktree of {repo.path}.", "", {"path": str(path)}
        )
    return Worktree(whole, git_dir, head_branch(git_dir) or "")


def _files(root: Path, listed: Iterable[str]) -> set[str]:
    """The files among `listed`, and those inside the folders among it; links are files, git's own folders are not."""
    found: set[str] = set()
    for name in listed:
        path = root / name
        if ".." in Path(name).parts or not path.is_relative_to(root):
            continue
        if path.is_symlink() or path.is_file():
            found.add(os.path.normpath(name))
        for folder, folders, files in os.walk(path):
            if ".git" in folders:
                folders.remove(".git")
            links = [entry for entry in folders if os.path.islink(os.path.join(folder, entry))]
            for entry in (*files, *links):
                if entry != ".git":
                    found.add(os.path.relpath(os.path.join(folder, entry), root))
    return found
