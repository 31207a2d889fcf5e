"""Keeping everything that a worktree holds, committed or not, before something of it is discarded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from agentpane.domain.diff import FileChange, decode_path, encode_path, parse_raw, split_z
from agentpane.domain.filemodes import SUBMODULE
from agentpane.domain.gitpaths import MalformedGitOutputError
from agentpane.domain.recoveries import Beside
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.config import SIGNED
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner, Place
from agentpane.worktrees.keeping import contents, exact, histories, inner, record_commits
from agentpane.worktrees.places import head_branch, inside, objects_of, registered_git_dir
from agentpane.worktrees.repository import branch_tip, commit_tree, is_ancestor
from agentpane.worktrees.trees.leftover import is_beginning
from agentpane.worktrees.values import Recovery, Repository, Worktree

STAGED = b"What was staged in the worktree\n"  # the message of the commit that has it


def recovery_ref(recovery_id: str) -> str:
    return f"refs/agentpane/recovery/{recovery_id}"


async def recovery_snapshot(
    git: GitRunner,
    repo: Repository,
    worktree: Worktree | Path,
    recovery_id: str,
    listed_ignored: tuple[str, ...] = (),
    *,
    onto: str | None = None,
    whole: bool = True,
    began: str | None = None,
    leaving_for: str | None = None,
) -> Recovery | None:
    """Commit tracked, untracked and the listed ignored files byte for byte under a ref of their own, on top of HEAD.

    Contents that are staged and lie in no file are in a commit beside HEAD, another parent; so are the commits of
    repositories inside, as bundles, and what nothing but git's record of the worktree names.
    Neither the worktree nor its index nor its branch changes. A repository that the agent made inside, and what lies
    in the folder of a submodule, are kept as files.
    None when nothing differs from HEAD or from `onto`, nothing else is staged, and branches hold HEAD and what the
    record names.
    Raises WORKTREE_NOT_FOUND, or WORKTREE_REMOVAL_FAILED for a file or a folder that cannot be read.

    onto: a commit that the worktree's files are built on besides HEAD, as in the middle of a merge; it is the parent.
    whole: False where the files were still being checked out; those that are not there yet are nobody's deletions.
    began: the commit that the worktree was made at, which is nobody's work there, even if no branch holds it any more.
    leaving_for: the commit that its branch is about to be moved to; what it holds beyond that is kept as well.
    """
    known = worktree if isinstance(worktree, Worktree) else await asyncio.to_thread(find_worktree, repo, worktree)
    place = inside(repo, known)
    try:
        return await _taken(git, repo, known, place, recovery_id, listed_ignored, onto, whole, began, leaving_for)
    except MalformedGitOutputError:
        # A `git gc --prune=now` of the person's can take what no ref names yet; what is taken next is named by one.
        return await _taken(git, repo, known, place, recovery_id, listed_ignored, onto, whole, began, leaving_for)


async def _taken(
    git: GitRunner,
    repo: Repository,
    known: Worktree,
    place: Place,
    recovery_id: str,
    listed: tuple[str, ...],
    onto: str | None,
    whole: bool,
    began: str | None,
    leaving_for: str | None,
) -> Recovery | None:
    tip = await branch_tip(git, repo, known.branch) if leaving_for is not None else None
    head = await head_commit(git, repo, place, f"refs/heads/{known.branch}" if known.branch else None, began)
    async with git.scratch() as folder:
        index = folder / "index"
        staged = await contents.start_index(git, place, index, head)
        await contents.refresh(git, place, index)
        listing = await contents.list_changes(git, place, index, staged)
        if listing.closed:
            raise _closed(known)
        found = await inner.look(git, place, index, listing, listed)
        if found.closed:
            raise _closed(known)
        paths = sorted({*listing.paths, *found.files})
        if not whole:
            paths = await _not_begun(git, place, index, paths)
        modes = await exact.store(git, place, index, folder, paths, "0" * len(head))
        tree = await contents.write_tree(git, place, index)
        before = await commit_tree(git, repo, head)
        beside = await staged_alone(git, repo, place, folder / "staged", before, tree)
        inside_it = await histories.bundled(git, place, known, folder, found.repositories)
    left = await record_commits.commit_of(git, repo, known.git_dir, before, (head, began, onto, tip))
    elsewhere = {before} if onto is None else {before, await commit_tree(git, repo, onto)}
    nothing = tree in elsewhere and beside is None and inside_it.nothing and left.commit is None
    if leaving_for is not None:
        stays = [await is_ancestor(git, repo, sha, leaving_for) for sha in (head, tip or head)]
        nothing = nothing and all(stays)
    elif nothing:
        nothing = head == began or await on_its_branch(git, repo, known, head)
    if nothing:
        return None
    parents = [head] if onto is None else [onto, head]
    at = [0, 0]
    for number, (held, words) in enumerate(((beside, STAGED), (inside_it.tree, histories.BUNDLED))):
        if held is not None:
            parents.append((await git.run(place, "commit-tree", held, "-p", head, stdin=words, config=SIGNED)).line)
            at[number] = len(parents)
    parents += [] if left.commit is None else [left.commit]
    if tip is not None and not await is_ancestor(git, repo, tip, head):
        parents.append(tip)
    message = f"What the worktree of {known.branch} held\n\nRecovery: {recovery_id}\n"
    message += inside_it.missing()
    text = message.encode("utf-8", "replace") + exact.mode_lines(modes)
    commit = (
        await git.run(
            place, "commit-tree", tree, *(word for sha in parents for word in ("-p", sha)), stdin=text, config=SIGNED
        )
    ).line
    ref = recovery_ref(recovery_id)
    await git.run(objects_of(repo), "update-ref", ref, commit)
    changes = await changes_of(git, repo, onto or head, commit)
    sizes = await exact.sizes(git, objects_of(repo), exact.blobs_of(changes))
    tips = [sha for sha in (head, *left.tips, tip) if sha is not None]
    leaving = None if tip is None or leaving_for is None else (known.branch, leaving_for)
    told = await told_beside(git, repo, onto or head, tips, began, (at[0], at[1]), inside_it, leaving)
    return Recovery(ref, commit, onto or head, len(changes), sum(sizes.values()), told)


async def head_commit(git: GitRunner, repo: Repository, place: Place, *also: str | None) -> str:
    """What HEAD names, or else the first of `also` that is a commit; where none is, a commit without files.

    HEAD names none on an orphan branch, or where its branch was deleted.
    """
    for name in ("HEAD", *filter(None, also)):
        found = await git.run(place, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", ok=(0, 1, 128))
        if found.exit_code == 0:
            return found.line
    empty = (await git.run(objects_of(repo), "mktree")).line
    words = b"Where the worktree began is not known\n"
    return (await git.run(objects_of(repo), "commit-tree", empty, stdin=words, config=SIGNED)).line


async def told_beside(
    git: GitRunner,
    repo: Repository,
    parent: str,
    tips: Sequence[str],
    began: str | None,
    at: tuple[int, int],
    inside_it: histories.Histories,
    leaving: tuple[str, str] | None = None,
) -> Beside:
    """What a snapshot on top of `parent` keeps besides files.

    at: which of its parents have what was staged, and the bundles.
    leaving: a branch that is about to be moved, and the commit that it is moved to.
    """
    branch, to = leaving or (None, None)
    commits = await record_commits.count_unheld(git, repo, tips, (began, to), branch)
    loose = await record_commits.count_unheld(git, repo, tips, (began, to, parent), branch) if commits else 0
    return Beside(commits, loose, *at, inside_it.names, inside_it.closed, inside_it.partly)


async def _not_begun(git: GitRunner, place: Place, index: Path, paths: Sequence[str]) -> list[str]:
    """Those of the paths that a checkout which was cut off has not left as they are: missing, or written in part."""
    assert place.work_tree is not None
    there = await asyncio.to_thread(_there, place.work_tree, paths)
    staged = await git.run(place, "ls-files", "--stage", "-z", index=index)
    entries = (record.partition(b"\t") for record in split_z(staged.stdout))
    blobs = {decode_path(name): about.split(b" ")[1].decode() for about, _, name in entries}
    found: list[str] = []
    for path, file in there.items():
        if path in blobs and file.is_file() and not file.is_symlink():
            wanted = (await git.run(place, "cat-file", "blob", blobs[path], ok=(0, 128))).stdout
            if await asyncio.to_thread(is_beginning, file, wanted):
                continue
        found.append(path)
    return found


def _there(root: Path, paths: Iterable[str]) -> dict[str, Path]:
    return {path: root / path for path in paths if os.path.lexists(root / path)}


async def staged_alone(
    git: GitRunner, repo: Repository, place: Place, index: Path, head: str, *trees: str
) -> str | None:
    """The tree that is staged, if it holds contents that lie in no file there, nor in HEAD's tree or one of `trees`."""
    staged = await contents.staged_tree(git, place, index)
    if staged is None or staged in {head, *trees}:
        return None
    kept = {(change.path, change.new_sha) for tree in trees for change in await changes_of(git, repo, head, tree)}
    alone = {
        (change.path, change.new_sha)
        for change in await changes_of(git, repo, head, staged)
        if change.status != "D" and change.new_mode != SUBMODULE
    } - kept
    paths = await asyncio.to_thread(_regular, place.work_tree, sorted(path for path, _ in alone))
    if paths:
        names = b"".join(exact.quoted(encode_path(path)) + b"\n" for path in paths)
        with suppress(GitError):  # one that has gone meanwhile
            hashed = await git.run(place, "hash-object", "--stdin-paths", stdin=names, timeout=LONG_TIMEOUT)
            alone -= set(zip(paths, hashed.stdout.decode("ascii").split(), strict=True))
    return staged if alone else None


