"""The approvals of tool calls: what waits for a person, and what the person decided."""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api import commands as c
from agentpane.api.events import ApprovalChanged
from agentpane.db import approvals, audit, runs
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import REASON, check_text, invalid
from agentpane.domain.policy import EXIT_PLAN
from agentpane.domain.runs import PauseReason, RunStatus, live_run
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs.awaited import Awaited
from agentpane.orchestrator.runs.queueing import Queue
from agentpane.orchestrator.sessions import note


@dataclass(frozen=True, slots=True)
class Decisions:
    core: Core
    blobs: BlobStore
    queue: Queue
    awaited: Awaited

    async def pending(self, command: c.ListApprovals) -> tuple[Approval, ...]:
        task = await self.core.task(command.task) if command.task else None
        return await self.core.db.read(approvals.pending, task.card.id if task else None)

    async def decide(self, command: c.DecideApproval) -> Approval:
        """Allow or deny one tool call; its run goes on when no other call of it waits."""
        wanted = await self.core.db.read(lambda db: approvals.get(db, approvals.resolve(db, command.approval)))
        message = check_text("message", command.message, REASON, least=0)
        _check(wanted, command)
        async with self.core.task_locks.of(wanted.task_id):
            alive = self.awaited.is_waiting(wanted.run_id, wanted.call_id)
            decided = await self.core.db.write(self._store_decision, wanted, command, message, alive)
            data: JsonObject = {
                "approval_id": decided.id,
                "call_id": decided.call_id,
                "state": decided.state.value,
                "message": message,
                "edited": decided.edited is not None,
                "rules": list(decided.rules) if command.allow and command.always else [],
            }
            task = await self.core.task(wanted.task_id)
            await note(self.core, self.blobs, task, decided.run_id, EventKind.APPROVAL_DECIDED, data)
            self.core.bus.publish(ApprovalChanged(decided))
            if self.awaited.tell(decided):
                await self.core.announce_task(task.card.id)
            else:
                await self._go_on(task, command)
        return decided

    async def _go_on(self, task: Task, command: c.DecideApproval) -> None:
        """Queue the run that has paused for this, unless another call of it waits."""
        run = live_run(task.runs)
        if (
            run is not None
            and run.pause_reason in {PauseReason.APPROVAL, PauseReason.PLAN}
            and not await self.core.db.read(approvals.pending, task.card.id)
        ):
            await self.queue.again(task, run, c.ResumeRun(task.card.id, environment=command.environment))

    def _store_decision(
        self, connection: approvals.Connection, wanted: Approval, command: c.DecideApproval, message: str, alive: bool
    ) -> Approval:
        """alive: the agent waits for it, so that its run works again with the last decision."""
        now = self.core.clock.now()
        state = ApprovalState.ALLOWED if command.allow else ApprovalState.DENIED
        decided = approvals.decide(connection, wanted.id, state, message or None, "person", now, command.edited)
        rules = wanted.rules if command.allow and command.always else ()
        if rules:
            approvals.allow_always(connection, wanted.project_id, rules, now)
        if alive and not approvals.pending_of_run(connection, wanted.run_id):
            run = runs.row(connection, wanted.run_id)
            if run.status is RunStatus.PAUSED:
                runs.set_status(connection, run.id, RunStatus.RUNNING, now)
        entry = self.core.record(
            "approval",
            wanted.project_id,
            task_id=wanted.task_id,
            run_id=wanted.run_id,
            input={"tool": wanted.tool, "summary": wanted.summary, "always": command.always, "rules": list(rules)},
            output={"state": decided.state.value, "message": message, "edited": decided.edited is not None},
        )
        audit.append(connection, (entry,))
        return decided


def _check(wanted: Approval, command: c.DecideApproval) -> None:
    """Raises AgentPaneError with VALIDATION_ERROR for what cannot be done with this approval."""
    if command.always and command.allow and not wanted.rules:
        raise invalid(
            "always",
            "No rule can stand for this call.",
            "Allow it this once, or write a rule in the project's settings. Nothing has been decided.",
        )
    if command.edited is None:
        return
    if not command.allow:
        raise invalid("edited", "A call that is denied is not changed.", "Deny it with a message instead.")
    plan = command.edited.get("plan")
    if wanted.tool == EXIT_PLAN and (not isinstance(plan, str) or not plan.strip()):
        raise invalid("edited", "The plan is empty.", "Deny it with a message to have another. Nothing is decided.")
