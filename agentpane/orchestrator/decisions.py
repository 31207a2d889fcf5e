"""The approvals of tool calls: what waits for a person, and what the person decided."""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api import commands as c
from agentpane.api.events import ApprovalChanged
from agentpane.db import approvals, audit
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.limits import REASON, check_text
from agentpane.domain.runs import PauseReason, live_run
from agentpane.domain.sessions import EventKind
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.queueing import Queue
from agentpane.orchestrator.sessions import note


@dataclass(frozen=True, slots=True)
class Decisions:
    core: Core
    blobs: BlobStore
    queue: Queue

    async def pending(self, command: c.ListApprovals) -> tuple[Approval, ...]:
        task = await self.core.task(command.task) if command.task else None
        return await self.core.db.read(approvals.pending, task.card.id if task else None)

    async def decide(self, command: c.DecideApproval) -> Approval:
        """Allow or deny one tool call; its run goes on when no other call of it waits."""
        wanted = await self.core.db.read(lambda db: approvals.get(db, approvals.resolve(db, command.approval)))
        message = check_text("message", command.message, REASON, least=0)
        async with self.core.task_locks.of(wanted.task_id):
            decided = await self.core.db.write(self._store_decision, wanted, command.allow, command.always, message)
            data = {
                "approval_id": decided.id,
                "call_id": decided.call_id,
                "state": decided.state.value,
                "message": message,
            }
            task = await self.core.task(wanted.task_id)
            await note(self.core, self.blobs, task, decided.run_id, EventKind.APPROVAL_DECIDED, data)
            self.core.bus.publish(ApprovalChanged(decided))
            run = live_run(task.runs)
            if (
                run is not None
                and run.pause_reason is PauseReason.APPROVAL
                and not await self.core.db.read(approvals.pending, task.card.id)
            ):
                await self.queue.again(task, run, c.ResumeRun(task.card.id, environment=command.environment))
        return decided

    def _store_decision(
        self, connection: approvals.Connection, wanted: Approval, allow: bool, always: bool, message: str
    ) -> Approval:
        now = self.core.clock.now()
        state = ApprovalState.ALLOWED if allow else ApprovalState.DENIED
        decided = approvals.decide(connection, wanted.id, state, message or None, "person", now)
        if allow and always:
            approvals.allow_always(connection, wanted.project_id, wanted.tool, now)
        entry = self.core.record(
            "approval",
            wanted.project_id,
            task_id=wanted.task_id,
            run_id=wanted.run_id,
            input={"tool": wanted.tool, "summary": wanted.summary, "always": always},
            output={"state": decided.state.value, "message": message},
        )
        audit.append(connection, (entry,))
        return decided
