"""Which service carries out which command of the door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.domain.agents import DetectedBackend, ModelChoice
from agentpane.domain.board import Column
from agentpane.domain.health import Finding
from agentpane.orchestrator.backends.messages_api import models
from agentpane.orchestrator.services import Services

Handler = Callable[[Any], Awaitable[Any]]


def handlers(s: Services) -> dict[type[Command[Any]], Handler]:
    """The handler of each command but those about the engine itself."""
    files = s.agent_files
    return {
        c.AddProject: files.after(s.catalog.add),
        c.ListProjects: s.catalog.listed,
        c.GetProject: files.after(s.catalog.get),
        c.EditProject: s.catalog.edit,
        c.TrustProject: files.after(s.catalog.trust),
        c.RemoveProject: s.catalog.remove,
        c.GetPool: s.pool.status,
        c.ListAgents: files.before(s.catalog.agents, "project"),
        c.AddAgent: s.catalog.add_agent,
        c.EditAgent: s.catalog.edit_agent,
        c.ListModels: _models,
        c.DetectBackends: partial(_detect, s),
        c.CheckAgentFiles: partial(_check_agent_files, s),
        c.AddMcpServer: s.registry.add,
        c.RemoveMcpServer: s.registry.remove,
        c.CheckMcpServer: s.registry.check,
        c.ListRepositoryServers: files.servers,
        c.ListRepositoryChecks: files.checks,
        c.AddTask: files.before(s.board.add, "project", lambda command: command.start),
        c.ListTasks: s.board.cards,
        c.GetTask: s.board.get,
        c.EditTask: s.board.edit,
        c.DeleteTask: s.board.delete,
        c.ArchiveTask: s.recovery.first(s.board.archive, finish=False),
        c.UnarchiveTask: s.board.unarchive,
        c.MoveTask: files.before(
            s.recovery.first(s.board.move, finish=False),
            "task",
            lambda command: command.column is Column.IN_PROGRESS,
        ),
        c.StartRun: files.before(s.dispatcher.start, "task"),
        c.ResumeRun: s.dispatcher.resume,
        c.PauseRun: s.dispatcher.pause,
        c.Answer: s.dispatcher.answer,
        c.CancelTask: s.recovery.first(s.cancelling.cancel, finish=False),
        c.ListApprovals: s.decisions.pending,
        c.DecideApproval: s.decisions.decide,
        c.GetDiff: s.review.diff,
        c.GetPatch: s.review.patch,
        c.Approve: s.recovery.alone(s.review.approve, s.review.put_off),
        c.RunChecks: s.checks.run,
        c.StopChecks: s.checks.stop,
        c.Undo: s.recovery.alone(s.undoing.undo),
        c.Reject: s.recovery.first(s.review.reject, finish=False),
        c.HandOverConflict: s.recovery.first(s.resolving.hand_over, finish=False),
        c.WriteConflict: s.resolving.write,
        c.TakeResolution: s.resolving.take,
        c.AbandonResolution: s.resolving.abandon,
        c.ForeseeCancel: s.leaving.foresee,
        c.PutBack: s.recovery.first(s.cancelling.put_back, finish=False),
        c.ListTurns: s.turns.listed,
        c.ListRecoveries: s.bin.listed,
        c.DeleteRecovery: s.bin.delete,
        c.RestoreRecovery: s.restoring_work.restore,
        c.ResetWorktree: s.setting_back.reset,
        c.ReadSession: s.records.session,
        c.ReadOutput: s.records.output,
        c.ListCosts: s.budgets.costs,
        c.ListBudgets: s.budgets.of_task,
        c.ListAudit: s.records.audit_of,
        c.VerifyAudit: s.records.verify,
        c.Doctor: s.doctor.report,
        c.Repair: s.doctor.repair,
        c.GetHealth: s.doctor.health,
        c.ListWorktrees: s.doctor.listed,
        c.RemoveWorktree: s.doctor.remove,
        c.PrepareDemo: s.sample.prepare,
        c.GetSettings: s.preferences.get,
        c.ChangeSettings: s.preferences.change,
        c.GetKeyStatus: s.preferences.key_status,
        c.StoreKey: s.preferences.store_key,
    }


async def _models(command: c.ListModels) -> tuple[ModelChoice, ...]:
    return await asyncio.to_thread(models)


async def _detect(s: Services, command: c.DetectBackends) -> tuple[DetectedBackend, ...]:
    return await s.detector.detect(command.environment)


async def _check_agent_files(s: Services, command: c.CheckAgentFiles) -> tuple[Finding, ...]:
    return await s.agent_files.refresh_for(project=command.project)
