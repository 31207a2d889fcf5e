"""The commits of repositories that lie inside a worktree, of which a recovery otherwise keeps the files alone.

Each is kept as a bundle of what no remote of its own has: `git fetch FILE` and `git clone FILE` read one. It is made
by a git folder of our own that borrows the repository's objects and names them, so that what only its logs tell of,
such as all but the newest stash, is in it too.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.diff import display_path, encode_path
from agentpane.worktrees.git.files import open_regular, read_line
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner, Place
from agentpane.worktrees.keeping.exact import quoted
from agentpane.worktrees.values import Worktree

BUNDLED = b"Commits of repositories inside\n"  # the message of the commit that has the bundles
CLOSED, PARTLY = "Without the commits of: ", "Without some commits of: "
SUFFIX = ".bundle"


@dataclass(frozen=True, slots=True)
class Histories:
    """tree: holds `NAME.bundle` for each repository with commits of its own, which `names` has; None when none has.

    closed: the repositories of which no commit could be read; partly: those of which some could not.
    """

    tree: str | None
    closed: tuple[str, ...]
    partly: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to keep, and nothing to tell of."""
        return self.tree is None and not self.closed and not self.partly

    def missing(self) -> str:
        """What a recovery's message says of the commits that are not in it."""
        lost = (f"{CLOSED}{display_path(path)}\n" for path in self.closed)
        return "".join((*lost, *(f"{PARTLY}{display_path(path)}\n" for path in self.partly)))


async def bundled(git: GitRunner, place: Place, worktree: Worktree, scratch: Path, paths: Sequence[str]) -> Histories:
    """Bundle the repositories at these paths, and those of submodules that git's record of the worktree still holds."""
    found, closed = await asyncio.to_thread(_git_dirs, worktree, paths)
    lines: dict[str, bytes] = {}
    partly: list[str] = []
    for number, (name, git_dir) in enumerate(found.items()):
        folder = scratch / f"inner-{number}"
        file = scratch / f"{number}.bundle"
        try:
            if not await _bundle(git, git_dir, folder, file):
                partly.append(name)
        except (GitError, OSError):
            closed.append(name)
            continue
        if file.exists():
            stored = await git.run(place, "hash-object", "-w", "--no-filters", str(file), timeout=LONG_TIMEOUT)
            lines[name] = b"100644 %s\t%s.bundle\0" % (stored.line.encode(), encode_path(name))
    if not lines:
        return Histories(None, tuple(closed), tuple(partly))
    index = scratch / "bundles"
    await git.run(place, "update-index", "-z", "--index-info", stdin=b"".join(lines.values()), index=index)
    tree = (await git.run(place, "write-tree", index=index)).line
    return Histories(tree, tuple(closed), tuple(partly), tuple(sorted(lines)))


async def _bundle(git: GitRunner, git_dir: Path, folder: Path, file: Path) -> bool:
    """Write what no remote has, if that is anything. Returns whether everything could be read. Raises GitError."""
    theirs = Place(git_dir, git_dir)
    listed = await git.run(theirs, "for-each-ref", "--format=%(objectname) %(refname)")
    head = await git.run(theirs, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128))
    refs = listed.stdout.splitlines(keepends=True)
    known = {line.partition(b" ")[0] for line in refs} | set(head.stdout.split())
    logged, readable = await _logged(git, theirs, known)
    refs += [b"%s refs/logged/%d\n" % (commit, number) for number, commit in enumerate(logged, start=1)]
    if head.stdout:  # it may be on no branch
        refs.append(b"%s refs/logged/HEAD\n" % head.stdout.strip())
    if refs:
        await asyncio.to_thread(_borrow, git_dir, folder, refs, head.stdout)
        ours = Place(folder, folder)
        wanted = ("--all", "--not", "--remotes")
        if (await git.run(ours, "rev-list", "--count", *wanted)).line != "0":
            await git.run(ours, "bundle", "create", "--quiet", str(file), *wanted, timeout=LONG_TIMEOUT)
    return readable and b"broken ref" not in listed.stderr


