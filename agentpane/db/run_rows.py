"""A run as it is stored: its row, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from agentpane.db.references import AnyRow, AnySelect
from agentpane.db.schema import AgentTable, RunTable
from agentpane.domain.ids import AgentId, ProjectId, RunId, SessionId, TaskId
from agentpane.domain.policy import Policy
from agentpane.domain.runs import PauseReason, Run, RunError, RunStatus

_R = RunTable


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with everything that playing it needs."""

    id: RunId
    number: int
    task_id: TaskId
    project_id: ProjectId
    agent_id: AgentId
    session_id: SessionId
    agent: str
    backend: str
    model: str
    prompt: str
    result: str | None
    policy: Policy | None
    status: RunStatus
    turns: int
    turn_limit: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    queued_at: datetime
    started_at: datetime | None
    paused_at: datetime | None
    ended_at: datetime | None
    pause_reason: PauseReason | None
    sandbox_tier: str | None
    parent_run_id: RunId | None
    depth: int
    backend_session: str | None
    plan: bool
    budget_usd: float | None
    budget_tokens: int | None
    context_used: int | None
    context_window: int | None
    root_run_id: RunId | None
    unpriced_accepted: bool
    rested_ms: int
    error: RunError | None

    def value(self) -> Run:
        """The run as clients see it."""
        return Run(
            id=self.id,
            task_id=self.task_id,
            agent_id=self.agent_id,
            agent=self.agent,
            backend=self.backend,
            model=self.model,
            status=self.status,
            turns=self.turns,
            turn_limit=self.turn_limit,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=self.cost_usd,
            queued_at=self.queued_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            pause_reason=self.pause_reason,
            sandbox_tier=self.sandbox_tier,
            error=self.error,
            paused_at=self.paused_at,
            context_used=self.context_used,
            context_window=self.context_window,
            parent_run_id=self.parent_run_id,
            depth=self.depth,
            rested_ms=self.rested_ms,
        )


def run_rows() -> AnySelect:
    """Whole runs, for `run_row`, to be narrowed down."""
    return select(
        _R.id,
        _R.number,
        _R.task_id,
        _R.project_id,
        _R.agent_id,
        _R.session_id,
        AgentTable.name,
        _R.backend,
        _R.model,
        _R.prompt,
        _R.result,
        _R.policy,
        _R.status,
        _R.turn_count,
        _R.turn_limit,
        _R.token_input_count,
        _R.token_output_count,
        _R.cost_usd,
        _R.queued_at,
        _R.started_at,
        _R.paused_at,
        _R.completed_at,
        _R.pause_reason,
        _R.sandbox_tier,
        _R.parent_run_id,
        _R.depth,
        _R.backend_session,
        _R.plan,
        _R.budget_usd,
        _R.budget_tokens,
        _R.context_used,
        _R.context_window,
        _R.root_run_id,
        _R.unpriced_accepted,
        _R.rested_ms,
        _R.error_type,
        _R.error,
        _R.error_hint,
    ).join(AgentTable, AgentTable.id == _R.agent_id)


def run_row(found: AnyRow) -> RunRow:
    *plain, code, message, hint = tuple(found)
    error = None if code is None else RunError(code, message or "", hint or "")
    return RunRow(*(*plain, error))
