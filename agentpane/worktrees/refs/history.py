"""Recent history read from git's own object files, where that is enough to answer; else nobody is told anything.

A commit that was just made lies in a file of its own, and is read from it in less time than it takes to start git.
What is read is checked against its name, and only ever says that something is so: never that it is not.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from agentpane.worktrees.git.files import read_small
from agentpane.worktrees.values import Repository

MOST_COMMITS = 64
MOST_BYTES = 64 * 1024
_HASHES = {"sha1": "sha1", "sha256": "sha256"}


@dataclass(frozen=True, slots=True)
class _Commit:
    tree: str
    parents: tuple[str, ...]


def tree_of_holder(repo: Repository, tip: str, held: str) -> str | None:
    """The tree of `tip`, if its recent history is seen to hold the commit `held`; None where that is not known."""
    first = _read(repo, tip)
    if first is None:
        return None
    seen, waiting = {tip}, deque(first.parents)
    if tip == held:
        return first.tree
    while waiting and len(seen) < MOST_COMMITS:
        name = waiting.popleft()
        if name == held:
            return first.tree
        if name not in seen:
            seen.add(name)
            commit = _read(repo, name)
            waiting.extend(commit.parents if commit is not None else ())
    return None


def _read(repo: Repository, name: str) -> _Commit | None:
    """A commit that has a file of its own, with the content that its name stands for."""
    packed = read_small(Path(f"{repo.common_dir}/objects/{name[:2]}/{name[2:]}"))
    if packed is None:
        return None
    try:
        content = zlib.decompressobj().decompress(packed, MOST_BYTES)
    except zlib.error:
        return None
    if hashlib.new(_HASHES[repo.object_format], content, usedforsecurity=False).hexdigest() != name:
        return None
    kind, _, body = content.partition(b"\0")
    if not kind.startswith(b"commit "):
        return None
    tree, parents = "", []
    for line in body.partition(b"\n\n")[0].split(b"\n"):
        word, _, value = line.partition(b" ")
        if word == b"tree":
            tree = value.decode("ascii", "replace")
        elif word == b"parent":
            parents.append(value.decode("ascii", "replace"))
        else:
            break
    return _Commit(tree, tuple(parents))
