"""The files of a worktree that git does not ignore, found without following a link.

A path that is asked for by name is searched even where it is ignored; then only the rules below it count.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentpane.errors import ErrorCode
from agentpane.orchestrator.tree import files, ignoring
from agentpane.orchestrator.tree.openat import open_beneath
from agentpane.orchestrator.tree.refusal import Refusal

GIT = ".git"
RULES = ".gitignore"
Parts = tuple[str, ...]
Chain = tuple[ignoring.Rules, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is searched: `within`, which is `base` or lies below it. base: whose rules are the first that count."""

    base: Parts
    within: Parts
    is_file: bool = False


def scope_of(worktree: Path, parts: Parts) -> Scope:
    """Of a file or folder that was asked for. Raises Refusal when there is none, or when it is neither."""
    with files.opened(worktree) as root:
        return scope(root, parts)


def scope(root: int, parts: Parts) -> Scope:
    """See scope_of."""
    if not parts:
        return Scope((), ())
    mode = _mode(root, parts)
    if stat.S_ISREG(mode):
        return Scope((), parts, is_file=True)
    if not stat.S_ISDIR(mode):
        raise Refusal(f"{files.shown(parts)} is neither a file nor a folder.")
    chain: Chain = ()
    for depth in range(len(parts)):
        chain = _chain(root, parts[:depth], chain)
        if ignoring.is_ignored(_bytes(parts[: depth + 1]), True, chain):
            return Scope(parts, parts)
    return Scope((), parts)


def walk(root: int, searched: Scope) -> Iterator[Parts]:
    """Every regular file of the scope, in no order."""
    if searched.is_file:
        yield searched.within
        return
    chain: Chain = ()
    for depth in range(len(searched.base), len(searched.within)):
        chain = _chain(root, searched.within[:depth], chain)
    waiting = [(searched.within, chain)]
    while waiting:
        folder, above = waiting.pop()
        chain = _chain(root, folder, above)
        for name, is_folder in _entries(root, folder):
            path = (*folder, name)
            if name != GIT and not ignoring.is_ignored(_bytes(path), is_folder, chain):
                if is_folder:
                    waiting.append((path, chain))
                else:
                    yield path


def in_order(paths: Iterator[Parts]) -> list[Parts]:
    return sorted(paths, key=_bytes)


def _entries(root: int, folder: Parts) -> list[tuple[str, bool]]:
    """(name, is a folder) of the folders and regular files in a folder; what cannot be opened holds none."""
    try:
        descriptor = open_beneath(root, folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        with os.scandir(descriptor) as entries:
            return [
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in entries
                if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []
    finally:
        os.close(descriptor)


def _chain(root: int, folder: Parts, above: Chain) -> Chain:
    """The rules in force in a folder. A repository inside the worktree begins anew."""
    if folder and above and _exists(root, (*folder, GIT)):
        above = ()
    try:
        content = files.read(root, (*folder, RULES), links=False, limit=ignoring.MAX_RULES_FILE)
    except (FileNotFoundError, Refusal):
        return above
    return (*above, ignoring.parse(content.data, len(folder)))


def _exists(root: int, parts: Parts) -> bool:
    try:
        _mode(root, parts)
    except Refusal:
        return False
    return True


def _mode(root: int, parts: Parts) -> int:
    try:
        descriptor = open_beneath(root, parts, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Refusal(f"There is no file or folder {files.shown(parts)}.") from None
    except OSError as error:
        code = ErrorCode.SECURITY_PATH_OUTSIDE_WORKTREE if files.is_escape(error) else None
        raise Refusal(f"{files.shown(parts)} cannot be searched: {error.strerror}.", code) from error
    try:
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def _bytes(parts: Parts) -> tuple[bytes, ...]:
    return tuple(os.fsencode(part) for part in parts)
