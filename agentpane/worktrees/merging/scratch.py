"""The files that a merge would make, laid out in a folder of their own in order to be checked, and then thrown away.

The folder is a repository by itself: its git folder borrows the objects of the real one, which are only read, and has
branches and tags of its own. What a check does there, with git or without, changes nothing of the person's, and git
keeps no record of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.temporary import delete
from agentpane.worktrees.git.config import WHOLE
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner, Place
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.trees.ageing import age_files
from agentpane.worktrees.trees.copying import copy_listed
from agentpane.worktrees.values import Repository

_ONE_INDEX = {**WHOLE, "core.splitIndex": "false"}
# How text and modes come to the disk: a check's own git sees the files as unchanged only if it knows the same.
_TAKEN_OVER = ("autocrlf", "eol", "filemode", "ignorecase", "precomposeunicode", "safecrlf", "symlinks")
_INFO = ("attributes", "exclude")
_AUTHOR = "AgentPane <agentpane@localhost>"
_HASH_SIZES = {"sha1": 20, "sha256": 32}


Seen = tuple[int, ...]  # a folder's mode; of anything else also what changes with its content


@dataclass(frozen=True, slots=True)
class Scratch:
    """`tree` holds the files and copies of the env file; `git_dir` is its git folder, on the commit `head`.

    index: git's, of what was laid out; out of reach of what runs there. laid_out: the same as it was seen on the disk,
    each folder before what it holds. replaced: the files in whose place the person's own were copied.
    """

    tree: Path
    git_dir: Path
    head: str
    index: Path
    laid_out: Mapping[str, Seen | None]
    replaced: tuple[str, ...]


async def make_scratch(
    git: GitRunner, repo: Repository, folder: Path, tree: str, parents: tuple[str, ...], copy_files: tuple[str, ...]
) -> Scratch:
    """Lay out a tree inside `folder`, which is empty and the caller's to remove, as the commit of it on `parents`.

    Raises WORKTREE_CREATION_FAILED or WORKTREE_ENV_COPY_FAILED.
    """
    files, git_dir, index = folder / "tree", folder / "git", folder / "index"
    try:
        refs = await git.run(
            objects_of(repo), "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags",
            "refs/remotes",
        )  # fmt: skip
        values = await git.configuration(objects_of(repo))
        head = await asyncio.to_thread(_make_git_dir, repo, files, git_dir, values, refs.stdout, tree, parents)
        await _read_tree(git, repo, files, index, tree)
        await asyncio.to_thread(age_files, files, index, _HASH_SIZES[repo.object_format])
        await asyncio.to_thread(shutil.copyfile, index, git_dir / "index")
        laid_out = await asyncio.to_thread(_look, files)
        scratch = Scratch(files, git_dir, head, index, laid_out, ())
        if copy_files and not repo.bare:
            await asyncio.to_thread(copy_listed, repo.path, files, copy_files)
            scratch = await asyncio.to_thread(_seen_again, scratch)
            own = (path for path, seen in laid_out.items() if scratch.laid_out[path] != seen)
            scratch = replace(scratch, replaced=tuple(os.path.relpath(path, files) for path in own))
    except GitError as error:
        raise _failed(error.stderr or error.message, error.details) from error
    except OSError as error:
        raise _failed(error.strerror or str(error), {}) from error
    return scratch


async def set_scratch_back(git: GitRunner, repo: Repository, scratch: Scratch, tree: str) -> Scratch:
    """Let the files of the tree, and the git folder's HEAD and index, be again as they were laid out.

    What is not of the tree stays, and so do commits and settings. Nothing may run in it meanwhile. Starts git only
    where a file has changed. Raises as `make_scratch` does.
    """
    try:
        if await asyncio.to_thread(_take_away, scratch.laid_out):
            await _read_tree(git, repo, scratch.tree, scratch.index, tree)
            await asyncio.to_thread(copy_listed, repo.path, scratch.tree, scratch.replaced)
            scratch = await asyncio.to_thread(_seen_again, scratch)
        await asyncio.to_thread(_set_git_dir_back, scratch)
    except GitError as error:
        raise _failed(error.stderr or error.message, error.details) from error
    except OSError as error:
        raise _failed(error.strerror or str(error), {}) from error
    return scratch


async def _read_tree(git: GitRunner, repo: Repository, files: Path, index: Path, tree: str) -> None:
    place = Place(repo.common_dir, repo.common_dir, files, allowed_filters=repo.allowed_filters)
    await git.run(place, "read-tree", "--reset", "-u", tree, index=index, config=_ONE_INDEX, timeout=LONG_TIMEOUT)


def _look(files: Path) -> dict[str, Seen | None]:
    """Everything that was laid out, folders first, and nothing else: it is as git has just left it."""
    found = {}
    for folder, folders, names in os.walk(files):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            found[path] = _seen(path)
    del found[os.path.join(files, ".git")]
    return found


def _seen(path: str) -> Seen | None:
    try:
        about = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(about.st_mode):
        return (about.st_mode,)
    # Nobody can set the time of the last change, so that no edit is hidden by setting the others back.
    return (about.st_mode, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def _seen_again(scratch: Scratch) -> Scratch:
    return replace(scratch, laid_out={path: _seen(path) for path in scratch.laid_out})


def _take_away(laid_out: Mapping[str, Seen | None]) -> bool:
    """Remove each file that is not as it was laid out, and whatever lies in the place of one; whether any is not.

    Git lays those out anew, whatever it would make of their times. No link is followed, since folders come first.
    """
    changed = False
    for path, before in laid_out.items():
        now = _seen(path)
        if now == before:
            continue
        changed = True
        is_folder = now is not None and stat.S_ISDIR(now[0])
        if is_folder and before is not None and stat.S_ISDIR(before[0]):
            os.chmod(path, stat.S_IMODE(before[0]))
        elif is_folder:
            delete(Path(path))
        elif now is not None:
            os.unlink(path)
    return changed


def _set_git_dir_back(scratch: Scratch) -> None:
    """Through no link that was put there: each file is written elsewhere, and takes the other's place."""
    for name, content in (("HEAD", f"{scratch.head}\n".encode()), ("index", scratch.index.read_bytes())):
        written = scratch.index.with_name(f"{name}.written")
        written.write_bytes(content)
        os.replace(written, scratch.git_dir / name)
        (scratch.git_dir / f"{name}.lock").unlink(missing_ok=True)  # of a git that was ended with its check


