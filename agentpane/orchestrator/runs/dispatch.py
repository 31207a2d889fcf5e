"""What a person does with a run: start, pause, resume, answer, cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

from agentpane.api import commands as c
from agentpane.api.events import ApprovalChanged
from agentpane.db import agents, approvals, audit, projects, runs, tasks, worktrees
from agentpane.domain import traces
from agentpane.domain.agents import Agent
from agentpane.domain.audit import AuditRecord
from agentpane.domain.board import BoardEvent, Column, after, invalid_transition
from agentpane.domain.ids import ProjectId, SessionId, TaskId
from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.limits import TASK_DESCRIPTION, check_text, invalid
from agentpane.domain.policy import Policy
from agentpane.domain.projects import Project
from agentpane.domain.runs import ACTIVE, LIVE, RESUMABLE, PauseReason, Run, RunStatus, live_run
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents import agent_homes
from agentpane.orchestrator.agents.credentials import Credentials
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.holding import ChangedError
from agentpane.orchestrator.keeping.setting_back import SettingBack
from agentpane.orchestrator.runs.completion import Completion
from agentpane.orchestrator.runs.queueing import Queue
from agentpane.orchestrator.runs.runner import Runner
from agentpane.orchestrator.runs.supervisor import Supervisor
from agentpane.orchestrator.sessions import Recorder, note, read_whole
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import Repository


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
            task = await self._core.task(task.card.id)
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
        await self._end_run(task)
        await self._withdraw(task.card.id)
        self._supervisor.wake()

    async def cancel(self, command: c.CancelTask, position: int | None = None) -> Task:
        """Stop the run and everything it started, keep a recovery snapshot, put the card in the backlog.

        Raises WORKTREE_REMOVAL_FAILED while what lies in the worktree's place is not ours for certain, and what keeping
        and removing raise; a run that was stopped for it is then interrupted, and can be resumed.
        """
        task = await self._core.task(command.task)
        after(task.card.column, BoardEvent.CANCEL)
        run = live_run(task.runs)
        if run is not None and run.status in {RunStatus.RUNNING, RunStatus.PAUSED}:
            await self._check_goes(task)  # before its agent is stopped for nothing
        async with self.stopped(task), self._core.task_locks.of(task.card.id):
            task = await self._core.task(task.card.id)
            target = after(task.card.column, BoardEvent.CANCEL)
            if task.card.column is Column.WAITING_APPROVAL and not command.confirmed:
                raise unconfirmed(task)
            renumbered = await self._cancel(task, target, position)
        self._supervisor.wake()
        await self._core.announce_task(task.card.id, renumbered)
        return await self._core.task(task.card.id)

    async def _check_goes(self, task: Task) -> tuple[Repository | None, AgentPaneError | None]:
        """The project's repository, and why the worktree stays where it is; raises that where it can be mended."""
        repository = await self._repository(task.card.project_id)
        apart = await self._workspaces.left_alone(task, repository)
        if apart is not None and repository is not None:
            raise apart
        return repository, apart

    async def _cancel(self, task: Task, target: Column, position: int | None) -> tuple[tuple[str, int], ...]:
        repository, apart = await self._check_goes(task)
        # A branch with commits beyond its base holds somebody's work, and stays.
        tip = await self._core.git.branch_tip(repository, task.branch) if repository and task.branch else None
        unused = tip == task.base_sha
        recovery = await self._workspaces.discard(
            task, repository, "cancel", delete_branch_at=task.base_sha if unused else None
        )
        if recovery is not None:
            kept: JsonObject = {"state": "worktree_kept", "recovery": recovery}
            await note(self._core, self._blobs, task, None, EventKind.STATE, kept)
        if apart is not None:
            told = {"state": "worktree_stays", "code": apart.code.value, "message": f"{apart.message} {apart.hint}"}
            await note(self._core, self._blobs, task, None, EventKind.STATE, told)
        await self._end_run(task)
        await agent_homes.remove(self._core, task.card.id)
        entry = self._core.record(
            "cancel", task.card.project_id, task=task.card, output={"recovery": recovery, "branch": task.branch}
        )
        left = await self._branch_left(task, repository)
        if left is not None and tip is not None and not unused:
            await note(self._core, self._blobs, task, None, EventKind.STATE, {"state": "branch_kept", "branch": left})
        renumbered = await self._core.db.write(self._store_cancel, task.card.id, target, position, entry, left)
        await self._withdraw(task.card.id)
        return renumbered

    async def _branch_left(self, task: Task, repository: Repository | None) -> str | None:
        """The card's branch; None when it is not there any more."""
        if repository is None or task.branch is None:
            return task.branch
        tip = await self._core.git.branch_tip(repository, task.branch)
        return None if tip is None else task.branch

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
        if run.status is not RunStatus.PAUSED:
            raise not_resumable(task)
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

    async def put_away(self, project: Project) -> None:
        """Take away the worktrees that a project has beside those of its cards at work, each after a recovery snapshot.

        Raises WORKTREE_REMOVAL_FAILED, or RESOURCE_LOCKED when a card works in one by then; those that were not taken
        away are still there.
        """
        repository = await self._repository(project.id)
        for row in await self._core.db.read(worktrees.all_for_project, project.id):
            async with self._core.task_locks.of(row.task_id or row.id):  # a merge may be taking it away
                now = await self._core.db.read(worktrees.get, row.id)
                if now.status is WorktreeStatus.REMOVED:
                    continue
                if now.task_id != row.task_id or await self._is_alive(now.task_id):
                    raise ChangedError(now)
                await self._workspaces.take_away(now, repository, "project remove")

    async def _is_alive(self, task_id: TaskId | None) -> bool:
        return task_id is not None and live_run((await self._core.task(task_id)).runs) is not None

    async def _repository(self, project_id: ProjectId) -> Repository | None:
        """The project's repository; None when its folder is gone or is no repository any more."""
        project = await self._core.db.read(projects.get, project_id)
        try:
            return await self._core.git.open_repository(Path(project.path))
        except AgentPaneError as error:
            if error.code in {ErrorCode.PROJECT_PATH_INVALID, ErrorCode.PROJECT_NOT_A_GIT_REPO}:
                return None
            raise

    async def _end_run(self, task: Task) -> None:
        run = task.runs[-1] if task.runs else None
        if run is None or run.status not in LIVE | {RunStatus.ERROR, RunStatus.INTERRUPTED}:
            return
        await self._core.db.write(runs.set_status, run.id, RunStatus.CANCELLED, self._core.clock.now())
        await note(self._core, self._blobs, task, run.id, EventKind.STATE, {"state": "cancelled"})
        self._credentials.forget(run.id)
        await self._core.announce_agent(run.agent_id)

    def _store_cancel(
        self,
        connection: tasks.Connection,
        task_id: TaskId,
        target: Column,
        position: int | None,
        entry: AuditRecord,
        branch: str | None,
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
            conflicts=(),
            worktree_id=None,
            branch=branch,
        )
        audit.append(connection, (entry,))
        return tasks.move(connection, task_id, target, position or 0, now).renumbered


def unconfirmed(task: Task) -> AgentPaneError:
    return invalid(
        "confirmed",
        f"The diff of “{task.card.title}” waits for approval; cancelling puts it aside.",
        "Confirm it (headless: --yes) to cancel all the same. Nothing has changed.",
    )


def not_resumable(task: Task) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.AGENT_NOT_RUNNING,
        f"There is no run of “{task.card.title}” to go on with.",
        hint="Start one by moving the card to In Progress. Nothing has changed.",
    )
