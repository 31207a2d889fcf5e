"""The one way in which the window starts asynchronous work: the job is kept, and its failure reaches the person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from PySide6.QtCore import QObject, Signal


class Jobs(QObject):
    """The window's running jobs. A failure is announced by `failed`, a cancellation is not a failure."""

    failed = Signal(object, str)  # the exception, and what was being done

    def __init__(self, loop: asyncio.AbstractEventLoop, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._loop = loop
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(
        self,
        work: Coroutine[Any, Any, Any],
        what: str = "",
        failed: Callable[[BaseException], bool] | None = None,
    ) -> asyncio.Task[Any]:
        """Start `work`. `failed` may deal with a failure itself by returning True."""
        job = self._loop.create_task(work, name=what or None)
        if self._closed:
            job.cancel()
        self._running.add(job)
        job.add_done_callback(lambda done: self._ended(done, what, failed))
        return job

    async def join(self, grace: float = 2.0) -> None:
        """Cancel what runs and wait for its end, at most `grace` seconds."""
        self._closed = True
        own = asyncio.current_task()
        jobs = [job for job in self._running if job is not own]
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs, timeout=grace)

    def _ended(self, job: asyncio.Task[Any], what: str, failed: Callable[[BaseException], bool] | None) -> None:
        self._running.discard(job)
        if job.cancelled():
            return
        error = job.exception()
        if error is not None and not self._closed and not (failed is not None and failed(error)):
            self.failed.emit(error, what)
