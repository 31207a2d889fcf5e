"""Writing and reading sessions: events are stored in batches, then announced, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentpane.api.events import SessionAppended, SessionDelta
from agentpane.db import sessions
from agentpane.domain.ids import RunId, SessionId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.sessions import EventKind, NewEvent, SessionEvent
from agentpane.domain.tasks import Task
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core

BATCH_SECONDS = 0.05  # how long an event may wait for others before it is stored
DELTA_SECONDS = 0.033  # how long text is gathered before it is shown
PAGE = 1_000


class Recorder:
    """Writes the events of one task's session. Use it from one job, and `close` it at the end.

    within: the turn and the call whose output a sub-agent's words are, while they are being written.
    """

    def __init__(
        self,
        core: Core,
        blobs: BlobStore,
        task_id: TaskId,
        session_id: SessionId,
        run_id: RunId | None,
        within: tuple[int, str] | None = None,
    ) -> None:
        self._within = within
        self._core = core
        self._blobs = blobs
        self._task_id = task_id
        self._session_id = session_id
        self._run_id = run_id
        self._waiting: list[NewEvent] = []
        self._storing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._job: asyncio.Task[None] | None = None
        self._deltas: dict[tuple[int, str, str | None], list[str]] = {}
        self._delta_timer: asyncio.TimerHandle | None = None

    def add(self, kind: EventKind, data: JsonObject, turn: int = 0) -> None:
        """Take an event; it is stored within BATCH_SECONDS, or by `flush`."""
        self._show_deltas()
        self._waiting.append(NewEvent(self._core.clock.now(), kind, turn, self._run_id, data))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._start_flush)

    async def flush(self) -> None:
        """Return when everything taken so far is stored and announced."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        async with self._storing:
            batch, self._waiting = self._waiting, []
            if not batch:
                return
            try:
                stored = await self._core.db.write(self._append, batch)
            except BaseException:
                self._waiting[:0] = batch
                raise
            self._core.bus.publish(SessionAppended(self._task_id, stored))

    def show(self, turn: int, stream: str, text: str, call_id: str | None = None) -> None:
        """Text that is being written: announced soon, never stored."""
        if self._within is not None:
            if stream != "text":
                return
            turn, call_id = self._within
            stream = "output"
        self._deltas.setdefault((turn, stream, call_id), []).append(text)
        if self._delta_timer is None:
            self._delta_timer = asyncio.get_running_loop().call_later(DELTA_SECONDS, self._show_deltas)

    async def close(self) -> None:
        self._show_deltas()
        if self._job is not None:
            await asyncio.gather(self._job, return_exceptions=True)
        await self.flush()

    def _append(self, connection: sessions.Connection, batch: list[NewEvent]) -> tuple[SessionEvent, ...]:
        fitted = [
            NewEvent(event.at, event.kind, event.turn, event.run_id, self._blobs.fit(event.data)) for event in batch
        ]
        return sessions.append(connection, self._session_id, fitted)

    def _start_flush(self) -> None:
        self._timer = None
        self._job = asyncio.create_task(self._flush_in_background(), name="session-flush")

    async def _flush_in_background(self) -> None:
        # A failure leaves the batch waiting; the next flush, which the run awaits, meets it again and reports it.
        try:
            await self.flush()
        except Exception:  # noqa: BLE001
            return

    def _show_deltas(self) -> None:
        if self._delta_timer is not None:
            self._delta_timer.cancel()
            self._delta_timer = None
        gathered, self._deltas = self._deltas, {}
        for (turn, stream, call_id), parts in gathered.items():
            self._core.bus.publish(SessionDelta(self._task_id, turn, stream, "".join(parts), call_id))


async def note(
    core: Core, blobs: BlobStore, task: Task, run_id: RunId | None, kind: EventKind, data: JsonObject
) -> None:
    """Store one event in a task's session, outside any turn. A card that never ran has no session to note it in."""
    if task.session_id is None:
        return
    recorder = Recorder(core, blobs, task.card.id, task.session_id, run_id)
    recorder.add(kind, data)
    await recorder.close()


async def read_whole(core: Core, blobs: BlobStore, session_id: SessionId) -> AsyncIterator[SessionEvent]:
    """Every event of a session in order, long values put back."""
    after = 0
    while True:
        page = await core.db.read(sessions.read, session_id, after, PAGE)
        for event in page:
            data = await asyncio.to_thread(blobs.whole, event.data) if "blobs" in event.data else event.data
            yield SessionEvent(event.seq, event.at, event.kind, event.turn, event.run_id, data)
        if len(page) < PAGE:
            return
        after = page[-1].seq
