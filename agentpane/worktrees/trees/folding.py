"""Disks that do not tell names apart by their case: of two tracked names that are one file there, one has no file.

Git takes that file for the content of both. The name that is spelled as the file is on disk has it; what git says of
the other is nobody's change.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.domain.diff import decode_path, split_z
from agentpane.worktrees.git.runner import GitRunner, Place


@dataclass(frozen=True, slots=True)
class Folder:
    """The names in the folders below `root`, as they are spelled on disk."""

    root: Path
    _names: dict[str, frozenset[str]] = field(default_factory=dict)

    def spells(self, path: str) -> bool:
        """Whether something lies at a path that is spelled exactly so, its folders too."""
        parts = path.split("/")
        return all(part in self._in("/".join(parts[:depth])) for depth, part in enumerate(parts))

    def _in(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            found: list[str] = []
            with suppress(OSError):
                found = os.listdir(self.root / folder)
            self._names[folder] = frozenset(found)
        return self._names[folder]


def folds(root: Path) -> bool:
    """Whether the disk of a checkout takes names for the same that differ in case. Blocks."""
    try:
        return os.path.samestat(os.lstat(root / ".git"), os.lstat(root / ".GIT"))
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
    """Those of the changed paths that share their file with another tracked name, which has it. Blocks.

    Of names that have no file any more, it was that of the last: git lays files out in the order of their bytes.
    """
    wanted = {_folded(path) for path in changed}
    groups: dict[str, list[str]] = {}
    for path in tracked:
        key = _folded(path)
        if key in wanted:
            groups.setdefault(key, []).append(path)
    found: set[str] = set()
    for group in groups.values():
        if len(group) > 1:
            own = [path for path in group if folder.spells(path)] or [max(group, key=os.fsencode)]
            found.update(set(group).difference(own))
    return found.intersection(changed)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
