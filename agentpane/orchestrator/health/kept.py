"""The recovery bin's rows, compared with its refs; and what is about to leave it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from agentpane.db import projects, recoveries
from agentpane.domain.health import HealthCode
from agentpane.domain.recoveries import KEPT, NOTICE, RecoverySnapshot
from agentpane.domain.worktrees import WorktreeRow
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.health.ailments import Ailment, Ward, ailment

PREFIX = "refs/agentpane/recovery/"
REASON = "found by the doctor"


@dataclass(frozen=True, slots=True)
class Kept:
    core: Core

    async def look(self, ward: Ward) -> AsyncIterator[Ailment]:
        rows = await self.core.db.read(recoveries.for_project, ward.project.id)
        for row in rows:
            if row.ref not in ward.refs:
                yield await self._gone(ward, row)
        known = {row.ref for row in await self.core.db.read(recoveries.everything)}
        for ref, sha in ward.refs.items():
            if ref.startswith(PREFIX) and ref not in known:
                yield await self._unlisted(ward, ref, sha)

    async def expiring(self) -> AsyncIterator[Ailment]:
        now = self.core.clock.now()
        by_end = sorted(await self.core.db.read(recoveries.ending, now, NOTICE), key=lambda row: row.expires_at)
        if by_end:
            first = f"{by_end[0].expires_at:%Y-%m-%d %H:%M} UTC"
            count = len(by_end)
            what = "A recovery snapshot expires" if count == 1 else f"{count} recovery snapshots expire, the first"
            fix = "Restore what you need: agentpane recovery list, agentpane recovery restore ID"
            about, size = tuple(row.id for row in by_end), sum(row.size_bytes for row in by_end)
            yield ailment(
                HealthCode.RECOVERY_EXPIRES, f"{what} on {first}.", "recovery bin", fix, about=about, size=size,
                notice=True,
            )  # fmt: skip

    async def _gone(self, ward: Ward, row: RecoverySnapshot) -> Ailment:
        there = await self.core.git.inspection.has_commit(ward.repository, row.sha)
        return ailment(
            HealthCode.RECOVERY_GONE,
            f"The ref of a recovery snapshot is gone{'; git still has the content' if there else ', and its content'}.",
            row.ref,
            "Make the ref again." if there else "Take it off the list: there is nothing left to restore.",
            about=(row.id, row.sha),
            mend=partial(self._ref_again if there else self._forget, ward, row),
            project=ward.project.id,
        )

    async def _unlisted(self, ward: Ward, ref: str, sha: str) -> Ailment:
        message = await self.core.git.inspection.message(ward.repository, sha)
        said = message.partition("\n")[0]
        every = (*ward.rows, *ward.beside)
        made = next((row for row in reversed(every) if said.endswith(f" {row.branch} held")), None)
        return ailment(
            HealthCode.RECOVERY_UNLISTED,
            f"A recovery snapshot is not on the list: {said or 'it cannot be read'}.",
            ref,
            "Put it on the list, for 30 days from now."
            if made
            else "It was not made for a card of this data folder, and is left alone.",
            about=(sha,),
            mend=partial(self._list, ward, ref, sha, made) if made else None,
            notice=made is None,
            project=made.project_id if made else ward.project.id,
        )

    async def _ref_again(self, ward: Ward, row: RecoverySnapshot) -> str:
        if not await self.core.git.inspection.put_ref(ward.repository, row.ref, row.sha):
            raise AgentPaneError(ErrorCode.RESOURCE_LOCKED, f"{row.ref} could not be made.", "Try again in a moment.")
        return "The ref was made again."

    async def _forget(self, ward: Ward, row: RecoverySnapshot) -> str:
        await self.core.db.write(recoveries.remove, row.id)
        return "It was taken off the list."

    async def _list(self, ward: Ward, ref: str, sha: str, made: WorktreeRow) -> str:
        project = await self.core.db.read(projects.get, made.project_id)
        need = ward.needs.get(made.id)
        now = self.core.clock.now()
        parent = await self.core.git.inspection.parent(ward.repository, sha)
        files, size = await self.core.git.inspection.weight(ward.repository, parent, sha)
        beside = await self.core.git.inspection.beside(ward.repository, sha, made.base_sha)
        snapshot = RecoverySnapshot(
            id=recoveries.fresh_id(), project_id=project.id, task_id=made.task_id, ref=ref, sha=sha, reason=REASON,
            size_bytes=size, files=files, created_at=now, expires_at=now + KEPT, title=need.title or "" if need else "",
            project=project.name, repository=project.path, branch=made.branch, base_branch=made.base_branch,
            base_sha=made.base_sha, parent=parent, copied=made.copied, beside=beside,
        )  # fmt: skip
        await self.core.db.write(recoveries.add, snapshot)
        return f"It is on the list as {snapshot.id}."


def tally(rows: Sequence[RecoverySnapshot]) -> tuple[int, int]:
    """How many there are, and their bytes."""
    return len(rows), sum(row.size_bytes for row in rows)
