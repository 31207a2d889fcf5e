"""Putting a run in the queue: a new one, or one that goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpane.api import commands as c
from agentpane.api.events import ApprovalChanged, SessionAppended
from agentpane.db import agents, approvals, audit, projects, runs, sessions, tasks
from agentpane.domain.agents import Agent, BackendName
from agentpane.domain.board import Column
from agentpane.domain.budgets import Budget, check_budget, reached, with_more
from agentpane.domain.ids import RunId
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import invalid
from agentpane.domain.policy import Policy
from agentpane.domain.projects import Project
from agentpane.domain.runs import TURN_LIMITS, PauseReason, Run, RunStatus
from agentpane.domain.sandbox import Tier
from agentpane.domain.sessions import EventKind, NewEvent, SessionEvent
from agentpane.domain.tasks import Task
from agentpane.domain.transcript import AFRESH
from agentpane.orchestrator.agents.credentials import Credentials
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs import prompts
from agentpane.orchestrator.runs.attendance import NOTHING_CHANGED, WORK_KEPT, check_attended
from agentpane.orchestrator.runs.budgets import Budgets
from agentpane.orchestrator.runs.supervisor import Supervisor
from agentpane.orchestrator.sessions import note

Environment = Mapping[str, str]
Prepare = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Queue:
    """Its callers hold the task's lock."""

    core: Core
    blobs: BlobStore
    backends: Backends
    credentials: Credentials
    supervisor: Supervisor
    budgets: Budgets
    tier: Tier  # how commands are confined here

    async def agent_for(self, task: Task, wanted: str | None) -> Agent:
        """The agent that is wanted, else the card's, else the project's default. Raises AGENT_NOT_FOUND."""

        def find(connection: tasks.Connection) -> Agent:
            if wanted:
                return agents.get(connection, agents.resolve(connection, wanted, task.card.project_id))
            if task.card.agent_id is not None:
                return agents.get(connection, task.card.agent_id)
            return agents.default_for(connection, task.card.project_id)

        return await self.core.db.read(find)

    async def new(
        self,
        task: Task,
        agent: Agent,
        environment: Environment,
        *,
        policy: Policy | None = None,
        plan: bool = False,
        afresh: bool = False,
        prompt: str | None = None,
        position: int = 0,
        also: Callable[[tasks.Connection], None] | None = None,
        prepare: Prepare | None = None,
    ) -> Task:
        """Queue a new run of `agent`, and put the card in In Progress.

        afresh: the agent begins anew, as it does on a card that comes from the backlog again.
        prompt: what the agent reads first; None: the task itself, or what the session has.
        also: stored in the same transaction.
        prepare: done before that, when nothing but a full queue can refuse the run any more.
        Raises AGENT_BACKEND_MISSING, BACKEND_AUTH, SECURITY_SANDBOX_UNAVAILABLE, VALIDATION_ERROR,
        AGENT_ALREADY_RUNNING, QUEUE_FULL, or what opening the repository raises; then nothing has changed.
        """
        await self.credentials.check(agent.backend, environment)
        await self.backends.check(agent.backend, agent.config)
        project = await self.core.db.read(projects.get, task.card.project_id)
        await self.core.git.open_repository(Path(project.path))
        if plan and agent.backend is BackendName.COMMAND:
            raise invalid("plan", "A plain command cannot propose a plan.", "Start it without one.")
        check_attended(
            agent, _policy(agent, project, policy), plan, self.tier, project.config.unconfined, NOTHING_CHANGED
        )
        model = (await self.core.agent(agent.id)).model
        limit = agent.config.max_turns or project.config.max_turns or TURN_LIMITS[agent.type]

        def store(connection: tasks.Connection) -> tuple[RunId, tuple[SessionEvent, ...], tuple[tuple[str, int], ...]]:
            now = self.core.clock.now()
            session_id = sessions.open_for_task(connection, task.card.id, agent.id, now)
            new = runs.NewRun(
                task_id=task.card.id,
                project_id=project.id,
                agent_id=agent.id,
                session_id=session_id,
                prompt=prompt or task.card.title,
                model=model,
                turn_limit=limit,
                policy=policy.value if policy else None,
                plan=plan,
            )
            run = runs.create(connection, new, now)
            tasks.set_fields(
                connection,
                task.card.id,
                now,
                agent_id=agent.id,
                session_id=session_id,
                code=None,
                started_at=now,
            )
            if also is not None:
                also(connection)
            moved = tasks.move(connection, task.card.id, Column.IN_PROGRESS, position, now)
            noted = sessions.append(connection, session_id, self._opening(task, run.id, agent, model, prompt, afresh))
            told = {"agent": agent.name, "model": model, "policy": _policy(agent, project, policy).value}
            audit.append(
                connection,
                (
                    self.core.record(
                        "run.start", project.id, task=task.card, agent_id=agent.id, run_id=run.id, input=told
                    ),
                ),
            )
            return run.id, noted, moved.renumbered

        if prepare is not None:
            await prepare()
        run_id, noted, renumbered = await self.core.db.write(store)
        self.credentials.keep(run_id, environment)
        self.core.bus.publish(SessionAppended(task.card.id, noted))
        await self.core.announce_task(task.card.id, renumbered)
        self.supervisor.wake()
        return await self.core.task(task.card.id)

    async def again(self, task: Task, run: Run, command: c.ResumeRun, prepare: Prepare | None = None) -> Task:
        """Queue a run that paused, failed or was interrupted; it goes on from its last whole turn.

        prepare: done before that, when nothing can refuse the run any more.
        Raises SECURITY_SANDBOX_UNAVAILABLE where it may not be played any more, BACKEND_AUTH or BUDGET_REACHED; then
        it is as it was.
        """
        agent = await self.core.db.read(agents.get, run.agent_id)
        await self._check_still_attended(task, run, agent)
        self.credentials.keep(run.id, command.environment)
        await self.credentials.endpoint(run.id, agent.backend)
        more = command.turns
        if more is None and run.turns >= run.turn_limit:
            more = run.turn_limit
        limit = run.turns + more if more is not None else run.turn_limit
        budget = await self._budget(run, command.budget)
        if prepare is not None:
            await prepare()
        if command.afresh:
            await note(self.core, self.blobs, task, run.id, EventKind.STATE, {"state": AFRESH})
            for withdrawn in await self.core.db.write(approvals.withdraw_plan, run.id):
                self.core.bus.publish(ApprovalChanged(withdrawn))
        await note(self.core, self.blobs, task, run.id, EventKind.STATE, _queued(agent, run.model))
        now = self.core.clock.now()
        await self.core.db.write(
            runs.set_status, run.id, RunStatus.QUEUED, now, turn_limit=limit, pause_reason=None, **budget
        )
        await self.core.announce_task(task.card.id)
        self.supervisor.wake()
        return await self.core.task(task.card.id)

    async def _check_still_attended(self, task: Task, run: Run, agent: Agent) -> None:
        """The sandbox, the policy and the agent may have become others since the run was queued."""
        project = await self.core.db.read(projects.get, task.card.project_id)
        row = await self.core.db.read(runs.row, run.id)
        policy = _policy(agent, project, Policy(row.policy) if row.policy else None)
        planning = row.plan and not await self.core.db.read(approvals.plan_approved, run.id)
        check_attended(agent, policy, planning, self.tier, project.config.unconfined, WORK_KEPT)

    async def _budget(self, run: Run, more: Budget | None) -> dict[str, object]:
        """What a resumed run may spend: `more` from here on, in the place of every configured budget in its unit.

        Raises AgentPaneError with BUDGET_REACHED if it paused for its budget and nothing has become of that.
        """
        row = await self.core.db.read(runs.row, run.id)
        given: Budget | None = None
        fields: dict[str, object] = {}
        if more is not None and more.is_set:
            given = with_more(await self.budgets.spent(row), check_budget("budget", more))
            given = given.over(Budget(row.budget_usd, row.budget_tokens))
            fields = {"budget_usd": given.usd, "budget_tokens": given.tokens}
        if run.pause_reason is not PauseReason.BUDGET:
            return fields
        problem = reached(await self.budgets.standings(row, given))
        if problem is not None:
            raise problem
        return {**fields, "unpriced_accepted": True}

    def _opening(
        self, task: Task, run_id: RunId, agent: Agent, model: str, prompt: str | None, afresh: bool
    ) -> tuple[NewEvent, ...]:
        """The events that a new run begins with; a card that comes from the backlog again starts anew."""
        said: list[tuple[EventKind, JsonObject]] = []
        if task.runs and (afresh or task.card.column is Column.BACKLOG):
            said.append((EventKind.STATE, {"state": AFRESH}))
        if task.is_restored and Path(task.worktree or "").is_dir():
            said.append((EventKind.WORKTREE, {"state": "taken_up", "path": task.worktree, "text": prompts.RESTORED}))
        said.append((EventKind.STATE, _queued(agent, model)))
        if prompt is not None:
            said.append((EventKind.USER_MESSAGE, {"text": prompt, "from": "review"}))
        now = self.core.clock.now()
        return tuple(NewEvent(now, kind, 0, run_id, self.blobs.fit(data)) for kind, data in said)


def _queued(agent: Agent, model: str) -> JsonObject:
    said: JsonObject = {"state": "queued", "agent": agent.name}
    return {**said, "model": model} if model else said


def _policy(agent: Agent, project: Project, chosen: Policy | None) -> Policy:
    return chosen or Policy(agent.config.policy or project.config.policy)
