"""Gathering what a worktree holds into a tree, through a private index; the worktree's own is only read.

What git would be asked to add is listed first, so that a nested repository, a huge file or a copied secret
never reaches the object store.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.domain.diff import decode_path, encode_path, parse_raw, split_z
from agentpane.errors import ErrorCode
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner, Place
from agentpane.worktrees.keeping import own_index
from agentpane.worktrees.keeping.exact import beyond_a_link
from agentpane.worktrees.trees.folding import without_file

LISTING_TIMEOUT = 120.0

# The text is stored as it is rather than refused: core.safecrlf only warns of, or forbids, what autocrlf would do.
_ADDING = {"core.safecrlf": "false"}


@dataclass(frozen=True, slots=True)
class Listing:
    """What differs from HEAD, before anything of it is stored."""

    paths: tuple[str, ...]  # files that were changed, added or removed
    nested: tuple[str, ...]  # repositories inside the worktree, which git would record as bare pointers
    special: tuple[str, ...] = ()  # pipes and the like in the place of files, which git cannot store
    closed: bool = False  # there are folders that git may not look into
    left_out: tuple[str, ...] = ()  # not on disk because git itself has left them out: nobody's deletions
    staged: Mapping[str, own_index.Entry] = field(default_factory=dict)  # those of them that were changed, and how

    def without(self, excluded: Iterable[str]) -> Listing:
        """The same without these files and what lies in these folders."""
        left_out = tuple(path.rstrip("/") for path in excluded)
        if not left_out:
            return self
        files = frozenset(left_out)
        folders = tuple(f"{path}/" for path in left_out)
        return Listing(
            tuple(path for path in self.paths if path not in files and not path.startswith(folders)),
            tuple(path for path in self.nested if path not in files and not f"{path}/".startswith(folders)),
            tuple(path for path in self.special if path not in files and not path.startswith(folders)),
            self.closed,
            self.left_out,
            {path: entry for path, entry in self.staged.items() if path not in files and not path.startswith(folders)},
        )


async def start_index(git: GitRunner, place: Place, index: Path, commit: str) -> tuple[str, ...]:
    """Fill the private `index` with a commit, keeping what the worktree's own index knows about unchanged files.

    Marks that hide a file from git (assume-unchanged, skip-worktree) are not taken over.
    Returns what is in the worktree's own index and not in the commit: git ignores none of it, whatever the rules say.
    """
    staged: tuple[str, ...] = ()
    with suppress(OSError, GitError):
        if await asyncio.to_thread(own_index.copy_index, place, index):
            staged = await staged_beyond(git, place, commit, index)
            if not await own_index.has_marks(git, place, index):
                await git.run(place, "read-tree", "--reset", commit, index=index, config=_ADDING)
                return staged
    index.unlink(missing_ok=True)
    await git.run(place, "read-tree", commit, index=index, config=_ADDING)
    return staged


async def staged_beyond(git: GitRunner, place: Place, tree: str, index: Path | None = None) -> tuple[str, ...]:
    """The files that are in an index, the worktree's own if none is named, and not in a tree."""
    added = ("diff-index", "--cached", "--name-only", "-z", "--no-renames", "--diff-filter=AU")
    named = await git.run(place, *added, tree, "--", index=index, config=_ADDING)
    return tuple(decode_path(name) for name in split_z(named.stdout))


async def staged_tree(git: GitRunner, place: Place, index: Path) -> str | None:
    """The tree of what is staged in the worktree, what a merge has left undecided aside; None if it cannot be read.

    index: where a copy of the worktree's own index is put.
    """
    with suppress(OSError, GitError):
        if await asyncio.to_thread(own_index.copy_index, place, index):
            with suppress(GitError):
                return await write_tree(git, place, index)
            listed = await git.run(place, "ls-files", "--unmerged", "-z", index=index)
            undecided = b"".join({record.partition(b"\t")[2] + b"\0" for record in split_z(listed.stdout)})
            await git.run(place, "update-index", "--force-remove", "-z", "--stdin", stdin=undecided, index=index)
            return await write_tree(git, place, index)
    return None


async def refresh(git: GitRunner, place: Place, index: Path) -> None:
    """Let the index see which files are unchanged although their times differ."""
    config = {**_ADDING, "core.fsmonitor": "false"}
    quietly = ("update-index", "-q", "--refresh", "--ignore-submodules", "--unmerged")
    await git.run(place, *quietly, index=index, config=config, ok=(0, 1), timeout=LONG_TIMEOUT)


