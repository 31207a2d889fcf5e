"""What follows from two commits alone is asked of git once, and remembered as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from agentpane.domain.conflicts import Conflict
from agentpane.domain.overlaps import FileEdit
from agentpane.worktrees import Repository, Worktrees

MOST_REMEMBERED = 200_000  # conflicts, or places of a change

T = TypeVar("T")
Key = tuple[str, str, str]  # the repository's folder and both commits


class Remembered(Generic[T]):
    """Values of at most `room` in all; those that were used last stay."""

    def __init__(self, room: int = MOST_REMEMBERED) -> None:
        self._room = room
        self._kept: OrderedDict[Key, tuple[T, int]] = OrderedDict()
        self._held = 0

    def get(self, key: Key) -> T | None:
        known = self._kept.get(key)
        if known is None:
            return None
        self._kept.move_to_end(key)
        return known[0]

    def put(self, key: Key, value: T, size: int) -> T:
        """Returns the value, also when it takes more room than there is and is not kept."""
        if key not in self._kept and size < self._room:
            self._kept[key] = value, size
            self._held += size
            while self._held > self._room:
                _, (_, gone) = self._kept.popitem(last=False)
                self._held -= gone
        return value


class Comparing:
    """Asks git about pairs of commits."""

    def __init__(self, git: Worktrees) -> None:
        self._git = git
        self._conflicts: Remembered[tuple[Conflict, ...]] = Remembered()
        self._edits: Remembered[tuple[FileEdit, ...]] = Remembered()
        self._clashes: Remembered[frozenset[str]] = Remembered()

    async def conflicts(self, repo: Repository, target: str, card: str) -> tuple[Conflict, ...]:
        """See Worktrees.conflicts."""
        key = str(repo.common_dir), target, card
        known = self._conflicts.get(key)
        if known is None:
            found = await self._git.conflicts(repo, target, card)
            known = self._conflicts.put(key, found, 1 + sum(1 + len(each.card_lines) for each in found))
        return known

    async def edits(self, repo: Repository, base: str, card: str) -> tuple[FileEdit, ...]:
        """See Worktrees.edits."""
        key = str(repo.common_dir), base, card
        known = self._edits.get(key)
        if known is None:
            found = await self._git.edits(repo, base, card)
            known = self._edits.put(key, found, 1 + sum(1 + len(each.hunks) for each in found))
        return known

    async def clashes(self, repo: Repository, one: str, other: str) -> frozenset[str]:
        """See Worktrees.clashes. Which of the two is named first makes no difference."""
        first, last = sorted((one, other))
        key = str(repo.common_dir), first, last
        known = self._clashes.get(key)
        if known is None:
            found = await self._git.clashes(repo, first, last)
            known = self._clashes.put(key, found, 1 + len(found))
        return known
