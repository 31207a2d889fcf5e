"""What a person does with a run: start, pause, resume, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

from agentpane.api import commands as c
from agentpane.api.events import ApprovalChanged
from agentpane.db import agents, approvals, projects, runs, tasks
from agentpane.domain import traces
from agentpane.domain.agents import Agent
from agentpane.domain.board import Column, invalid_transition
from agentpane.domain.ids import SessionId, TaskId
from agentpane.domain.json import JsonValue
from agentpane.domain.limits import TASK_DESCRIPTION, check_text, invalid
from agentpane.domain.policy import Policy
from agentpane.domain.runs import ACTIVE, LIVE, RESUMABLE, PauseReason, Run, RunStatus, live_run
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents.credentials import Credentials
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.setting_back import SettingBack
from agentpane.orchestrator.runs.completion import Completion
from agentpane.orchestrator.runs.queueing import Queue
from agentpane.orchestrator.runs.runner import Runner
from agentpane.orchestrator.runs.supervisor import Supervisor
from agentpane.orchestrator.sessions import Recorder, note, read_whole
from agentpane.orchestrator.workspaces.workspace import Workspaces


class Dispatcher:
    """Changes what runs do. Each method holds the task's lock, so two acts on one card never interleave."""

    def __init__(
        self,
        core: Core,
        blobs: BlobStore,
        queue: Queue,
        runner: Runner,
        supervisor: Supervisor,
        workspaces: Workspaces,
        credentials: Credentials,
        completion: Completion,
        setting_back: SettingBack,
    ) -> None:
        self._core = core
        self._blobs = blobs
        self._queue = queue
        self._runner = runner
        self._supervisor = supervisor
        self._workspaces = workspaces
        self._credentials = credentials
        self._completion = completion
        self._setting_back = setting_back

    def wake(self) -> None:
        """Look at the queues: a limit may have changed."""
        self._supervisor.wake()

    async def check(self, project: str, agent: str | None, environment: Mapping[str, str]) -> None:
        """Raises what would keep a new card of the project from being started: AGENT_NOT_FOUND, BACKEND_AUTH, …"""

        def find(connection: tasks.Connection) -> Agent:
            project_id = projects.resolve(connection, project)
            if agent:
                return agents.get(connection, agents.resolve(connection, agent, project_id))
            return agents.default_for(connection, project_id)

        backend = (await self._core.db.read(find)).backend
        await self._credentials.check(backend, environment)

    async def start(self, command: c.StartRun, position: int | None = None) -> Task:
        """Queue a run for a card of the backlog and move it to In Progress.

        Raises TASK_INVALID_TRANSITION, AGENT_ALREADY_RUNNING, AGENT_NOT_FOUND, BACKEND_AUTH or QUEUE_FULL;
        then nothing has changed.
        """
        task = await self._core.task(command.task)
        async with self._core.task_locks.of(task.card.id):
            task = await self._core.task_on_board(task.card.id)
            live = live_run(task.runs)
            if live is not None:
                raise AgentPaneError(
                    ErrorCode.AGENT_ALREADY_RUNNING,
                    f"{live.agent} already works on this card ({live.status}).",
                    hint="Wait for it, send it a message, or cancel it. Nothing has changed.",
                )
            if task.card.column is not Column.BACKLOG:
                raise invalid_transition(task.card.column, "A run starts from the backlog.")
            agent = await self._queue.agent_for(task, command.agent)
            plan = agent.config.plan if command.plan is None else command.plan
            return await self._queue.new(
                task, agent, command.environment, policy=command.policy, plan=plan, position=position or 0
            )

    async def resume(self, command: c.ResumeRun) -> Task:
        """Go on with the card's newest run from its last whole turn, or take what is there as the result."""
        if command.turns is not None and command.turns < 1:
            raise invalid("turns", "The number of further turns must be 1 or more.")
        task = await self._core.task(command.task)
        async with self._core.task_locks.of(task.card.id):
            task = await self._core.task(task.card.id)
            run = task.runs[-1] if task.runs else None
            if run is not None and run.status is RunStatus.COMPLETED and task.card.code == ErrorCode.TASK_NO_DIFF:
                return await self._another(task, run, command.environment, afresh=command.afresh)
            if run is None or run.status not in RESUMABLE or task.card.column is not Column.IN_PROGRESS:
                raise not_resumable(task)
            if command.finish:
                return await self._finish(task, run)
            if run.pause_reason in {PauseReason.APPROVAL, PauseReason.PLAN} and len(
                await self._core.db.read(approvals.pending, task.card.id)
            ):
                raise AgentPaneError(
                    ErrorCode.AGENT_NOT_RUNNING,
                    "The run waits for a decision about a tool call.",
                    hint="Allow or deny the call; the run then goes on by itself. Nothing has changed.",
                )
            return await self._queue.again(task, run, command, self._anew(task, run) if command.afresh else None)

    def _anew(self, task: Task, run: Run) -> Callable[[], Awaitable[None]]:
        """What an agent that begins anew finds: the worktree as its work began; what was there is in the bin."""
        return partial(self._setting_back.to_base, task, run)

    async def pause(self, command: c.PauseRun) -> Task:
        task = await self._core.task(command.task)
        run = live_run(task.runs)
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
            await self._note_answer(task, run, task.session_id, text)
            if run.status in {RunStatus.QUEUED, *ACTIVE}:
                return await self._core.task(task.card.id)
            if run.pause_reason is PauseReason.APPROVAL and run.status is RunStatus.PAUSED:
                return await self._core.task(task.card.id)
            if run.status in RESUMABLE:
                return await self._queue.again(task, run, c.ResumeRun(task.card.id, environment=command.environment))
            return await self._another(task, run, command.environment)

    async def _note_answer(self, task: Task, run: Run, session_id: SessionId, text: str) -> None:
        """Store what the person says: to the call that has asked, when the run waits for that, else to the agent."""
        data: dict[str, JsonValue] = {"text": text, "from": "person"}
        run_id = run.id
        if run.status is RunStatus.PAUSED and run.pause_reason is PauseReason.QUESTION:
            events = [event async for event in read_whole(self._core, self._blobs, session_id)]
            question = traces.open_question(events)
            if question is not None:
                data["call_id"] = question.data["call_id"]
                run_id = question.run_id or run.id
        await note(self._core, self._blobs, task, run_id, EventKind.ANSWER, data)

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
        return await self._another(task, task.runs[-1], environment, prompt, also)

    @asynccontextmanager
    async def stopped(self, task: Task) -> AsyncIterator[None]:
        """End the job of the card's run, if it has one; it gets none while this lasts. The caller holds no lock yet.

        A run that was at work and is not called off by then is interrupted, and can be resumed.
        """
        run = live_run(task.runs)
        async with nullcontext() if run is None else self._supervisor.stopped(run.id):
            yield

    async def rest(self, task: Task) -> None:
        """End the job that a paused run may have, which waits, alive, for a decision. The run stays paused."""
        run = live_run(task.runs)
        if run is not None and run.status is RunStatus.PAUSED:
            await self._supervisor.rest(run.id)

    async def call_off(self, task: Task) -> None:
        """End the card's stopped run for good. The caller holds the task's lock."""
        run = task.runs[-1] if task.runs else None
        if run is not None and run.status in LIVE | {RunStatus.ERROR, RunStatus.INTERRUPTED}:
            await self._core.db.write(runs.set_status, run.id, RunStatus.CANCELLED, self._core.clock.now())
            await note(self._core, self._blobs, task, run.id, EventKind.STATE, {"state": "cancelled"})
            self._credentials.forget(run.id)
            await self._core.announce_agent(run.agent_id)
        await self._withdraw(task.card.id)
        self._supervisor.wake()

    async def _withdraw(self, task_id: TaskId) -> None:
        """Nobody waits for the decisions any more that the card's run has asked for."""
        for withdrawn in await self._core.db.write(approvals.withdraw_for_task, task_id, self._core.clock.now()):
            self._core.bus.publish(ApprovalChanged(withdrawn))

    async def _another(
        self,
        task: Task,
        last: Run,
        environment: Mapping[str, str],
        prompt: str | None = None,
        also: Callable[[tasks.Connection], None] | None = None,
        afresh: bool = False,
    ) -> Task:
        """Queue a further run of the same agent, under the same policy as the last; one that begins anew plans anew."""
        agent = await self._core.db.read(agents.get, last.agent_id)
        row = await self._core.db.read(runs.row, last.id)
        policy = Policy(row.policy) if row.policy else None
        plan = afresh and row.plan
        return await self._queue.new(
            task,
            agent,
            environment,
            policy=policy,
            plan=plan,
            afresh=afresh,
            prompt=prompt,
            also=also,
            prepare=self._anew(task, last) if afresh else None,
        )

    async def _finish(self, task: Task, run: Run) -> Task:
        await self._supervisor.rest(run.id)  # its agent may wait, alive, for a decision
        row = await self._core.db.read(runs.row, run.id)
        project = await self._core.db.read(projects.get, task.card.project_id)
        repository = await self._core.git.open_repository(Path(project.path))
        recorder = Recorder(self._core, self._blobs, task.card.id, row.session_id, run.id)
        worktree = await self._workspaces.existing(task, repository)
        try:
            await self._completion.complete(row, task, project, repository, worktree, "", recorder)
        finally:
            await recorder.close()
        return await self._core.task(task.card.id)


def not_resumable(task: Task) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.AGENT_NOT_RUNNING,
        f"There is no run of “{task.card.title}” to go on with.",
        hint="Start one by moving the card to In Progress. Nothing has changed.",
    )
