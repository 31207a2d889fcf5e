"""Making a commit of a tree: as a file among git's objects where that is all that git would do, else by git."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.refs.idents import clock, ident
from agentpane.worktrees.refs.ref_files import are_owners_alone
from agentpane.worktrees.values import Repository


async def make_commit(git: GitRunner, repo: Repository, tree: str, parents: Sequence[str], message: str) -> str:
    """The commit of `tree` on `parents`; nothing names it yet."""
    text = message.encode("utf-8", "replace")
    values = await git.configuration(objects_of(repo))
    content = _content(values, tree, parents, text)
    if content is not None and are_owners_alone(values):
        with suppress(OSError):
            return await asyncio.to_thread(_write, repo, content)
    named = [word for parent in parents for word in ("-p", parent)]
    return (await git.run(objects_of(repo), "commit-tree", tree, *named, stdin=text)).line


def _content(values: Mapping[str, str], tree: str, parents: Sequence[str], text: bytes) -> bytes | None:
    """What git would write; None where it would ask for more than the configuration."""
    author, committer = ident(values, "author"), ident(values, "committer")
    if author is None or committer is None or b"\0" in text:
        return None
    now = clock()
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in dict.fromkeys(parents))]
    lines += [f"author {author} {now}", f"committer {committer} {now}", "", ""]
    body = "\n".join(lines).encode() + text
    return b"commit %d\0" % len(body) + body


def _write(repo: Repository, content: bytes) -> str:
    """Put an object into its file, whole or not at all; returns its name."""
    name = hashlib.new(repo.object_format, content, usedforsecurity=False).hexdigest()
    folder = f"{repo.common_dir}/objects/{name[:2]}"
    file, new = f"{folder}/{name[2:]}", f"{folder}/tmp_obj_{secrets.token_hex(6)}"
    with suppress(FileExistsError):
        os.mkdir(folder)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(zlib.compress(content))
            out.flush()
            os.fsync(descriptor)
        os.rename(new, file)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise
    return name