async def list_changes(git: GitRunner, place: Place, index: Path, staged: Iterable[str] = ()) -> Listing:
    """Everything in the worktree that differs from the index and that git does not ignore; submodules aside.

    staged: what is in the worktree's own index beyond that; its files count although git may ignore them.
    """
    with _patiently():
        changed, others = await asyncio.gather(
            git.run(place, "diff-files", "--raw", "-z", "--no-abbrev", "--ignore-submodules=all", "--no-ext-diff",
                    "--no-renames", index=index, config=_ADDING),
            git.run(place, "ls-files", "--others", "--exclude-standard", "-z", index=index, config=_ADDING,
                    timeout=LISTING_TIMEOUT),
        )  # fmt: skip
    changes = parse_raw(changed.stdout)
    paths = {change.path for change in changes}
    names = [decode_path(name) for name in split_z(others.stdout)]
    folders = tuple(name for name in names if name.endswith("/"))
    known = paths.union(names)
    rest = [path for path in staged if path not in known and not path.startswith(folders)]
    there = await asyncio.to_thread(_files_among, place.work_tree, rest)
    paths |= there
    gone = {change.path: (change.old_mode, change.old_sha) for change in changes if change.status == "D"}
    left_out = await own_index.left_out(git, place, (*gone, *(path for path in rest if path not in there)))
    paths -= left_out.keys()
    paths -= await without_file(git, place, index, paths)
    special, replaced = await asyncio.to_thread(_kinds, place.work_tree, paths)
    paths.update(name for name in names if not name.endswith("/"))
    nested = sorted({*(name.rstrip("/") for name in folders), *replaced})
    closed = b"could not open directory" in others.stderr
    otherwise = {path: entry for path, entry in left_out.items() if gone.get(path) != entry}
    return Listing(
        tuple(sorted(paths - special)), tuple(nested), tuple(sorted(special)), closed, tuple(left_out), otherwise
    )


def _files_among(root: Path | None, paths: Iterable[str]) -> set[str]:
    """Those of the paths that an index may name, and where a file lies in the worktree itself."""
    found: set[str] = set()
    for path in paths if root is not None else ():
        parts = path.split("/")
        named = not any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts)
        whole = f"{root}/{path}"
        if not named or not os.path.lexists(whole) or (os.path.isdir(whole) and not os.path.islink(whole)):
            continue
        if not any(os.path.islink(f"{root}/{'/'.join(parts[:depth])}") for depth in range(1, len(parts))):
            found.add(path)
    return found


def _kinds(root: Path | None, paths: Iterable[str]) -> tuple[set[str], set[str]]:
    """Those of the paths where a pipe or the like lies, and those where a repository does.

    Git does not name a repository that has taken the place of a tracked file.
    """
    special: set[str] = set()
    nested: set[str] = set()
    if root is None:
        return special, nested
    for path in paths:
        with suppress(OSError):
            mode = os.lstat(f"{root}/{path}").st_mode
            if stat.S_ISREG(mode) or stat.S_ISLNK(mode) or beyond_a_link(root, path):
                continue
            if not stat.S_ISDIR(mode):
                special.add(path)
            elif os.path.lexists(f"{root}/{path}/.git"):
                nested.add(path)
    return special, nested


@contextmanager
def _patiently() -> Iterator[None]:
    """Say what git may have been busy with when it did not come to an end."""
    try:
        yield
    except GitError as error:
        if error.exit_code is not None or not isinstance(error.__cause__, TimeoutError):
            raise
        raise GitError(
            f"{error.message} A pattern in a .gitignore or a .gitattributes may keep it busy for ever. "
            "Nothing was changed and nothing was lost.",
            error.command, None, code=ErrorCode.VALIDATION_ERROR,
            hint="Look at these files in the worktree, and continue the task.",
        ) from error  # fmt: skip


def _time_for(root: Path | None, paths: Sequence[str]) -> float:
    """Seconds in which git has stored these files on any disk."""
    size = 0
    for path in paths:
        with suppress(OSError):
            size += os.lstat(f"{root}/{path}").st_size
    return LISTING_TIMEOUT + len(paths) * 0.01 + size / 1_000_000


def too_large(root: Path, paths: Iterable[str], limit: int) -> tuple[str, ...]:
    """Which of the files are larger than `limit` bytes."""
    found: list[str] = []
    for path in paths:
        with suppress(OSError):
            about = os.lstat(root / path)
            if stat.S_ISREG(about.st_mode) and about.st_size > limit:
                found.append(path)
    return tuple(found)


async def add(
    git: GitRunner, place: Place, index: Path, paths: Sequence[str], staged: Mapping[str, own_index.Entry]
) -> None:
    """Put these files into the index as they are on disk; those that are gone, or that a link hides, leave it.

    staged: what is in no file, and goes in as the worktree's own index has it.
    """
    hidden = await asyncio.to_thread(_hidden, place.work_tree, paths)
    timeout = await asyncio.to_thread(_time_for, place.work_tree, paths)
    there = [path for path in paths if path not in hidden]
    for how, names in (("--force-remove", hidden), ("--replace", there)):
        named = b"".join(encode_path(path) + b"\0" for path in names)
        if named:
            arguments = ("update-index", "--add", "--remove", how, "-z", "--stdin")
            with _patiently():
                await git.run(place, *arguments, stdin=named, index=index, config=_ADDING, timeout=timeout)
    await own_index.put(git, place, index, staged)


def _hidden(root: Path | None, paths: Iterable[str]) -> set[str]:
    """Those of the paths on whose way a link lies, which git refuses to look at."""
    if root is None:
        return set()
    folders = {os.path.dirname(path) for path in paths}
    away = frozenset(folder for folder in folders if folder and beyond_a_link(root, f"{folder}/file"))
    return {path for path in paths if os.path.dirname(path) in away} if away else set()


async def write_tree(git: GitRunner, place: Place, index: Path) -> str:
    return (await git.run(place, "write-tree", index=index)).line