async def _logged(git: GitRunner, theirs: Place, known: Iterable[bytes]) -> tuple[list[bytes], bool]:
    """The newest commits that only logs name, and whether all logs could be read."""
    stdin = b"".join(b"^%s\n" % name for name in known)
    try:
        listed = await git.run(theirs, "rev-list", "--reflog", "--parents", "--stdin", stdin=stdin)
    except GitError:
        return [], False
    entries = [line.split() for line in listed.stdout.splitlines()]
    below = {parent for entry in entries for parent in entry[1:]}
    return [entry[0] for entry in entries if entry[0] not in below], b"error: " not in listed.stderr


def _borrow(git_dir: Path, folder: Path, refs: Iterable[bytes], head: bytes) -> None:
    """Make a git folder that has these refs and no others, nothing of the repository's settings, and its objects."""
    (folder / "objects" / "info").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "objects" / "info" / "alternates").write_bytes(quoted(os.fsencode(git_dir / "objects")) + b"\n")
    (folder / "packed-refs").write_bytes(b"".join(refs))
    (folder / "HEAD").write_bytes(head or b"ref: refs/heads/none\n")
    short = len(next(iter(refs)).partition(b" ")[0]) == 40
    version = "0\n" if short else "1\n[extensions]\n\tobjectFormat = sha256\n"
    (folder / "config").write_text(f"[core]\n\tbare = false\n\trepositoryFormatVersion = {version}")
    if (git_dir / "shallow").is_file():
        with open_regular(git_dir / "shallow") as source, (folder / "shallow").open("wb") as copy:
            shutil.copyfileobj(source, copy)


def _git_dirs(worktree: Worktree, paths: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """The git folder of each repository under a name of its own, and the paths of those that have none to be read."""
    found: dict[str, Path] = {}
    closed: list[str] = []
    for path in paths:
        git_dir = _git_dir(worktree, path)
        if git_dir is None:
            closed.append(path)
        else:
            found[_free(path, found)] = git_dir
    for above, folder in [("", worktree.git_dir), *found.items()]:
        for name, git_dir in _modules(folder / "modules"):
            if git_dir not in found.values():
                found[_free(os.path.join(above, name), found)] = git_dir
    return found, closed


def _free(path: str, taken: Iterable[str]) -> str:
    """A name under which no other bundle lies, as a file or as a folder of some."""
    name, number = path, 1
    bundles = {f"{other}.bundle" for other in taken}
    while any(f"{name}.bundle/".startswith(f"{each}/") or each.startswith(f"{name}.bundle/") for each in bundles):
        number += 1
        name = f"{path}~{number}"
    return name


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    """The submodules that git has cloned for a worktree or a repository, checked out or not, and theirs."""
    for folder, folders, files in os.walk(root):
        if "HEAD" in files or "objects" in folders:
            yield os.path.relpath(folder, root), Path(os.path.realpath(folder))
            folders[:] = [name for name in folders if name == "modules"]


def _git_dir(worktree: Worktree, path: str) -> Path | None:
    """The git folder of a repository inside, if it lies in the worktree or in git's own folder of the worktree."""
    pointer = worktree.path / path / ".git"
    if pointer.is_symlink():
        return None
    named = read_line(pointer).removeprefix("gitdir: ")
    # A submodule's leads from where the worktree lay, which is not where it lies when it is on its way out.
    _, module, name = named.partition(f"/worktrees/{worktree.git_dir.name}/modules/")
    leads = worktree.git_dir / "modules" / name if module else pointer.parent / named if named else pointer
    folder = Path(os.path.realpath(leads))
    homes = (os.path.realpath(worktree.path), os.path.realpath(worktree.git_dir / "modules"))
    ours = any(folder.is_relative_to(home) for home in homes)
    # One that borrows the refs of another is a worktree of that one.
    whole = ours and (folder / "HEAD").is_file() and not os.path.lexists(folder / "commondir")
    return folder if whole else None
