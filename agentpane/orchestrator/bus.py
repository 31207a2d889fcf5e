"""The stream of what happened: numbered events, kept for a while, read by any number of subscribers.

A subscriber reads from a number on and holds nothing: whoever falls behind what is kept is told to catch up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from agentpane.api.events import CatchUp, Event, Published

KEPT = 20_000


class EventBus:
    """Publishes events to readers of the same event loop."""

    def __init__(self, keep: int = KEPT) -> None:
        self._kept: deque[Published] = deque(maxlen=keep)
        self._last = 0
        self._floor = 0  # numbers up to here are gone
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._last

    def publish(self, event: Event) -> None:
        """Announce what has been committed."""
        self._last += 1
        if len(self._kept) == self._kept.maxlen:
            self._floor = self._kept[0].seq
        self._kept.append(Published(self._last, event))
        self._wake()

    def forget(self) -> None:
        """Make every subscriber catch up: what was announced no longer holds."""
        self._kept.clear()
        self._last += 1
        self._floor = self._last
        self._wake()

    async def read(self, after: int | None = None) -> AsyncIterator[Published | CatchUp]:
        """Events from number `after` on (None: from this moment on), without end."""
        seen = self._last if after is None else after
        while True:
            if seen < self._floor or seen > self._last:
                seen = self._last
                yield CatchUp(seen)
                continue
            news = self._news
            while seen < self._last and seen >= self._floor:
                published = self._kept[seen - self._last]  # the newest is at -1
                seen = published.seq
                yield published
            if seen == self._last:
                await news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