def _regular(root: Path | None, paths: Sequence[str]) -> list[str]:
    """Those of the paths at which a file of the worktree lies."""
    if root is None:
        return []
    there = [path for path in paths if (root / path).is_file() and not (root / path).is_symlink()]
    return [path for path in there if not exact.beyond_a_link(root, path)]


def _closed(worktree: Worktree) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.WORKTREE_REMOVAL_FAILED,
        "There are folders in the worktree that cannot be looked into, so what they hold cannot be kept in the "
        "recovery bin. Nothing was discarded.",
        f"Make them readable: chmod -R u+rX {worktree.path}. Then try again.",
        {"path": str(worktree.path)},
    )


async def changes_of(git: GitRunner, repo: Repository, parent: str, commit: str) -> tuple[FileChange, ...]:
    """What a recovery snapshot changes in its parent."""
    shape = ("diff-tree", "-r", "--raw", "-z", "--no-abbrev", "--no-renames", "--ignore-submodules=none")
    listed = await git.run(objects_of(repo), *shape, parent, commit)
    return await asyncio.to_thread(parse_raw, listed.stdout)


async def on_its_branch(git: GitRunner, repo: Repository, worktree: Worktree, head: str) -> bool:
    """Whether its branch holds HEAD; of a worktree on no branch, whether any does."""
    if not worktree.branch:
        shape = ("for-each-ref", "--count=1", "--format=%(refname)", f"--contains={head}", "refs/heads/")
        return bool((await git.run(objects_of(repo), *shape)).stdout)
    tip = await branch_tip(git, repo, worktree.branch)
    return tip is not None and (tip == head or await is_ancestor(git, repo, head, tip))


def find_worktree(repo: Repository, path: Path) -> Worktree:
    """The worktree that the repository has a record of at exactly this path. Raises WORKTREE_NOT_FOUND."""
    whole = Path(os.path.realpath(path.parent)) / path.name
    git_dir = registered_git_dir(repo, whole)
    if git_dir is None:
        raise AgentPaneError(
            ErrorCode.WORKTREE_NOT_FOUND, f"{path} is not a worktree of {repo.path}.", "", {"path": str(path)}
        )
    return Worktree(whole, git_dir, head_branch(git_dir) or "")
