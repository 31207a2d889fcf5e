"""Commits that nothing but git's record of a worktree names: what was stashed for a rebase, what HEAD has left behind,
bisections and refs of that worktree alone. They are git's to collect once the record is gone.

The record is read as the files that it is, every commit's whole name in them; git says which of these are commits,
are whole, and are held by nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.gitpaths import display_path
from agentpane.worktrees.git.config import SIGNED
from agentpane.worktrees.git.files import open_regular
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.values import Repository

log = logging.getLogger(__name__)

# Of these some have a time of their own to go, which is not before a card has rested as long as the bin keeps things.
_LASTING = ("--branches", "--remotes", "--tags", "--glob=refs/stash*")
_HELD = (*_LASTING, "--glob=refs/agentpane/run", "--glob=refs/agentpane/turn")
_LENGTHS = {"sha1": 40, "sha256": 64}
_LARGEST = 16 * 1024 * 1024  # of a log its end, which is the newest
_NO_NAMES = re.compile(r"(?:shared)?index.*|agentpane-.*|.*MSG")
_AT_ONCE = 200  # parents of one commit
ALONE = b"Commits that only git's record of the worktree named\n"  # how the message of one that has them begins


@dataclass(frozen=True, slots=True)
class Left:
    """commit: has those that only a record names as its parents, `tips`; None where there are none."""

    commit: str | None
    tips: tuple[str, ...]


async def commit_of(
    git: GitRunner, repo: Repository, git_dir: Path, tree: str, held: Collection[str | None] = ()
) -> Left:
    """Make a commit of `tree` whose parents are the commits that only this record names.

    held: commits that are kept in another way, with all that is below them.
    """
    kept = {sha for sha in held if sha is not None}
    named = await asyncio.to_thread(_named, git_dir, _LENGTHS[repo.object_format])
    tips = await _alone(git, repo, [sha for sha in named if sha not in kept], kept)
    whole = await _whole(git, repo, tips, kept)
    commit: str | None = None
    for at in range(0, len(whole), _AT_ONCE):
        batch = whole[at : at + _AT_ONCE]
        told = "".join(f"{sha} {display_path(named.get(sha, ''))}\n" for sha in batch)
        text = ALONE + f"\n{told}".encode()
        parents = [word for sha in (*([commit] if commit else []), *batch) for word in ("-p", sha)]
        commit = (await git.run(objects_of(repo), "commit-tree", tree, *parents, stdin=text, config=SIGNED)).line
    return Left(commit, tuple(whole))


async def count_unheld(
    git: GitRunner, repo: Repository, tips: Sequence[str], without: Collection[str | None], leaves: str | None = None
) -> int:
    """How many commits there are from these down that no branch but `leaves` and no tag holds, nor any of `without`."""
    if not tips:
        return 0
    asked = "".join(f"{sha}\n" for sha in (*tips, *(f"^{sha}" for sha in without if sha is not None))).encode()
    but = () if leaves is None else (f"--exclude={leaves}",)
    shape = ("rev-list", "--count", "--ignore-missing", "--stdin", "--not", *but, *_LASTING)
    try:
        return int((await git.run(objects_of(repo), *shape, stdin=asked, timeout=LONG_TIMEOUT)).line)
    except GitError:  # a history that git has lost a part of; what it is asked for lies above
        return len(tips)


async def _alone(git: GitRunner, repo: Repository, named: Sequence[str], kept: Collection[str]) -> list[str]:
    """Those of the names that are commits which nothing else holds; not those that lie below another of them."""
    if not named:
        return []
    try:
        return await _tips(git, repo, named, kept)
    except GitError:
        # A history that git has collected in part. Others beside it may be whole.
        found: list[str] = []
        for sha in named[:_AT_ONCE]:
            with suppress(GitError):
                found += await _tips(git, repo, [sha], kept)
        return list(dict.fromkeys(found))


async def _tips(git: GitRunner, repo: Repository, named: Sequence[str], kept: Collection[str]) -> list[str]:
    asked = "".join(f"{sha}\n" for sha in (*named, *(f"^{sha}" for sha in kept))).encode()
    shape = ("rev-list", "--parents", "--ignore-missing", "--stdin", "--not", *_HELD)
    listed = await git.run(objects_of(repo), *shape, stdin=asked, timeout=LONG_TIMEOUT)
    commits = [line.split() for line in listed.stdout.decode("ascii").splitlines()]
    below = {parent for _, *parents in commits for parent in parents}
    return [sha for sha, *_ in commits if sha not in below]


async def _whole(git: GitRunner, repo: Repository, tips: Sequence[str], kept: Collection[str]) -> list[str]:
    """Those that git has all of: a ref to another would keep it from ever collecting anything."""
    whole: list[str] = []
    for group in (tips,) if len(tips) < 2 else (tips, *([tip] for tip in tips)):
        if not group:
            continue
        asked = "".join(f"{sha}\n" for sha in (*group, *(f"^{sha}" for sha in kept))).encode()
        shape = ("rev-list", "--objects", "--quiet", "--exclude-promisor-objects", "--ignore-missing", "--stdin")
        try:
            await git.run(objects_of(repo), *shape, "--not", *_HELD, stdin=asked, timeout=LONG_TIMEOUT)
        except GitError as error:
            log.info("not kept, since git has lost a part of it: %s (%s)", " ".join(group), error.stderr)
            continue
        whole += group
        if len(group) == len(tips):
            break
    return whole


def _named(git_dir: Path, length: int) -> dict[str, str]:
    """What may be the names of commits in the files of a record, and the file that each was found in first."""
    name = re.compile(rb"(?<![0-9a-f])[0-9a-f]{%d}(?![0-9a-f])" % length)
    found: dict[str, str] = {}
    for path in _files(git_dir):
        with suppress(OSError), open_regular(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LARGEST))
            for sha in reversed(name.findall(file.read(_LARGEST))):
                found.setdefault(sha.decode("ascii"), os.path.relpath(path, git_dir))
    found.pop("0" * length, None)
    return found


def _files(git_dir: Path) -> Iterator[str]:
    """The files of a record that may name commits, logs last. Other repositories' folders, and links, are left out."""
    logs: list[str] = []
    for folder, folders, names in os.walk(git_dir):
        if folder == os.fspath(git_dir) and "modules" in folders:
            folders.remove("modules")
        top = os.path.relpath(folder, git_dir).split(os.sep)[0]
        named = (name for name in sorted(names) if top in {"logs", "refs"} or not _NO_NAMES.fullmatch(name))
        inner = [path for path in (os.path.join(folder, name) for name in named) if not os.path.islink(path)]
        if top == "logs":
            logs += inner
        else:
            yield from inner
    yield from logs
