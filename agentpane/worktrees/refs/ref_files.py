"""A branch made or deleted, and a HEAD that names it, as git itself does it: under its lock files, without a process.

Only for a repository that keeps its refs as files. A branch that git or a person makes or moves at the same moment is
kept out by the lock, and is never written over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpane.worktrees.git.config import FALLBACK_EMAIL, FALLBACK_NAME
from agentpane.worktrees.git.files import read_regular
from agentpane.worktrees.refs.idents import clock, ident
from agentpane.worktrees.values import Repository

HEADS = "refs/heads/"
_OWNERS_ONLY = frozenset({"", "umask", "false", "no", "off", "0"})
_FALSE = frozenset({"false", "no", "off", "0"})
_LOCK = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class RefTakenError(Exception):
    """There is such a branch, or one that leaves no room for it."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who a line in a log of refs is by; `logged`: whether such logs are kept."""

    by: str
    logged: bool

    def line(self, old: str, new: str, message: str) -> bytes:
        return f"{old} {new} {self.by} {clock()}\t{message}\n".encode()


def signature(values: Mapping[str, str], bare: bool) -> Signature:
    """Whoever git would name, by the configuration in force."""
    logged = values.get("core.logallrefupdates", "false" if bare else "true").lower() not in _FALSE
    return Signature(ident(values, "committer") or f"{FALLBACK_NAME} <{FALLBACK_EMAIL}>", logged)


def are_files(repo: Repository, values: Mapping[str, str]) -> bool:
    """Whether refs are kept as files, which nobody but their owner has to be able to write."""
    kept = values.get("extensions.refstorage", "files")
    return kept == "files" and are_owners_alone(values) and not os.path.lexists(repo.common_dir / "reftable")


def are_owners_alone(values: Mapping[str, str]) -> bool:
    """Whether what is made in the repository has the modes that anything has which its owner makes."""
    return values.get("core.sharedrepository", "").lower() in _OWNERS_ONLY


def branches_beside(repo: Repository, branch: str) -> list[str]:
    """Every branch that may be in the way of `branch`, or of that name with a number: packed, and loose around it."""
    names = list(_packed(repo.common_dir, branch))
    heads = f"{repo.common_dir}/{HEADS}"
    for prefix in {"", branch[: branch.rfind("/") + 1]}:
        with suppress(OSError), os.scandir(heads + prefix) as entries:
            for entry in entries:
                inside = "/*" if entry.is_dir(follow_symlinks=False) else ""
                names.append(f"{prefix}{entry.name.removesuffix('.lock')}{inside}")
    return names


def _packed(common_dir: Path, branch: str) -> Iterator[str]:
    """The branches in `packed-refs` that begin as `branch` does up to its first slash, in whatever case."""
    try:
        content = read_regular(f"{common_dir}/packed-refs")
    except FileNotFoundError:
        return
    beginning = b" refs/heads/" + branch.partition("/")[0].encode().lower()
    lower = content.lower()  # of ASCII letters alone, so that nothing moves
    at = lower.find(beginning)
    while at >= 0:
        end = content.find(b"\n", at)
        name = content[at + 1 : end if end >= 0 else None].decode("utf-8", "surrogateescape")
        yield name[len(HEADS) :]
        at = lower.find(beginning, at + 1)


def make_branch(repo: Repository, branch: str, sha: str, by: Signature, message: str) -> None:
    """Make `branch` at `sha`. Raises RefTakenError, and OSError where it cannot be written; it is not there then."""
    top = os.fspath(repo.common_dir)
    ref = f"{top}/{HEADS}{branch}"
    with _Lock(top, f"{HEADS}{branch}") as lock:
        if os.path.lexists(ref) or _in_the_way(repo.common_dir, branch):
            raise RefTakenError(branch)
        if by.logged:
            _make_folders(top, f"logs/{HEADS}{branch}")
            _append(f"{top}/logs/{HEADS}{branch}", by.line("0" * len(sha), sha, message))
        lock.write(f"{sha}\n")


def was_made(repo: Repository, branch: str, message: str) -> bool:
    """Whether the branch was made with this message and has not been touched since, as far as its log tells."""
    try:
        lines = read_regular(f"{repo.common_dir}/logs/{HEADS}{branch}").splitlines()
    except OSError:
        return False
    return bool(lines) and lines[-1].endswith(b"\t" + message.encode())


