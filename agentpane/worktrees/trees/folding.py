"""Disks that do not tell names apart by their case: of two tracked names that are one file there, one has no file.

Git takes that file for the content of both. The name that git has laid out last has it; what git says of the other is
nobody's change, as long as the file is there. Where it is gone, both are.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.domain.diff import decode_path, split_z
from agentpane.worktrees.git.runner import GitRunner, Place


@dataclass(frozen=True)
class Folder:
    """What lies below `root`, and how it is spelled there. Blocks."""

    root: Path
    _names: dict[str, frozenset[str]] = field(default_factory=dict)

    def about(self, path: str) -> os.stat_result | None:
        """What lies at a path, however it is spelled; None where nothing does, or a link leads there."""
        parts = path.split("/")
        if any(os.path.islink(self.root / "/".join(parts[:depth])) for depth in range(1, len(parts))):
            return None
        try:
            return os.lstat(self.root / path)
        except OSError:
            return None

    def spells(self, path: str) -> bool:
        """Whether the last part of a path is spelled so in its folder."""
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            with suppress(OSError):
                self._names[folder] = frozenset(os.listdir(self.root / folder))
        return name in self._names.get(folder, ())

    def spells_whole(self, path: str) -> bool:
        parts = path.split("/")
        return all(self.spells("/".join(parts[:depth])) for depth in range(1, len(parts) + 1))


def folds(root: Path) -> bool:
    """Whether the disk of a checkout takes names for the same that differ in case. Blocks.

    One that lists both of them does not, though they may be one file by a hard link.
    """
    try:
        same = os.path.samestat(os.lstat(root / ".git"), os.lstat(root / ".GIT"))
        return same and ".GIT" not in os.listdir(root)
    except OSError:
        return False


async def without_file(git: GitRunner, place: Place, index: Path | None, changed: Collection[str]) -> set[str]:
    """Those of these changed paths that share their file with another name in the index, which has it.

    index: None for the worktree's own.
    """
    root = place.work_tree
    if root is None or not changed or not await asyncio.to_thread(folds, root):
        return set()
    listed = await git.run(place, "ls-files", "-z", index=index)
    tracked = [decode_path(name) for name in split_z(listed.stdout)]
    return await asyncio.to_thread(sharing, Folder(root), changed, tracked)


def sharing(folder: Folder, changed: Collection[str], tracked: Iterable[str]) -> set[str]:
    """Those of the changed paths that share their file with another tracked name, which has it. Blocks."""
    wanted = {_folded(path) for path in changed}
    groups: dict[str, list[str]] = {}
    for path in tracked:
        key = _folded(path)
        if key in wanted:
            groups.setdefault(key, []).append(path)
    return {path for group in groups.values() if len(group) > 1 for path in _others(folder, group) if path in changed}


def _others(folder: Folder, group: Sequence[str]) -> Iterator[str]:
    """Those of the names that are the file of another one of them.

    Git lays them out in the order of their bytes, and makes no folder anew that is there in another spelling.
    """
    spelled = [path for path in group if folder.spells(path) and folder.about(path) is not None]
    if not spelled or sum(folder.spells_whole(path) for path in spelled) > 1:  # the disk keeps them apart
        return
    owner = max(spelled, key=os.fsencode)
    its = folder.about(owner)
    for path in group:
        about = folder.about(path)
        if path != owner and its is not None and about is not None and os.path.samestat(its, about):
            yield path


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
