"""What the engine does beside the runs, for as long as it serves: whatever goes wrong in one job ends nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from agentpane.clock import Clock

log = logging.getLogger(__name__)
AGAIN_S = 60.0  # until a job that has failed begins again

Job = Callable[[], Awaitable[None]]


class SideJobs:
    """Can be ended and started again, as when the database is replaced under them."""

    def __init__(self, clock: Clock, jobs: Mapping[str, Job]) -> None:
        self._clock = clock
        self._jobs = jobs
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep_going(name, job), name=name) for name, job in self._jobs.items()]

    async def end(self) -> bool:
        """Returns whether they were at work."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return bool(tasks)

    async def _keep_going(self, name: str, job: Job) -> None:
        while True:
            try:
                return await job()
            except Exception:
                log.exception("%s has failed and begins again", name)
            await self._clock.sleep(AGAIN_S)