def _make_git_dir(
    repo: Repository,
    files: Path,
    git_dir: Path,
    values: Mapping[str, str],
    refs: bytes,
    tree: str,
    parents: tuple[str, ...],
) -> str:
    """The git folder with a detached HEAD, and the work tree that points to it. Returns the commit."""
    files.mkdir()
    for inner in ("objects/info", "objects/pack", "refs/heads", "info"):
        (git_dir / inner).mkdir(parents=True)
    borrowed = os.fsencode(repo.common_dir / "objects")
    (git_dir / "objects/info/alternates").write_bytes(_quoted(borrowed) + b"\n")
    (git_dir / "config").write_text(_configuration(values, repo.object_format), "utf-8", "surrogateescape")
    (git_dir / "packed-refs").write_bytes(refs)
    for name in _INFO:
        if (repo.common_dir / "info" / name).is_file():
            shutil.copyfile(repo.common_dir / "info" / name, git_dir / "info" / name, follow_symlinks=False)
    if (repo.common_dir / "shallow").is_file():
        shutil.copyfile(repo.common_dir / "shallow", git_dir / "shallow", follow_symlinks=False)
    head = _write_commit(git_dir, repo.object_format, tree, parents)
    (git_dir / "HEAD").write_text(f"{head}\n")
    (files / ".git").write_bytes(b"gitdir: " + os.fsencode(git_dir) + b"\n")
    return head


def _configuration(values: Mapping[str, str], object_format: str) -> str:
    lines = ["[core]", "\tbare = false", "\tlogAllRefUpdates = false"]
    lines.append(f"\trepositoryFormatVersion = {0 if object_format == 'sha1' else 1}")
    lines += [f'\t{name} = "{_escaped(values[f"core.{name}"])}"' for name in _TAKEN_OVER if f"core.{name}" in values]
    lines += ["[gc]", "\tauto = 0", "[maintenance]", "\tauto = false"]
    if object_format != "sha1":
        lines += ["[extensions]", f"\tobjectFormat = {object_format}"]
    return "\n".join([*lines, ""])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _quoted(path: bytes) -> bytes:
    """A path as a line of `alternates`; one with a line break in it is quoted as in C."""
    if b"\n" not in path:
        return path
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def _write_commit(git_dir: Path, object_format: str, tree: str, parents: tuple[str, ...]) -> str:
    """Put a commit of the tree into the git folder's own objects, so that none is left in the real ones."""
    signed = f"{_AUTHOR} {int(time.time())} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {signed}", f"committer {signed}"]
    body = "\n".join([*lines, "", "What the merge would make", ""]).encode("ascii")
    whole = b"commit %d\0" % len(body) + body
    name = hashlib.new(object_format, whole).hexdigest()
    target = git_dir / "objects" / name[:2] / name[2:]
    target.parent.mkdir()
    target.write_bytes(zlib.compress(whole))
    target.chmod(0o444)
    return name


def _failed(why: str, details: Mapping[str, object]) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.WORKTREE_CREATION_FAILED,
        f"The files of the merge could not be laid out to be checked: {why}",
        "Nothing was left behind. Check the disk's free space, then run the checks again.",
        details,
    )
