"""What the doctor asks of a repository: its refs, what was left behind in it, and who holds a lock. It reads.

The two things that it does are safe by themselves: a ref that is gone names its commit again, and a lock of ours whose
holder is dead goes.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from agentpane.domain.diff import decode_path
from agentpane.domain.recoveries import Beside
from agentpane.temporary import delete
from agentpane.worktrees.git.files import open_regular, read_line
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.keeping import exact
from agentpane.worktrees.keeping.recovery import changes_of
from agentpane.worktrees.keeping.retelling import beside_of
from agentpane.worktrees.places import head_branch, objects_of, registered
from agentpane.worktrees.refs import ref_files
from agentpane.worktrees.trees import begun, identity, seal
from agentpane.worktrees.trees.remove import is_done_with, left_in_trash
from agentpane.worktrees.values import Repository, Worktree

OURS = "refs/agentpane/"
_BESIDE = re.compile(r"\.agentpane-trash-[0-9a-f]{16}")
_OF_CHECKOUT = ("index.lock", "HEAD.lock", "ORIG_HEAD.lock", "AUTO_MERGE.lock", "reftable/tables.list.lock")
# Git writes packed-refs.new under the lock, and makes none where one is.
_PACKED = ("packed-refs.lock", "packed-refs.new", "reftable/tables.list.lock")
_LOG_READ = 1024 * 1024
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class LeftRecord:
    """git's record of a worktree whose creation was cut off.

    marked: whose it is stands in it. there: its folder leads to it, or git was killed before it did. Where neither is
    so, it may be the record of an earlier one, whose folder is away: on a disk that is not mounted, say.
    """

    worktree: Worktree
    marked: bool
    there: bool = True


@dataclass(frozen=True, slots=True)
class MarkedRecord:
    """git's record of a worktree that bears our mark.

    ready_at: the commit that it was kept ready at, if it still is: on no branch, locked in our words, with our seal.
    """

    worktree: Worktree
    ready_at: str | None


@dataclass(frozen=True, slots=True)
class Header:
    """parent: the first; the empty string for a commit that has none."""

    tree: str
    parent: str
    at: datetime


class Inspection:
    """Reads a repository for the doctor."""

    def __init__(self, git: GitRunner) -> None:
        self._git = git

    async def refs(self, repo: Repository) -> dict[str, str]:
        """The branches, and the refs of ours, with the object that each names."""
        arguments = ("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/", OURS)
        listed = await self._git.run(objects_of(repo), *arguments)
        found = (decode_path(line).partition(" ") for line in listed.stdout.split(b"\n") if line)
        return {ref: sha for sha, _, ref in found}

    async def has_commit(self, repo: Repository, sha: str) -> bool:
        if not _SHA.fullmatch(sha):
            return False
        found = await self._git.run(objects_of(repo), "cat-file", "-e", f"{sha}^{{commit}}", ok=(0, 1, 128))
        return found.exit_code == 0

    async def between(
        self, repo: Repository, base: str, tip: str, most: int, target: str | None = None
    ) -> tuple[str, ...]:
        """The commits of `tip` that `base` has not, newest first and at most so many: the sha and the subject.

        target: a commit that must not have them either.
        """
        without = () if target is None else (f"^{target}",)
        shape = ("log", "-z", "--no-show-signature", "--format=%H %s", f"--max-count={most}")
        listed = await self._git.run(objects_of(repo), *shape, f"{base}..{tip}", *without)
        return tuple(each.decode("utf-8", "replace") for each in listed.stdout.split(b"\0") if each)

    async def message(self, repo: Repository, sha: str) -> str:
        """The message of a commit; empty when there is no such commit."""
        if not await self.has_commit(repo, sha):
            return ""
        content = await self._git.run(objects_of(repo), "cat-file", "commit", sha)
        return content.stdout.partition(b"\n\n")[2].decode("utf-8", "replace")

    async def parent(self, repo: Repository, sha: str) -> str:
        """The first parent of a commit; the empty string when it has none."""
        found = await self._git.run(objects_of(repo), "rev-parse", "--verify", "--quiet", f"{sha}^", ok=(0, 1, 128))
        return found.line if found.exit_code == 0 else ""

    async def weight(self, repo: Repository, parent: str, recovery: str) -> tuple[int, int]:
        """How many files a recovery snapshot changes in its parent, and the bytes of their contents."""
        changes = await changes_of(self._git, repo, parent, recovery)
        sizes = await exact.sizes(self._git, objects_of(repo), exact.blobs_of(changes))
        return len(changes), sum(sizes.values())

    async def beside(self, repo: Repository, recovery: str, began: str | None) -> Beside:
        """What a recovery snapshot keeps besides files, read from it; nothing where git cannot read it."""
        return await beside_of(self._git, repo, recovery, began)

    async def header(self, repo: Repository, sha: str) -> Header | None:
        """What is written at the head of a commit; None when there is no such commit."""
        if not await self.has_commit(repo, sha):
            return None
        content = await self._git.run(objects_of(repo), "cat-file", "commit", sha)
        lines = content.stdout.partition(b"\n\n")[0].decode("utf-8", "replace").split("\n")
        fields = {key: rest for key, _, rest in (line.partition(" ") for line in reversed(lines))}
        seconds = int(fields["committer"].rsplit(" ", 2)[1])
        return Header(fields["tree"], fields.get("parent", ""), datetime.fromtimestamp(seconds, UTC))

    async def put_ref(self, repo: Repository, ref: str, sha: str) -> bool:
        """Make a ref of ours that is gone name its commit again; whether it does."""
        if not ref.startswith(OURS):
            raise ValueError("not a ref of ours")
        done = await self._git.run(objects_of(repo), "update-ref", ref, sha, "0" * len(sha), ok=(0, 1, 128))
        return done.exit_code == 0

    async def last_head(self, repo: Repository, worktree: Worktree) -> str | None:
        """The last commit that its branch is known to have named while it was a worktree's HEAD, if git still has it.

        None where git's record is another's: git gives the same name to the next worktree at that path.
        """
        if await asyncio.to_thread(identity.mark_of, worktree.git_dir) != worktree.mark:
            return None
        sha = await asyncio.to_thread(_last_tip, worktree.git_dir, worktree.branch)
        return sha if await self.has_commit(repo, sha) else None

    async def left_record(self, repo: Repository, path: Path, mark: str) -> LeftRecord | None:
        """What a creation at `path` that was cut off has left, if it bears our mark or holds nothing."""
        return await asyncio.to_thread(_left_record, repo, path, mark)

    async def marked(self, repo: Repository) -> tuple[MarkedRecord, ...]:
        """The records of worktrees that bear our mark, whosever rows speak of them."""
        return await asyncio.to_thread(lambda: tuple(_marked(repo)))

    async def take_on(self, left: LeftRecord) -> None:
        """Put the mark into a record that has none yet."""
        if not left.marked:
            await asyncio.to_thread(_take_on, left.worktree)

    async def locks(self, repo: Repository, git_dirs: Iterable[Path]) -> tuple[Path, ...]:
        """Lock files of ours: in the records of these worktrees, of branches under agentpane/, and of our refs."""
        return await asyncio.to_thread(lambda: tuple(_locks(repo, tuple(git_dirs))))

    async def shared_locks(self, repo: Repository, git_dirs: Iterable[Path]) -> tuple[Path, ...]:
        """Lock files that may be anybody's: on packed refs, and in the records of these worktrees of the person's."""
        places = [(repo.common_dir, _PACKED), *((git_dir, _OF_CHECKOUT) for git_dir in git_dirs)]
        return await asyncio.to_thread(lambda: tuple(lock for place in places for lock in _present(*place)))

    async def break_own_lock(self, repo: Repository) -> bool:
        """Remove a lock on packed refs that an engine that is gone has left; see `ref_files.break_lock`."""
        return await asyncio.to_thread(ref_files.break_lock, repo, psutil.pid_exists)

    async def others_locks(self, repo: Repository) -> tuple[Path, ...]:
        """Lock files that hold up the person's own repository and the checkouts that it has, ours aside."""
        return await asyncio.to_thread(lambda: tuple(_others_locks(repo)))

    async def trash(self, repo: Repository, root: Path) -> tuple[Path, ...]:
        """Folders that were removed and are not deleted yet: in the repository's trash, and beside the worktrees."""
        return await asyncio.to_thread(lambda: tuple(_trash(repo, root)))

    async def delete(self, folder: Path) -> bool:
        """Delete a folder that `trash` named; whether nothing of it is left. One with a mount in it stays."""
        await asyncio.to_thread(delete, folder)
        return not os.path.lexists(folder)


