"""What should be gone and is not: removed folders, temporary ones, long outputs that no row speaks of, lock files."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import stat
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from agentpane import temporary
from agentpane.db import health
from agentpane.domain.gitpaths import shown_paths
from agentpane.domain.health import HealthCode
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment, Ward, ailment
from agentpane.orchestrator.health.sizes import Sizes
from agentpane.worktrees.refs.left_locks import OLD_S
from agentpane.worktrees.refs.processes import may_be_held

_BLOB = re.compile(r"[0-9a-f]{64}(?:\.\d+\.part)?")
FRESH_S = 3600.0  # an output is stored before the row that speaks of it
THEIRS_S = 5.0  # a lock of the person's own, which no git holds that runs, and which a program has not just made


@dataclass(frozen=True, slots=True)
class Leftovers:
    core: Core
    sizes: Sizes
    began: datetime

    async def look(self, ward: Ward) -> AsyncIterator[Ailment]:
        for found in (await self._trash(ward), *[each async for each in self._locks(ward)]):
            if found is not None:
                yield found

    async def _trash(self, ward: Ward) -> Ailment | None:
        folders = await self.core.git.inspection.trash(ward.repository, ward.root)
        if not folders or self.core.git.deleting:
            return None
        size = sum([await self.sizes.of(folder) or 0 for folder in folders])
        text = "Folders of worktrees that were removed are not deleted yet."
        where, names = str(folders[0].parent), tuple(str(folder) for folder in folders)
        return ailment(
            HealthCode.TRASH_LEFT, text, where, "Delete them.", about=names, size=size, notice=True,
            mend=partial(self._delete_trash, folders), project=ward.project.id,
        )  # fmt: skip

    async def _delete_trash(self, folders: Sequence[Path]) -> str:
        left = [str(folder) for folder in folders if not await self.core.git.inspection.delete(folder)]
        if left:
            raise AgentPaneError(
                ErrorCode.WORKTREE_REMOVAL_FAILED,
                f"{len(left)} could not be deleted: {', '.join(left[:3])}.",
                "Look at who owns them, and whether something is mounted in them.",
            )
        return "They were deleted."

    async def _locks(self, ward: Ward) -> AsyncIterator[Ailment]:
        git_dirs = [Path(row.git_dir) for row in ward.rows if row.git_dir and row.status is not WorktreeStatus.REMOVED]
        ours = [
            lock
            for lock in await self.core.git.inspection.locks(ward.repository, git_dirs)
            if _age_s(lock) > OLD_S and _touched(lock) < self.began.timestamp()
        ]
        theirs = [
            lock for lock in await self.core.git.inspection.others_locks(ward.repository) if _age_s(lock) > THEIRS_S
        ]
        if not (ours or theirs) or await self._may_be_held(ward, (*ours, *theirs)):
            return
        for lock in ours:
            text = "A lock that no git holds any more; it keeps a worktree or a ref of AgentPane's from being changed."
            yield ailment(
                HealthCode.LOCK_LEFT, text, str(lock), "Remove it.", about=(str(_touched(lock)),),
                mend=partial(self._unlock, ward, lock, _touched(lock)), project=ward.project.id,
            )  # fmt: skip
        for lock in theirs:
            text = "A lock of your own repository is held by no git that runs, and keeps cards from being approved."
            fix = f"It is left alone. If no program uses the repository, remove it: rm {shlex.quote(str(lock))}"
            yield ailment(HealthCode.LOCK_LEFT, text, str(lock), fix, project=ward.project.id)

    async def _may_be_held(self, ward: Ward, locks: Sequence[Path]) -> bool:
        return await asyncio.to_thread(may_be_held, ward.repository, locks)

    async def _unlock(self, ward: Ward, lock: Path, touched: float) -> str:
        if await self._may_be_held(ward, (lock,)) or _touched(lock) != touched:
            raise AgentPaneError(ErrorCode.RESOURCE_LOCKED, f"A git is at work on {lock}.", "Try again when it ended.")
        lock.unlink()
        return "The lock was removed."

    async def temporary_folders(self) -> AsyncIterator[Ailment]:
        scratch = self.core.folder.scratch
        folders = [*await asyncio.to_thread(temporary.left), *await asyncio.to_thread(temporary.left, where=scratch)]
        if folders:
            size = sum([await self.sizes.of(folder) or 0 for folder in folders])
            what = "A temporary folder is" if len(folders) == 1 else f"{len(folders)} temporary folders are"
            about = tuple(str(folder) for folder in folders)
            text = f"{what} left of programs that were killed, and held by none that runs: {shown_paths(about)}."
            where = ", ".join(dict.fromkeys(str(folder.parent) for folder in folders))
            fix = "Delete it." if len(folders) == 1 else "Delete them."
            yield ailment(
                HealthCode.TEMPORARY_LEFT, text, where, fix, about=about, size=size,
                notice=True, mend=partial(_sweep, scratch),
            )  # fmt: skip

    async def outputs(self) -> AsyncIterator[Ailment]:
        """Long outputs that nothing in the database speaks of. Goes through every row, page by page."""
        folder = self.core.folder.blobs
        names = await asyncio.to_thread(_old_blobs, folder)
        unused = await self._unspoken(names)
        if unused:
            size = sum(names[name] for name in unused)
            what = "A long output is" if len(unused) == 1 else f"{len(unused)} long outputs are"
            text = f"{what} left of sessions that are gone."
            yield ailment(
                HealthCode.BLOBS_UNUSED, text, str(folder), "Delete them.", about=tuple(sorted(unused)), size=size,
                notice=True, mend=partial(self._delete_outputs, tuple(unused)),
            )  # fmt: skip

    async def _unspoken(self, names: dict[str, int]) -> set[str]:
        left = {name: name[:64] for name in names}
        for table in health.tables() if left else ():
            after: int | None = 0
            while after is not None and left:
                spoken, after = await self.core.db.read(health.spoken_of, table, after)
                left = {name: digest for name, digest in left.items() if digest not in spoken}
        return set(left)

    async def _delete_outputs(self, names: Sequence[str]) -> str:
        still = await self._unspoken(dict.fromkeys(names, 0))
        for name in still:
            await asyncio.to_thread((self.core.folder.blobs / name).unlink, True)
        return f"{len(still)} were deleted."


async def _sweep(scratch: Path) -> str:
    await asyncio.to_thread(temporary.sweep)
    await asyncio.to_thread(temporary.sweep, where=scratch)
    return "They were deleted."


def _old_blobs(folder: Path) -> dict[str, int]:
    """Outputs that have been there for a while, with their sizes; what else lies in the folder is not ours."""
    found: dict[str, int] = {}
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(about.st_mode) and _BLOB.fullmatch(entry.name) and time.time() - about.st_mtime > FRESH_S:
                found[entry.name] = about.st_size
    return found


def _age_s(file: Path) -> float:
    return time.time() - _touched(file)


def _touched(file: Path) -> float:
    try:
        return file.lstat().st_mtime
    except OSError:
        return time.time()
