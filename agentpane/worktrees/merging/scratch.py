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
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner, Place
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.trees.ageing import age_files
from agentpane.worktrees.trees.copying import copy_listed
from agentpane.worktrees.values import Repository

_WHOLE = {"core.sparseCheckout": "false", "core.splitIndex": "false"}
# How text and modes come to the disk: a check's own git sees the files as unchanged only if it knows the same.
_TAKEN_OVER = ("autocrlf", "eol", "filemode", "ignorecase", "precomposeunicode", "safecrlf", "symlinks")
_INFO = ("attributes", "exclude")
_AUTHOR = "AgentPane <agentpane@localhost>"
_HASH_SIZES = {"sha1": 20, "sha256": 32}


@dataclass(frozen=True, slots=True)
class Scratch:
    """`tree` holds the files and copies of the env file; `git_dir` is its git folder, on the commit `head`."""

    tree: Path
    git_dir: Path
    head: str


async def make_scratch(
    git: GitRunner, repo: Repository, folder: Path, tree: str, parents: tuple[str, ...], copy_files: tuple[str, ...]
) -> Scratch:
    """Lay out a tree inside `folder`, which is empty and the caller's to remove, as the commit of it on `parents`.

    Raises WORKTREE_CREATION_FAILED or WORKTREE_ENV_COPY_FAILED.
    """
    files, git_dir = folder / "tree", folder / "git"
    try:
        refs = await git.run(
            objects_of(repo), "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags",
            "refs/remotes",
        )  # fmt: skip
        values = await git.configuration(objects_of(repo))
        head = await asyncio.to_thread(_make_git_dir, repo, files, git_dir, values, refs.stdout, tree, parents)
        place = Place(repo.common_dir, repo.common_dir, files, allowed_filters=repo.allowed_filters)
        index = git_dir / "index"
        await git.run(
            place, "read-tree", "--reset", "-u", tree, index=index, config=_WHOLE, timeout=LONG_TIMEOUT
        )  # fmt: skip
        await asyncio.to_thread(age_files, files, index, _HASH_SIZES[repo.object_format])
    except GitError as error:
        raise _failed(error.stderr or error.message, error.details) from error
    except OSError as error:
        raise _failed(error.strerror or str(error), {}) from error
    if copy_files and not repo.bare:
        await asyncio.to_thread(copy_listed, repo.path, files, copy_files)
    return Scratch(files, git_dir, head)


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