def _last_tip(git_dir: Path, branch: str) -> str:
    """Where HEAD last was on `branch`, by its log, or where a rebase of it began; empty where neither says."""
    for state in ("rebase-merge", "rebase-apply"):
        if read_line(git_dir / state / "head-name") == f"refs/heads/{branch}":
            return read_line(git_dir / state / "orig-head")
    on_it, left = head_branch(git_dir) == branch, f"checkout: moving from {branch} to "
    for line in reversed(_last_lines(git_dir / "logs" / "HEAD")):
        about, _, message = line.partition("\t")
        old, _, rest = about.partition(" ")
        new = rest.partition(" ")[0]
        if on_it:
            return new if new.strip("0") else old  # the branch was deleted from in here
        if message.startswith(left):
            return old
    return ""


def _last_lines(file: Path) -> list[str]:
    try:
        with open_regular(file) as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - _LOG_READ))
            return opened.read(_LOG_READ).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _left_record(repo: Repository, path: Path, mark: str) -> LeftRecord | None:
    whole = Path(os.path.realpath(path.parent)) / path.name
    git_dir = begun.record_at(repo, whole)
    if git_dir is None or git_dir.is_symlink():
        return None
    worktree = Worktree(whole, git_dir, head_branch(git_dir) or "", mark)
    found = identity.mark_of(git_dir)
    if found is not None:
        there = identity.points_to(whole) == git_dir or begun.is_begun(git_dir)
        return LeftRecord(worktree, True, there) if found == mark else None
    with suppress(OSError):
        if begun.is_begun(git_dir) and begun.holds_nothing(whole):
            return LeftRecord(worktree, False)
        if os.listdir(whole) == [".git"] and identity.points_to(whole) == git_dir:
            return LeftRecord(worktree, False)
    return None