def delete_branch(repo: Repository, branch: str, expected: str) -> bool:
    """Delete a branch that is kept in a file of its own and names `expected`, with its log; else leave it to git."""
    top = os.fspath(repo.common_dir)
    ref = f"{top}/{HEADS}{branch}"
    try:
        # Both locks, as git holds them: whoever packs refs at this moment would bring the branch back.
        with _Lock(top, f"{HEADS}{branch}"), _Lock(top, "packed-refs"):
            named = read_regular(ref).strip() == expected.encode()
            if not named or any(each.casefold() == branch.casefold() for each in _packed(repo.common_dir, branch)):
                return False
            with suppress(FileNotFoundError):
                os.unlink(f"{top}/logs/{HEADS}{branch}")
            os.unlink(ref)
    except OSError:
        return False
    folder = os.path.dirname(branch)
    for kept in (f"{top}/logs/{HEADS}{folder}", f"{top}/{HEADS}{folder}") if folder else ():
        with suppress(OSError):
            os.rmdir(kept)
    return True


def break_lock(repo: Repository, lives: Callable[[int], bool]) -> bool:
    """Remove the lock on packed refs if a process of ours that is gone has left it: git leaves it empty. Whether so."""
    lock = repo.common_dir / "packed-refs.lock"
    with suppress(OSError):
        if is_left(lock, lives):
            lock.unlink()
            return True
    return False


def is_left(lock: Path, lives: Callable[[int], bool]) -> bool:
    """Whether a process of ours that is gone has made this lock, and not written into it what it is for."""
    try:
        content = read_regular(lock)
        number = int(content.rpartition(b" ")[2] or b"0")
    except (OSError, ValueError):
        return False
    return content == _holder(number) and not lives(number)


def _holder(pid: int) -> bytes:
    return b"agentpane %d" % pid


def _in_the_way(common_dir: Path, branch: str) -> bool:
    """Whether a packed branch has this name, lies in it as in a folder, or is a folder of it; case aside."""
    wanted = branch.casefold()
    for name in map(str.casefold, _packed(common_dir, branch)):
        if name == wanted or name.startswith(f"{wanted}/") or wanted.startswith(f"{name}/"):
            return True
    return False


def point_head(git_dir: Path, branch: str, sha: str, by: Signature) -> None:
    """Let a HEAD that is detached at `sha` name `branch`, which is there too."""
    with _Lock(os.fspath(git_dir), "HEAD") as lock:
        if by.logged:
            _make_folders(os.fspath(git_dir), "logs/HEAD")
            _append(f"{git_dir}/logs/HEAD", by.line(sha, sha, f"checkout: moving from {sha} to {branch}"))
        lock.write(f"ref: {HEADS}{branch}\n")


def detach_head(git_dir: Path, sha: str) -> None:
    """Take back what `point_head` did."""
    with _Lock(os.fspath(git_dir), "HEAD") as lock:
        lock.write(f"{sha}\n")


class _Lock:
    """Git's lock on a file: its name with `.lock`, made new, which takes the file's place if it is written."""

    def __init__(self, top: str, name: str) -> None:
        self._top, self._name = top, name
        self._file, self._lock = f"{top}/{name}", f"{top}/{name}.lock"
        self._descriptor, self._written = -1, False

    def __enter__(self) -> _Lock:
        for last in (False, False, True):
            _make_folders(self._top, self._name)
            try:
                self._descriptor = os.open(self._lock, _LOCK, 0o666)
                os.write(self._descriptor, _holder(os.getpid()))  # what proves whose it is until it is written
                break
            except FileNotFoundError:  # git has just removed a folder that was empty
                if last:
                    raise
        return self

    def write(self, text: str) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode("utf-8", "surrogateescape"), 0)
        os.fsync(self._descriptor)
        os.rename(self._lock, self._file)
        self._written = True

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self._written:
            with suppress(OSError):
                os.unlink(self._lock)


def _make_folders(top: str, file: str) -> None:
    """Make the folders between `top` and `file` where they are missing. Raises NotADirectoryError for a link."""
    folder = top
    for part in file.split("/")[:-1]:
        folder = f"{folder}/{part}"
        try:
            kind = os.lstat(folder).st_mode
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(folder)
            kind = os.lstat(folder).st_mode
        if not stat.S_ISDIR(kind):
            raise NotADirectoryError(folder)


def _append(log: str, line: bytes) -> None:
    descriptor = os.open(log, _APPEND, 0o666)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
