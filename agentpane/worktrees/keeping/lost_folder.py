"""Keeping what git's record of a worktree still holds once the folder is gone: commits, what is staged, and the commits
of submodules. The record goes with the next worktree that is made, or taken away, at that path.
"""

from __future__ import annotations

import asyncio

from agentpane.worktrees.git.config import SIGNED
from agentpane.worktrees.git.runner import GitRunner, Place
from agentpane.worktrees.keeping import exact, histories, record_commits
from agentpane.worktrees.keeping.recovery import (
    changes_of,
    head_commit,
    on_its_branch,
    recovery_ref,
    staged_alone,
    told_beside,
)
from agentpane.worktrees.places import hold_common_dir, objects_of
from agentpane.worktrees.repository import commit_tree
from agentpane.worktrees.trees.identity import why_no_record_of_ours
from agentpane.worktrees.values import Recovery, Repository, Worktree


async def record_snapshot(
    git: GitRunner, repo: Repository, worktree: Worktree, recovery_id: str, began: str | None
) -> Recovery | None:
    """Commit what is staged on top of HEAD under a ref of its own, with what else only the record holds below it.

    began: the commit that the worktree was made at, which is nobody's work there.
    None when the record is not ours, or holds nothing that branches do not.
    """
    if await asyncio.to_thread(why_no_record_of_ours, repo, worktree) is not None:
        return None
    hold_common_dir(worktree.git_dir, repo.common_dir)
    place = Place(worktree.git_dir, repo.common_dir, allowed_filters=repo.allowed_filters)
    head = await head_commit(git, repo, place, began)
    before = await commit_tree(git, repo, head)
    async with git.scratch() as folder:
        staged = await staged_alone(git, repo, place, folder / "staged", before, before)
        modules = await histories.bundled(git, place, worktree, folder, ())
    left = await record_commits.commit_of(git, repo, worktree.git_dir, before, (head, began))
    nothing = staged is None and left.commit is None and modules.nothing
    if nothing and (head == began or await on_its_branch(git, repo, worktree, head)):
        return None
    parents = [head, *([] if left.commit is None else [left.commit])]
    if modules.tree is not None:
        about = "commit-tree", modules.tree, "-p", head
        words = histories.BUNDLED
        parents.append((await git.run(objects_of(repo), *about, stdin=words, config=SIGNED)).line)
    text = f"What the worktree of {worktree.branch} held\n\nRecovery: {recovery_id}\nIts folder was gone.\n"
    text += modules.missing()
    made = "commit-tree", staged or before, *(word for sha in parents for word in ("-p", sha))
    commit = (await git.run(objects_of(repo), *made, stdin=text.encode("utf-8", "replace"), config=SIGNED)).line
    ref = recovery_ref(recovery_id)
    await git.run(objects_of(repo), "update-ref", ref, commit)
    changes = await changes_of(git, repo, head, commit)
    found = await exact.sizes(git, objects_of(repo), exact.blobs_of(changes))
    at = 0, len(parents) if modules.tree is not None else 0  # what was staged is its files
    told = await told_beside(git, repo, head, (head, *left.tips), began, at, modules)
    return Recovery(ref, commit, head, len(changes), sum(found.values()), told)
