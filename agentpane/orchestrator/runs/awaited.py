"""Calls of agents that wait, alive, for a person's decision: who waits is told when it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agentpane.domain.approvals import Approval
from agentpane.domain.ids import RunId

Waiting = asyncio.Future[Approval | None]


class Awaited:
    """One for the engine. A wait ends with the decided approval, or with None when the run is to pause."""

    def __init__(self) -> None:
        self._waits: dict[tuple[RunId, str], Waiting] = {}

    @contextmanager
    def wait(self, run_id: RunId, call_id: str) -> Iterator[Waiting]:
        """The future of a decision about a call; nobody waits any longer when the block is left."""
        future: Waiting = asyncio.get_running_loop().create_future()
        self._waits[run_id, call_id] = future
        try:
            yield future
        finally:
            if self._waits.get((run_id, call_id)) is future:
                del self._waits[run_id, call_id]

    def is_waiting(self, run_id: RunId, call_id: str) -> bool:
        return (run_id, call_id) in self._waits

    def tell(self, decided: Approval) -> bool:
        """Pass a decision on. False if nobody waits for it."""
        future = self._waits.get((decided.run_id, decided.call_id))
        if future is None or future.done():
            return False
        future.set_result(decided)
        return True

    def interrupt(self, run_id: RunId) -> None:
        """Nobody of this run is to wait any longer."""
        for (waiting, _), future in self._waits.items():
            if waiting == run_id and not future.done():
                future.set_result(None)
