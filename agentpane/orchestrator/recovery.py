"""What the engine does at its start about what the last one left: runs cut off, merges cut off."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from agentpane.db import merges, projects, runs
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.review import Review
from agentpane.orchestrator.sessions import Recorder
from agentpane.worktrees import MergeIntent, MergeState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovery:
    core: Core
    blobs: BlobStore
    review: Review

    async def run(self) -> None:
        """Mark runs without a process as interrupted, and finish or take back merges that were cut off."""
        for run in await self.core.db.write(runs.interrupt_orphans, self.core.clock.now()):
            row = await self.core.db.read(runs.row, run.id)
            recorder = Recorder(self.core, self.blobs, run.task_id, row.session_id, run.id)
            recorder.add(EventKind.STATE, {"state": "interrupted"})
            await recorder.close()
            await self.core.announce_task(run.task_id)
            await self.core.announce_agent(run.agent_id)
        for merge in await self.core.db.read(merges.unfinished):
            try:
                await self._merge(merge)
            except AgentPaneError as error:
                log.warning("the merge of task %s waits: %s", merge.task_id, error.message)

    async def _merge(self, merge: merges.MergeRow) -> None:
        project = await self.core.db.read(projects.get, merge.project_id)
        repository = await self.core.git.open_repository(Path(project.path))
        intent = MergeIntent(
            merge.target, merge.old_sha, merge.new_sha, Path(merge.checkout) if merge.checkout else None
        )
        found = await self.core.git.recover_merge(repository, intent)
        if found.state is MergeState.COMPLETED:
            task = await self.core.task(merge.task_id)
            await self.review.merged(task, merge.new_sha, merge.id, merge.approved_by, merge.strategy, repository)
        elif found.state is MergeState.ROLLED_BACK:
            await self.core.db.write(merges.finish, merge.id, "rolled_back", self.core.clock.now())
        else:
            await self.core.db.write(merges.finish, merge.id, "needs_person", self.core.clock.now())
