"""What a person does with a run: start, pause, resume, answer, decide about a tool call, cancel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agentpane.api import commands as c
from agentpane.api.events import ApprovalChanged, SessionAppended
from agentpane.db import agents, approvals, projects, runs, sessions, tasks
from agentpane.domain.agents import Agent
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.board import BoardEvent, Column, after, invalid_transition
from agentpane.domain.ids import RunId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import TASK_DESCRIPTION, check_text, invalid
from agentpane.domain.policy import Policy
from agentpane.domain.runs import ACTIVE, LIVE, TURN_LIMITS, PauseReason, Run, RunStatus
from agentpane.domain.sessions import EventKind, NewEvent, SessionEvent
from agentpane.domain.tasks import Task
from agentpane.domain.transcript import AFRESH
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.completion import Completion
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.credentials import Credentials
from agentpane.orchestrator.runner import Runner
from agentpane.orchestrator.sessions import Recorder
from agentpane.orchestrator.supervisor import Supervisor
from agentpane.orchestrator.workspace import Workspaces

RESUMABLE = frozenset({RunStatus.PAUSED, RunStatus.ERROR, RunStatus.INTERRUPTED})


class Dispatcher:
    """Changes what runs do. Each method holds the task's lock, so two acts on one card never interleave."""

    def __init__(
        self,
        core: Core,
        blobs: BlobStore,
        backends: Backends,
        runner: Runner,
        supervisor: Supervisor,
        workspaces: Workspaces,
        credentials: Credentials,
        completion: Completion,
    ) -> None:
        self._core = core
        self._blobs = blobs
        self._backends = backends
        self._runner = runner
        self._supervisor = supervisor
        self._workspaces = workspaces
        self._credentials = credentials
        self._completion = completion

    def wake(self) -> None:
        """Look at the queues: a limit may have changed."""
        self._supervisor.wake()

    async def start(self, command: c.StartRun, position: int | None = None) -> Task:
        """Queue a run for a card of the backlog and move it to In Progress.

        Raises TASK_INVALID_TRANSITION, AGENT_ALREADY_RUNNING, AGENT_NOT_FOUND, BACKEND_AUTH or QUEUE_FULL;
        then nothing has changed.
        """
        task = await self._core.task(command.task)
        async with self._core.task_locks.of(task.card.id):
            task = await self._core.task(task.card.id)
            live = live_run(task)
            if live is not None:
                raise AgentPaneError(
                    ErrorCode.AGENT_ALREADY_RUNNING,
                    f"{live.agent} already works on this card ({live.status}).",
                    hint="Wait for it, send it a message, or cancel it. Nothing has changed.",
                )
            if task.card.column is not Column.BACKLOG:
                raise invalid_transition(task.card.column, "A run starts from the backlog.")
            agent = await self._agent(task, command.agent)
            await self._credentials.check(agent.backend, command.environment)
            return await self._queue_new(task, agent, command.policy, command.environment, None, position)

    async def resume(self, command: c.ResumeRun) -> Task:
        """Go on with the card's newest run from its last whole turn, or take what is there as the result."""
        if command.turns is not None and command.turns < 1:
            raise invalid("turns", "The number of further turns must be 1 or more.")
        task = await self._core.task(command.task)
        async with self._core.task_locks.of(task.card.id):
            task = await self._core.task(task.card.id)
            run = task.runs[-1] if task.runs else None
            if run is not None and run.status is RunStatus.COMPLETED and task.card.code == ErrorCode.TASK_NO_DIFF:
                agent = await self._core.db.read(agents.get, run.agent_id)
                await self._credentials.check(agent.backend, command.environment)
                return await self._queue_new(task, agent, None, command.environment, None, None)
            if run is None or run.status not in RESUMABLE or task.card.column is not Column.IN_PROGRESS:
                raise not_resumable(task)
            if command.finish:
                return await self._finish(task, run)
            if run.pause_reason is PauseReason.APPROVAL and await self._undecided(task):
                raise AgentPaneError(
                    ErrorCode.AGENT_NOT_RUNNING,
                    "The run waits for a decision about a tool call.",
                    hint="Allow or deny the call; the run then goes on by itself. Nothing has changed.",
                )
            return await self._queue_again(task, run, command)

    async def pause(self, command: c.PauseRun) -> Task:
        task = await self._core.task(command.task)
        run = live_run(task)
        if run is None or run.status not in ACTIVE or not self._runner.ask_to_pause(run.id):
            raise AgentPaneError(
                ErrorCode.AGENT_NOT_RUNNING, "No agent is working on this card.", hint="Nothing has changed."
            )
        return task

    async def answer(self, command: c.Answer) -> Task:
        """Store a message for the card's agent.

        A run that works reads it before its next turn; one that waits goes on.
        """
        text = check_text("text", command.text, TASK_DESCRIPTION)
        task = await self._core.task(command.task)
        async with self._core.task_locks.of(task.card.id):
            task = await self._core.task(task.card.id)
            run = task.runs[-1] if task.runs else None
            if run is None or task.card.column is not Column.IN_PROGRESS or task.session_id is None:
                raise not_resumable(task)
            await self._say(task, run.id, EventKind.ANSWER, text, "person")
            if run.status in {RunStatus.QUEUED, *ACTIVE}:
                return await self._core.task(task.card.id)
            if run.pause_reason is PauseReason.APPROVAL and run.status is RunStatus.PAUSED:
                return await self._core.task(task.card.id)
            if run.status in RESUMABLE:
                return await self._queue_again(task, run, c.ResumeRun(task.card.id, environment=command.environment))
            agent = await self._core.db.read(agents.get, run.agent_id)
            await self._credentials.check(agent.backend, command.environment)
            return await self._queue_new(task, agent, None, command.environment, None, None)

    async def send_back(
        self,
        task: Task,
        prompt: str,
        environment: Mapping[str, str],
        also: Callable[[tasks.Connection], None],
    ) -> Task:
        """Queue a new run of the card's last agent that reads `prompt` first; `also` is stored in the same transaction.

        The caller holds the task's lock.
        """
        last = task.runs[-1]
        agent = await self._core.db.read(agents.get, last.agent_id)
        await self._credentials.check(agent.backend, environment)
        return await self._queue_new(task, agent, None, environment, prompt, 0, also)

    async def cancel(self, command: c.CancelTask, position: int | None = None) -> Task:
        """Stop the run and everything it started, keep a recovery snapshot, put the card in the backlog."""
        task = await self._core.task(command.task)
        target = after(task.card.column, BoardEvent.CANCEL)
        run = live_run(task)
        if run is not None:
            await self._supervisor.stop(run.id)
        async with self._core.task_locks.of(task.card.id):
            task = await self._core.task(task.card.id)
            target = after(task.card.column, BoardEvent.CANCEL)
            await self._end_run(task)
            project = await self._core.db.read(projects.get, task.card.project_id)
            repository = await self._core.git.open_repository(Path(project.path))
            waiting = task.card.column is Column.WAITING_APPROVAL
            recovery = await self._workspaces.discard(
                task, repository, "cancel", delete_branch_at=None if waiting else task.base_sha
            )
            await self._record_cancel(task, recovery)
            renumbered = await self._core.db.write(self._store_cancel, task.card.id, target, position)
            for withdrawn in await self._core.db.write(
                approvals.withdraw_for_task, task.card.id, self._core.clock.now()
            ):
                self._core.bus.publish(ApprovalChanged(withdrawn))
        self._supervisor.wake()
        await self._core.announce_task(task.card.id, renumbered)
        return await self._core.task(task.card.id)

    async def decide(self, command: c.DecideApproval) -> Approval:
        """Allow or deny one tool call; its run goes on when no other call of it waits."""
        wanted = await self._core.db.read(lambda db: approvals.get(db, approvals.resolve(db, command.approval)))
        message = check_text("message", command.message, 1_000, least=0)
        async with self._core.task_locks.of(wanted.task_id):
            decided = await self._core.db.write(self._store_decision, wanted, command.allow, command.always, message)
            data = {
                "approval_id": decided.id,
                "call_id": decided.call_id,
                "state": decided.state.value,
                "message": message,
            }
            task = await self._core.task(wanted.task_id)
            await self._note(task, decided.run_id, EventKind.APPROVAL_DECIDED, data)
            entry = self._core.record(
                "approval",
                wanted.project_id,
                task=task.card,
                run_id=wanted.run_id,
                input={"tool": wanted.tool, "summary": wanted.summary, "always": command.always},
                output={"state": decided.state.value, "message": message},
            )
            await self._core.audit(entry)
            self._core.bus.publish(ApprovalChanged(decided))
            run = live_run(task)
            if run is not None and run.pause_reason is PauseReason.APPROVAL and not await self._undecided(task):
                await self._queue_again(task, run, c.ResumeRun(task.card.id, environment=command.environment))
        return decided

    async def _agent(self, task: Task, wanted: str | None) -> Agent:
        def find(connection: tasks.Connection) -> Agent:
            if wanted:
                return agents.get(connection, agents.resolve(connection, wanted, task.card.project_id))
            if task.card.agent_id is not None:
                return agents.get(connection, task.card.agent_id)
            return agents.default_for(connection, task.card.project_id)

        return await self._core.db.read(find)

    async def _queue_new(
        self,
        task: Task,
        agent: Agent,
        policy: Policy | None,
        environment: Mapping[str, str],
        prompt: str | None,
        position: int | None,
        also: Callable[[tasks.Connection], None] | None = None,
    ) -> Task:
        self._backends.check(agent.backend)
        project = await self._core.db.read(projects.get, task.card.project_id)
        model = (await self._core.agent(agent.id)).model
        limit = agent.config.max_turns or min(project.config.max_turns, TURN_LIMITS[agent.type])

        def store(connection: tasks.Connection) -> tuple[RunId, tuple[SessionEvent, ...], tuple[tuple[str, int], ...]]:
            now = self._core.clock.now()
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
            moved = tasks.move(connection, task.card.id, Column.IN_PROGRESS, position or 0, now)
            noted = sessions.append(connection, session_id, self._opening(task, run.id, agent, model, prompt))
            return run.id, noted, moved.renumbered

        run_id, noted, renumbered = await self._core.db.write(store)
        self._credentials.keep(run_id, environment)
        self._core.bus.publish(SessionAppended(task.card.id, noted))
        entry = self._core.record(
            "run.start",
            project.id,
            task=task.card,
            agent_id=agent.id,
            run_id=run_id,
            input={"agent": agent.name, "model": model, "policy": policy.value if policy else project.config.policy},
        )
        await self._core.audit(entry)
        await self._core.announce_task(task.card.id, renumbered)
        self._supervisor.wake()
        return await self._core.task(task.card.id)

    def _opening(self, task: Task, run_id: RunId, agent: Agent, model: str, prompt: str | None) -> tuple[NewEvent, ...]:
        """The events that a new run begins with; a card that comes from the backlog again starts anew."""
        said: list[tuple[EventKind, JsonObject]] = []
        if task.card.column is Column.BACKLOG and task.runs:
            said.append((EventKind.STATE, {"state": AFRESH}))
        said.append((EventKind.STATE, {"state": "queued", "agent": agent.name, "model": model}))
        if prompt is not None:
            said.append((EventKind.USER_MESSAGE, {"text": prompt, "from": "review"}))
        now = self._core.clock.now()
        return tuple(NewEvent(now, kind, 0, run_id, self._blobs.fit(data)) for kind, data in said)

    async def _queue_again(self, task: Task, run: Run, command: c.ResumeRun) -> Task:
        agent = await self._core.db.read(agents.get, run.agent_id)
        self._credentials.keep(run.id, command.environment)
        await self._credentials.endpoint(run.id, agent.backend)
        more = command.turns
        if more is None and run.turns >= run.turn_limit:
            more = run.turn_limit
        limit = run.turns + more if more is not None else run.turn_limit
        if command.afresh:
            await self._note(task, run.id, EventKind.STATE, {"state": AFRESH})
        await self._note(task, run.id, EventKind.STATE, {"state": "queued", "agent": agent.name, "model": run.model})
        now = self._core.clock.now()
        await self._core.db.write(
            runs.set_status, run.id, RunStatus.QUEUED, now, turn_limit=limit, pause_reason=None, error=None
        )
        await self._core.announce_task(task.card.id)
        self._supervisor.wake()
        return await self._core.task(task.card.id)

    async def _finish(self, task: Task, run: Run) -> Task:
        if run.status is not RunStatus.PAUSED:
            raise not_resumable(task)
        row = await self._core.db.read(runs.row, run.id)
        project = await self._core.db.read(projects.get, task.card.project_id)
        repository = await self._core.git.open_repository(Path(project.path))
        recorder = Recorder(self._core, self._blobs, task.card.id, row.session_id, run.id)
        worktree = await self._workspaces.existing(task)
        await self._completion.complete(row, task, project, repository, worktree, "", recorder)
        await recorder.close()
        return await self._core.task(task.card.id)

    async def _end_run(self, task: Task) -> None:
        run = task.runs[-1] if task.runs else None
        if run is None or run.status not in LIVE | {RunStatus.ERROR, RunStatus.INTERRUPTED}:
            return
        await self._core.db.write(runs.set_status, run.id, RunStatus.CANCELLED, self._core.clock.now())
        await self._note(task, run.id, EventKind.STATE, {"state": "cancelled"})
        self._credentials.forget(run.id)
        await self._core.announce_agent(run.agent_id)

    def _store_cancel(
        self, connection: tasks.Connection, task_id: TaskId, target: Column, position: int | None
    ) -> tuple[tuple[str, int], ...]:
        now = self._core.clock.now()
        tasks.set_fields(
            connection,
            task_id,
            now,
            snapshot=None,
            files_changed=None,
            lines_added=None,
            lines_removed=None,
            code=None,
            conflict_paths=(),
            worktree_id=None,
        )
        return tasks.move(connection, task_id, target, position or 0, now).renumbered

    async def _record_cancel(self, task: Task, recovery: str | None) -> None:
        entry = self._core.record(
            "cancel", task.card.project_id, task=task.card, output={"recovery": recovery, "branch": task.branch}
        )
        await self._core.audit(entry)

    def _store_decision(
        self, connection: tasks.Connection, wanted: Approval, allow: bool, always: bool, message: str
    ) -> Approval:
        now = self._core.clock.now()
        state = ApprovalState.ALLOWED if allow else ApprovalState.DENIED
        decided = approvals.decide(connection, wanted.id, state, message or None, "person", now)
        if allow and always:
            approvals.allow_always(connection, wanted.project_id, wanted.tool, now)
        return decided

    async def _undecided(self, task: Task) -> bool:
        return bool(await self._core.db.read(approvals.pending, task.card.id))

    async def _say(self, task: Task, run_id: RunId, kind: EventKind, text: str, by: str) -> None:
        await self._note(task, run_id, kind, {"text": text, "from": by})

    async def _note(self, task: Task, run_id: RunId, kind: EventKind, data: JsonObject) -> None:
        assert task.session_id is not None
        recorder = Recorder(self._core, self._blobs, task.card.id, task.session_id, run_id)
        recorder.add(kind, data)
        await recorder.close()


def live_run(task: Task) -> Run | None:
    """The card's run that is queued, working or paused."""
    return next((run for run in reversed(task.runs) if run.status in LIVE), None)


def not_resumable(task: Task) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.AGENT_NOT_RUNNING,
        f"There is no run of “{task.card.title}” to go on with.",
        hint="Start one by moving the card to In Progress. Nothing has changed.",
    )
