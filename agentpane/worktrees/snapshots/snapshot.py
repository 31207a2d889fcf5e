"""The commit that a person reviews, made by the host from what the agent left in its worktree."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

from agentpane.domain.diff import decode_path, display_path, split_z
from agentpane.domain.resolving import Merging
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.conflicts.resolution import decide
from agentpane.worktrees.git.config import SIGNED
from agentpane.worktrees.git.files import read_line
from agentpane.worktrees.git.runner import GitRunner, Place
from agentpane.worktrees.keeping import contents, inner, own_index
from agentpane.worktrees.keeping.recovery import staged_alone
from agentpane.worktrees.keeping.standing import move_refs, stand_on
from agentpane.worktrees.places import inside, objects_of
from agentpane.worktrees.repository import branch_tip, commit_tree, is_ancestor, merge_base, ref_tip
from agentpane.worktrees.snapshots.diffs import diff_stat
from agentpane.worktrees.values import NothingChanged, Repository, Snapshot, Worktree

LARGEST_FILE = 50 * 1024 * 1024
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?(?=\s|\Z)")


def reviewed_ref(run_id: str) -> str:
    """Keeps the commit that is reviewed from being collected, and names what may be merged."""
    return f"refs/agentpane/run/{run_id}/reviewed"


def commits_ref(run_id: str, commit: str) -> str:
    """Keeps commits that no branch of the card's holds, or not any more."""
    return f"refs/agentpane/run/{run_id}/commits/{commit}"


async def back_to_review(
    git: GitRunner, repo: Repository, branch: str, run_id: str, commit: str, reviewed: str
) -> None:
    """Let `reviewed` be what may be merged for a run once more.

    A commit on the branch that was made for the run's review goes from it, back to `commit`, and is kept; see
    `commits_ref`. Whatever else is on the branch stays.
    """
    pinned = await ref_tip(git, repo, reviewed_ref(run_id))
    tip = await branch_tip(git, repo, branch)
    updates: list[tuple[str, str, str | None]] = [(reviewed_ref(run_id), reviewed, None)]
    if tip is not None and tip == pinned and tip not in {commit, reviewed}:
        updates.append((f"refs/heads/{branch}", commit, tip))
        updates.append((commits_ref(run_id, tip), tip, None))
    await move_refs(git, objects_of(repo), updates)


async def snapshot(
    git: GitRunner,
    repo: Repository,
    worktree: Worktree,
    base_sha: str,
    run_id: str,
    message: str,
    excluded: tuple[str, ...] = (),
    merging: Merging | None = None,
) -> Snapshot | NothingChanged:
    """Commit everything in the worktree that git does not ignore, or that is staged, onto its branch, and pin it.

    excluded: files and folders that are never in it, the copied env and ignored files.
    merging: the conflict that was laid out in the worktree; the commit then has the target as its second parent.
    Commits that the agent made stay below, unless they hold an excluded file: then the snapshot is made on the base.
        Those, what HEAD named beside the branch, and what was staged and lies in no file, are kept; see `commits_ref`.
    Raises WORKTREE_NESTED_REPO, VALIDATION_ERROR for files over 50 MB, MERGE_CONFLICT while a conflict is undecided or
    somebody's own merge is not finished, WORKTREE_NOT_FOUND; nothing changes then.
    """
    place = inside(repo, worktree)
    tip = await branch_tip(git, repo, worktree.branch)
    head = await _head(git, place)
    parent = await _parent(git, repo, head, tip, base_sha)
    if merging is None:
        await _refuse_unfinished(git, repo, place, parent)
    base = await _base(git, repo, base_sha, parent) if merging is None else merging.sha
    merged = merging is None or await is_ancestor(git, repo, merging.sha, parent)
    async with git.scratch() as folder:
        index = folder / "index"
        start = parent if merging is None or merged else merging.laid
        left_out = await _gather(git, place, index, start, worktree.path, base, excluded, seen=merging is None)
        leaked = () if parent == base else await _leaked(git, repo, base, parent, excluded)
        if leaked:
            await _restore(git, place, index, base if merging is None else merging.laid, leaked)
            parent, hidden = base if merging is None else merging.card, parent
        held = await contents.write_tree(git, place, index)
        tree = held if merging is None else await decide(git, place, index, held, merging, merged)
        if tree == await commit_tree(git, repo, base):
            return NothingChanged()
        commit = await _commit(git, place, tree, parent, None if merging is None or merged else merging.sha, message)
        updates = [(f"refs/heads/{worktree.branch}", commit, tip or ""), (reviewed_ref(run_id), commit, None)]
        if leaked:
            updates.append((commits_ref(run_id, hidden), hidden, None))
        elif head is not None and head != parent and not await is_ancestor(git, repo, head, commit):
            updates.append((commits_ref(run_id, head), head, None))
        laid = () if merging is None else (await commit_tree(git, repo, merging.laid),)
        staged = await _staged(git, repo, place, folder / "staged", head or parent, (tree, held, *laid))
        if staged is not None:
            updates.append((commits_ref(run_id, staged), staged, None))
        await move_refs(git, place, updates)
        if tree != held:
            await git.run(place, "read-tree", "-m", "-u", held, tree, index=index)
        await own_index.mark_left_out(git, place, index, left_out)
        await stand_on(git, place, worktree.branch, index)
    return Snapshot(commit, tree, await diff_stat(git, repo, base, commit), base)


async def _base(git: GitRunner, repo: Repository, base_sha: str, parent: str) -> str:
    return base_sha if parent == base_sha else await merge_base(git, repo, base_sha, parent)


