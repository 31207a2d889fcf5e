"""When checks are run: by themselves once a card comes to wait for approval, when a person asks, and before a merge.

What a check said holds for one exact tree, command and set-up. A card has one round at a time, a project one card's;
the lock of the card is never held meanwhile. A round ends with its card's waiting, with a new snapshot, or with the
engine, which takes it up again when it starts.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agentpane.api import commands as c
from agentpane.api.events import CatchUp, ProjectChanged, Published, TaskChanged, TaskRemoved
from agentpane.db import card_rows, checks, tasks
from agentpane.domain.board import Column
from agentpane.domain.checks import STOPPED, UNDER_WAY, Check, CheckResult, CheckState, may_run_unasked, progress
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.projects import ProjectConfig
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core, Locks
from agentpane.orchestrator.merging.check_round import CheckRound
from agentpane.orchestrator.merging.merge_gate import Gate, Surveyor
from agentpane.orchestrator.sessions import Recorder
from agentpane.sandbox import Sandbox
from agentpane.temporary import TemporaryFolder, sweep
from agentpane.worktrees import Repository

log = logging.getLogger(__name__)


class Checks:
    """Plays the rounds of checks of all cards."""

    def __init__(self, core: Core, blobs: BlobStore, sandbox: Sandbox, on_change: Callable[[], None]) -> None:
        self._core = core
        self._blobs = blobs
        self._sandbox = sandbox
        self._on_change = on_change
        self._surveyor = Surveyor(core, sandbox.tier)
        self._jobs: dict[TaskId, asyncio.Task[Gate]] = {}
        self._looked: dict[TaskId, str] = {}  # the snapshots that have come to wait, and were looked at
        self._turns = Locks()
        self._places = asyncio.Semaphore(max(1, (os.cpu_count() or 1) // 2))  # runs need the others
        self._removals: set[asyncio.Future[None]] = set()
        self._marked: set[ProjectId] = set()  # projects whose cards may have outdated checks
        self._news = asyncio.Event()
        self._outdated: set[TaskId] = set()  # of those the ones whose round is still under way
        self._configs: dict[ProjectId, tuple[ProjectConfig, bool]] = {}
        self._closing = False

    @property
    def alive(self) -> int:
        """How many cards have checks under way or waiting for their turn."""
        return len(self._jobs)

    async def serve(self) -> None:
        """Run checks by themselves, and say which are outdated, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="checks-news")
            group.create_task(self._look_again(), name="checks-outdated")

    def base_moved(self, project_id: ProjectId) -> None:
        """What was checked may not be what would be merged any more; it is run again when it is wanted."""
        self._marked.add(project_id)
        self._news.set()

    async def _follow(self) -> None:
        await asyncio.to_thread(sweep, 0.0, self._core.folder.scratch)
        for task_id in await self._core.db.read(checks.unfinished):
            await self._consider(task_id)
        async for item in self._core.bus.read(0):
            match item:
                case Published(event=TaskChanged(card=card)):
                    await self._heard(card)
                case Published(event=TaskRemoved(task_id=gone)):
                    self._forget(TaskId(gone))
                case Published(event=ProjectChanged(project=project)):
                    told = (project.config, project.trusted)
                    if self._configs.setdefault(project.id, told) != told:
                        self._configs[project.id] = told
                        self.base_moved(project.id)
                case CatchUp():
                    for known in {*self._jobs, *self._looked}:
                        await self._consider(known)

    async def _look_again(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._marked:
                project_id = self._marked.pop()
                try:
                    await self._show_outdated(project_id)
                except AgentPaneError as error:
                    log.info("the checks of project %s are not looked at: %s", project_id, error.message)

    async def _show_outdated(self, project_id: ProjectId) -> None:
        """Look at each card that waits, and run nothing."""
        cards = await self._core.db.read(card_rows.of_project, project_id, Column.WAITING_APPROVAL)
        any_set = bool(cards) and await self._surveyor.any_set(project_id)
        for card in cards:
            if card.id in self._jobs:
                self._outdated.add(card.id)
            elif (any_set or card.checks) and not self._closing:
                self._start(card.id, anew=False, asked=False, play=False)

    async def close(self) -> None:
        """End what is under way; it is taken up again when the next engine starts."""
        self._closing = True
        await self.end()
        await asyncio.gather(*self._removals)

    async def end(self) -> None:
        """End every round that is under way or waits for its turn."""
        jobs = tuple(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    async def run(self, command: c.RunChecks) -> tuple[CheckResult, ...]:
        """See `commands.RunChecks`."""
        task = await self._core.task(command.task)
        _check_waits(task)
        gate = await self._asked(task.card.id, anew=True)
        if gate.problem is not None:
            raise gate.problem
        return gate.results

    async def stop(self, command: c.StopChecks) -> Task:
        """See `commands.StopChecks`."""
        task = await self._core.task(command.task)
        job = self._jobs.get(task.card.id)
        if job is not None:
            job.cancel()
            await asyncio.wait({job})
        return await self._core.task(task.card.id)

    async def gate(self, task: Task, repository: Repository, strategy: str) -> Gate:
        """What a merge of the card's snapshot has to keep to; runs the checks of which nothing is known yet.

        Raises AgentPaneError with MERGE_CHECKS_FAILED when they were stopped.
        """
        found = await self._surveyor.survey(task, repository, strategy)
        if found.tree is None:
            return found
        return await self._asked(task.card.id, anew=False)

    async def holds(self, gate: Gate, task: Task, base: str) -> bool:
        """Whether a merge onto `base` may rest on the gate, which may be of other checks or another commit."""
        return await self._surveyor.holds(gate, task, base)

    async def _asked(self, task_id: TaskId, *, anew: bool) -> Gate:
        while (job := self._jobs.get(task_id)) is not None:
            gate = await _outcome(job)
            if anew and gate.played:
                now = await self._surveyor.survey(await self._core.task(task_id))
                if (now.tree, now.digests) == (gate.tree, gate.digests):
                    return gate
        if self._closing:
            raise _stopped()
        return await _outcome(self._start(task_id, anew=anew, asked=True))

    def _start(self, task_id: TaskId, *, anew: bool, asked: bool, play: bool = True) -> asyncio.Task[Gate]:
        """play: run what is not known; else only find out what that is."""
        job = asyncio.create_task(self._play(task_id, anew, asked, play), name=f"checks-{task_id}")
        self._jobs[task_id] = job
        job.add_done_callback(partial(self._ended, task_id))
        self._on_change()
        return job

    def _ended(self, task_id: TaskId, job: asyncio.Task[Gate]) -> None:
        if self._jobs.get(task_id) is job:
            del self._jobs[task_id]
        failure = None if job.cancelled() else job.exception()
        if isinstance(failure, AgentPaneError):
            log.info("the checks of task %s were not run: %s", task_id, failure.message)
        elif failure is not None:
            log.error("the checks of task %s ended with a failure", task_id, exc_info=failure)
        if task_id in self._outdated:
            self._outdated.discard(task_id)
            if not self._closing:
                self._start(task_id, anew=False, asked=False, play=False)
        self._on_change()

    async def _heard(self, card: TaskCard) -> None:
        if card.column is Column.WAITING_APPROVAL:
            await self._consider(card.id)
        else:
            self._forget(card.id)

    def _forget(self, task_id: TaskId) -> None:
        self._looked.pop(task_id, None)
        if task_id in self._jobs:
            self._jobs[task_id].cancel()

    async def _consider(self, task_id: TaskId) -> None:
        """Begin a round, if the card waits with a snapshot that was not looked at yet."""
        try:
            task = await self._core.task(task_id)
        except AgentPaneError:
            self._forget(task_id)
            return
        if task.card.column is not Column.WAITING_APPROVAL or task.snapshot is None:
            self._forget(task_id)
        elif self._looked.get(task_id) != task.snapshot and not self._closing:
            known, self._looked[task_id] = self._looked.get(task_id), task.snapshot
            job = self._jobs.get(task_id)
            if job is not None and known is not None:
                job.cancel()  # it is about the snapshot before
                await asyncio.wait({job})
            if task_id not in self._jobs:
                self._start(task_id, anew=False, asked=False)

    async def _play(self, task_id: TaskId, anew: bool, asked: bool, play: bool) -> Gate:
        task = await self._core.task(task_id)
        _check_waits(task)
        gate = await self._begin(task, await self._surveyor.survey(task), anew)
        if gate.complete or not play or not (asked or self._may_run_unasked(gate)):
            return gate
        assert gate.subject is not None
        try:
            async with self._turns.of(task.card.project_id), self._places:
                now = await self._surveyor.survey(task)
                if (now.tree, now.checks, now.digests) != (gate.tree, gate.checks, gate.digests):  # since it was asked
                    gate = await self._begin(task, now, anew)
                if not gate.complete:
                    await self._round(task, gate)
        except asyncio.CancelledError:
            if not self._closing:
                await asyncio.shield(asyncio.ensure_future(self._say_stopped(task_id)))
            raise
        return await self._finish(task, gate)

    def _may_run_unasked(self, gate: Gate) -> bool:
        config = gate.subject.config if gate.subject is not None else None
        return config is not None and may_run_unasked(self._sandbox.tier, config.policy, config.unconfined)

    async def _begin(self, task: Task, gate: Gate, anew: bool) -> Gate:
        """Store the round with what is known of it, and show it."""
        task_id, tree = task.card.id, gate.tree

        def store(connection: checks.Connection) -> tuple[CheckResult, ...]:
            if tasks.card(connection, task_id).column is not Column.WAITING_APPROVAL:
                return checks.of_task(connection, task_id)  # it has left meanwhile, and shows what it left with
            if tree is None:
                checks.clear(connection, task_id)
                return ()
            known = {} if anew else checks.known(connection, task_id, tree)
            planned = [
                checks.Planned(check.name, check.required, digest, known.get(digest))
                for check, digest in zip(gate.checks, gate.digests, strict=True)
            ]
            return checks.begin(connection, task_id, gate.snapshot, tree, planned)

        before = await self._core.db.read(checks.of_task, task_id)
        if tree is None and not before:
            return gate
        results = await self._core.db.write(store)
        if results != before:
            await self._core.announce_task(task_id, counts=False)
        return replace(gate, results=results)

    async def _round(self, task: Task, gate: Gate) -> None:
        assert gate.subject is not None and task.session_id is not None
        waiting = {result.name for result in gate.results if result.state is CheckState.PENDING}
        to_run: list[Check] = [check for check in gate.checks if check.name in waiting]
        recorder = Recorder(self._core, self._blobs, task.card.id, task.session_id, task.runs[-1].id)
        names = [check.name for check in to_run]
        recorder.add(EventKind.STATE, {"state": "checks_started", "checks": list(names), "tree": gate.tree})
        store = partial(self._store, task.card.id)
        one = CheckRound(self._core, self._sandbox, gate.subject, recorder, store, self._remove_later)
        try:
            await one.play(to_run, self._core.folder.scratch)
        finally:
            await recorder.close()

    async def _store(self, task_id: TaskId, result: CheckResult) -> None:
        await self._core.db.write(checks.set_result, task_id, result)
        await self._core.announce_task(task_id, counts=False)

    async def _finish(self, task: Task, gate: Gate) -> Gate:
        """Say in the session what came of the round; a card that was refused for its checks says so no more."""
        results = await self._core.db.read(checks.of_task, task.card.id)
        gate = replace(gate, results=results, played=True)
        if task.session_id is not None:
            recorder = Recorder(self._core, self._blobs, task.card.id, task.session_id, task.runs[-1].id)
            failed = [result.name for result in results if result.state is not CheckState.PASSED]
            said = {"state": "checks_finished", "message": progress(results), "failed": list(failed)}
            recorder.add(EventKind.STATE, {**said, "tree": gate.tree})
            await recorder.close()
        card = await self._core.db.read(tasks.card, task.card.id)
        if card.code == ErrorCode.MERGE_CHECKS_FAILED and not gate.blocking:
            await self._core.db.write(partial(tasks.set_fields, task_id=card.id, at=self._core.clock.now(), code=None))
            await self._core.announce_task(card.id, counts=False)
        return gate

    async def _say_stopped(self, task_id: TaskId) -> None:
        for result in await self._core.db.read(checks.of_task, task_id):
            if result.state in UNDER_WAY:
                ended = CheckResult(
                    result.name, result.required, CheckState.NOT_RUN, None, None, result.tree, None, STOPPED
                )
                await self._core.db.write(checks.set_result, task_id, ended)
        await self._core.announce_task(task_id, counts=False)

    def _remove_later(self, folder: TemporaryFolder) -> None:
        """Whoever waits for a result does not wait for the files to be gone."""
        job = asyncio.ensure_future(asyncio.to_thread(folder.close))
        self._removals.add(job)
        job.add_done_callback(self._removals.discard)


def _check_waits(task: Task) -> None:
    if task.card.column is not Column.WAITING_APPROVAL or task.snapshot is None:
        raise AgentPaneError(
            ErrorCode.TASK_NOT_WAITING_APPROVAL,
            "Checks are run on the merge of a card that waits for approval.",
            hint="Nothing has changed.",
            details={"column": task.card.column.value},
        )


async def _outcome(job: asyncio.Task[Gate]) -> Gate:
    """What came of a round. Whoever stops waiting for it does not end it."""
    await asyncio.wait({job})
    if job.cancelled():
        raise _stopped()
    return job.result()


def _stopped() -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.MERGE_CHECKS_FAILED,
        "The checks were stopped, so nothing was merged.",
        hint="Run them again with `agentpane check`, or approve again. Nothing has been changed.",
    )
