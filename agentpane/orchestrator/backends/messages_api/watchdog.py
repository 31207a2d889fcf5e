"""A limit on how long one await may take, cheap enough to stand around each event of a stream.

Like `asyncio.timeout`, with one timer for the whole stream instead of one an event.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Watchdog:
    """`with watchdog:` around an await raises TimeoutError when that takes longer than `limit_s`.

    Used by one job at a time. `close` it at the end.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._since = 0.0
        self._job: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._barked = False
        self._timer = self._loop.call_later(limit_s, self._look)

    def close(self) -> None:
        self._timer.cancel()

    def __enter__(self) -> None:
        self._job = asyncio.current_task()
        assert self._job is not None
        self._cancelling = self._job.cancelling()
        self._since = self._loop.time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        job, self._job = self._job, None
        if self._barked and job is not None:
            self._barked = False
            if job.uncancel() <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error

    def _look(self) -> None:
        now = self._loop.time()
        waited = now - self._since if self._job is not None else 0.0
        if self._job is not None and waited >= self._limit_s:
            self._barked = True
            self._job.cancel()
            waited = 0.0
        self._timer = self._loop.call_later(self._limit_s - waited, self._look)
