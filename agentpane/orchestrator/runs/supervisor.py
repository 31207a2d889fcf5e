"""Which run goes on when: a queue for each project, first in, first out, and one job for each active run."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Protocol

from agentpane.db import runs
from agentpane.domain.ids import RunId
from agentpane.domain.runs import ACTIVE, PAUSED_PLACE_SECONDS, RunStatus
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core

log = logging.getLogger(__name__)


class Player(Protocol):
    """Plays one run to its pause or end. It stores the outcome itself and raises only on cancellation."""

    def __call__(self, run_id: RunId) -> Awaitable[None]: ...


class Supervisor:
    """Starts queued runs when a place is free, and ends their jobs when asked."""

    def __init__(self, core: Core, play: Player, on_change: Callable[[], None]) -> None:
        self._core = core
        self._play = play
        self._on_change = on_change
        self._jobs: dict[RunId, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._accepting = True
        self._queued = 0  # runs that waited for a place at the last look
        self._barred: Counter[RunId] = Counter()  # not to be started, by how many who stop it
        self._starting: RunId | None = None  # written down as starting, and given its job in a moment

    @property
    def active(self) -> int:
        """How many runs have a job at this moment."""
        return len(self._jobs)

    @property
    def alive(self) -> int:
        """How many runs work or wait for a place."""
        return len(self._jobs) + self._queued

    def wake(self) -> None:
        """A run was queued, or a place may be free."""
        self._news.set()

    async def run(self) -> None:
        """Serve until cancelled; then every job is ended first."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                if self._accepting:
                    await self._look(group)
                # A paused run gives its place up after a while, which nothing else announces.
                with suppress(TimeoutError):
                    # wait_for would lose a cancellation that comes together with news (Python 3.11).
                    async with asyncio.timeout(PAUSED_PLACE_SECONDS / 20):
                        await self._news.wait()

    @asynccontextmanager
    async def stopped(self, run_id: RunId) -> AsyncIterator[None]:
        """End a run's job, if it has one, and everything that it started; as long as this lasts, it gets none.

        What becomes of the run is up to the caller. One that is still said to be at work by then was interrupted, and
        can be resumed; one that waits in the queue is started in its turn.
        """
        self._barred[run_id] += 1
        try:
            await self.rest(run_id)
            yield
        finally:
            self._barred -= Counter({run_id: 1})
            self.wake()
            with suppress(AgentPaneError):  # the next look tries again
                await self._mark_orphans()

    async def rest(self, run_id: RunId) -> None:
        """End a run's job, if it has one, and everything that it started; what is stored of the run stays."""
        job = self._jobs.get(run_id)
        if job is not None:
            job.cancel()
            await asyncio.wait([job])

    async def drain(self, seconds: float) -> None:
        """Start no more, and give the jobs this long to end by themselves; then end them."""
        self._accepting = False
        jobs = tuple(self._jobs.values())
        if not jobs:
            return
        _, late = await asyncio.wait(jobs, timeout=seconds)
        for job in late:
            job.cancel()
        if late:
            await asyncio.wait(late)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        # A full disk or a locked database passes; the runs that play are not to fall with it.
        try:
            await self._mark_orphans()
            await self._start_what_fits(group)
        except AgentPaneError as problem:
            log.error("the queue could not be looked at: %s", problem.message)

    async def _mark_orphans(self) -> None:
        """A run whose job ended without storing an outcome (a full disk, say) is as good as interrupted."""
        for run in await self._core.db.read(runs.active):
            if run.id not in self._jobs and run.id not in self._barred and run.id != self._starting:
                await self._core.db.write(_interrupt, run.id, self._core.clock.now())
                await self._core.announce_task(run.task_id)

    async def _start_what_fits(self, group: asyncio.TaskGroup) -> None:
        now = self._core.clock.now()
        full: set[str] = set()
        left = 0
        for waiting in await self._core.db.read(runs.queued):
            if waiting.run_id in self._jobs or waiting.run_id in self._barred:
                continue
            if (
                waiting.project_id in full
                or await self._core.db.read(runs.occupying, waiting.project_id, now) >= waiting.max_concurrent
            ):
                full.add(waiting.project_id)
                left += 1
                continue
            self._starting = waiting.run_id
            try:
                await self._begin(waiting, now, group)
            finally:
                self._starting = None
        self._queued = left
        self._on_change()

    async def _begin(self, waiting: runs.QueuedRun, now: datetime, group: asyncio.TaskGroup) -> None:
        if not await self._core.db.write(runs.start, waiting.run_id, now):
            return
        await self._core.announce_task(waiting.task_id)
        if waiting.run_id in self._barred or not self._accepting:
            return  # whoever stopped it says what became of it
        job = group.create_task(self._guarded(waiting.run_id), name=f"run-{waiting.run_id}")
        self._jobs[waiting.run_id] = job
        job.add_done_callback(partial(self._ended, waiting.run_id))

    async def _guarded(self, run_id: RunId) -> None:
        # A failure that escapes one run must not reach its siblings through the task group.
        try:
            await self._play(run_id)
        except asyncio.CancelledError:
            return
        except Exception:
            log.exception("run %s ended with a failure that it did not store", run_id)

    def _ended(self, run_id: RunId, job: asyncio.Task[None]) -> None:
        self._jobs.pop(run_id, None)
        self._on_change()
        self.wake()


def _interrupt(connection: runs.Connection, run_id: RunId, at: datetime) -> None:
    if runs.row(connection, run_id).status in ACTIVE:  # else somebody was quicker
        runs.set_status(connection, run_id, RunStatus.INTERRUPTED, at)