def _marked(repo: Repository) -> Iterator[MarkedRecord]:
    for git_dir, path in registered(repo):
        mark = None if git_dir.is_symlink() else identity.mark_of(git_dir)
        if mark:
            branch = head_branch(git_dir)
            ready_at = seal.kept_ready_at(git_dir) if branch is None else None
            yield MarkedRecord(Worktree(path, git_dir, branch or "", mark), ready_at)


def _take_on(worktree: Worktree) -> None:
    begun.complete(worktree)
    identity.leave_mark(worktree.git_dir, worktree.mark)


def _present(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    return (path for name in names if os.path.lexists(path := folder / name))


def _locks(repo: Repository, git_dirs: tuple[Path, ...]) -> Iterator[Path]:
    for git_dir in git_dirs:
        yield from (path for name in _OF_CHECKOUT if (path := git_dir / name).is_file())
    for folder in (repo.common_dir / "refs" / "heads" / "agentpane", repo.common_dir / "refs" / "agentpane"):
        for inner, _, files in os.walk(folder):
            yield from (Path(inner, name) for name in files if name.endswith(".lock"))


def _others_locks(repo: Repository) -> Iterator[Path]:
    for git_dir in dict.fromkeys((repo.git_dir, repo.common_dir)):
        yield from _present(git_dir, dict.fromkeys((*_OF_CHECKOUT, *_PACKED, "config.lock", "shallow.lock")))
    for git_dir, _ in registered(repo):
        if git_dir != repo.git_dir and identity.mark_of(git_dir) is None:
            yield from _present(git_dir, _OF_CHECKOUT)
    heads = repo.common_dir / "refs" / "heads"
    for inner, folders, files in os.walk(heads):
        if Path(inner) == heads and "agentpane" in folders:
            folders.remove("agentpane")
        yield from (Path(inner, name) for name in files if name.endswith(".lock"))


def _trash(repo: Repository, root: Path) -> Iterator[Path]:
    yield from (folder for folder in left_in_trash(repo) if is_done_with(repo, folder))
    with suppress(OSError):
        for folder in sorted(root.iterdir()):
            if _BESIDE.fullmatch(folder.name) and not folder.is_symlink():
                # It was renamed from a place in the same folder, which a relative pointer is read from.
                back = identity.points_to(folder)
                ours = back is not None and back.parent == repo.common_dir / "worktrees"
                if ours and is_done_with(repo, folder):
                    yield folder