async def _gather(
    git: GitRunner,
    place: Place,
    index: Path,
    start: str,
    root: Path,
    base: str,
    excluded: tuple[str, ...],
    seen: bool,
) -> tuple[str, ...]:
    """Fill the index with what the worktree holds. start: what git ignores, and what is excluded, is as it has it.

    Returns the files that are not on disk because git has left them out, and that are no deletions.

    seen: the worktree's own index knows the files of `start`; else each that is not known would count as changed.
    """
    staged = await contents.start_index(git, place, index, start)
    await inner.forget_pointers(git, place, index, base, start)
    if not seen:
        await contents.refresh(git, place, index)
    listing = (await contents.list_changes(git, place, index, staged)).without(excluded)
    await asyncio.to_thread(_refuse, root, listing)
    await contents.add(git, place, index, listing.paths, listing.staged)
    return listing.left_out


async def _head(git: GitRunner, place: Place) -> str | None:
    head = await git.run(place, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128))
    return head.line if head.exit_code == 0 else None


async def _parent(git: GitRunner, repo: Repository, head: str | None, tip: str | None, base_sha: str) -> str:
    """What the snapshot is made on: the branch, or the commits that the agent made on top of it elsewhere."""
    if tip is None:
        return head or base_sha
    return head if head not in {None, tip} and await is_ancestor(git, repo, tip, head) else tip


async def _refuse_unfinished(git: GitRunner, repo: Repository, place: Place, parent: str) -> None:
    """In the middle of somebody's own merge its markers would be committed, and its other side forgotten.

    Raises MERGE_CONFLICT.
    """
    listed = await git.run(place, "ls-files", "--unmerged", "-z", ok=(0, 128))
    paths = sorted({decode_path(record.partition(b"\t")[2]) for record in split_z(listed.stdout)})
    names = [display_path(path) for path in paths]
    merged = _SHA.match(read_line(place.git_dir / "MERGE_HEAD"))
    if not paths and (merged is None or await is_ancestor(git, repo, merged[0], parent)):
        return
    files = f" These files are not resolved: {', '.join(names[:5])}." if names else ""
    raise AgentPaneError(
        ErrorCode.MERGE_CONFLICT,
        f"A merge, or the like, was begun with git in the worktree and is not finished.{files}",
        "Resolve it, `git add` the files and `git commit`; or take it back: `git merge --abort`. Nothing was lost.",
        {"paths": names, "undecided": []},
    )


def _refuse(root: Path, listing: contents.Listing) -> None:
    if listing.nested:
        names = [display_path(path) for path in listing.nested]
        raise AgentPaneError(
            ErrorCode.WORKTREE_NESTED_REPO,
            f"The agent made a repository inside of the worktree ({', '.join(names[:5])}), "
            "of which git would record only a pointer.",
            "Remove its .git folder, or add the folder to .gitignore, and continue the task. Nothing was lost.",
            {"paths": names},
        )
    if listing.special:
        names = [display_path(path) for path in listing.special]
        raise AgentPaneError(
            ErrorCode.VALIDATION_ERROR,
            f"These are no files any more, but pipes, sockets or devices: {', '.join(names[:5])}.",
            "Remove them, and continue the task. Nothing was lost.",
            {"field": "files", "paths": names},
        )
    large = contents.too_large(root, listing.paths, LARGEST_FILE)
    if large:
        names = [display_path(path) for path in large]
        raise AgentPaneError(
            ErrorCode.VALIDATION_ERROR,
            f"These files are larger than {LARGEST_FILE // 1024 // 1024} MB: {', '.join(names[:5])}.",
            "Remove them, or add them to .gitignore, and continue the task. Nothing was lost.",
            {"field": "files", "paths": names},
        )


async def _leaked(git: GitRunner, repo: Repository, base: str, parent: str, excluded: Iterable[str]) -> tuple[str, ...]:
    """The excluded paths that a commit of the agent's has touched."""
    paths = tuple(excluded)
    if not paths:
        return ()
    place = objects_of(repo)
    touched = await git.run(place, "rev-list", "--full-history", "--max-count=1", f"{base}..{parent}", "--", *paths)
    return paths if touched.stdout else ()


async def _restore(git: GitRunner, place: Place, index: Path, base: str, paths: tuple[str, ...]) -> None:
    """Give these paths in the index back what the base has of them, which may be nothing."""
    await git.run(place, "rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *paths, index=index)
    kept = await git.run(place, "ls-tree", "-r", "-z", "--full-tree", base, "--", *paths)
    await git.run(place, "update-index", "-z", "--index-info", stdin=kept.stdout, index=index)


async def _commit(git: GitRunner, place: Place, tree: str, parent: str, second: str | None, message: str) -> str:
    """The commit of `tree` on its parents; the parent itself where it is the only one and already holds that tree."""
    before = await git.run(place, "rev-parse", "--verify", f"{parent}^{{tree}}")
    if before.line == tree and second is None:
        return parent
    parents = ("-p", parent) if second is None else ("-p", parent, "-p", second)
    text = message.encode("utf-8", "replace")
    return (await git.run(place, "commit-tree", tree, *parents, stdin=text)).line


async def _staged(
    git: GitRunner, repo: Repository, place: Place, index: Path, head: str, trees: tuple[str, ...]
) -> str | None:
    """A commit of what is staged and lies in no file, nor in HEAD or one of these trees; None where nothing does."""
    tree = await staged_alone(git, repo, place, index, await commit_tree(git, repo, head), *trees)
    if tree is None:
        return None
    words = b"What was staged in the worktree\n"
    return (await git.run(place, "commit-tree", tree, "-p", head, stdin=words, config=SIGNED)).line
