"""What each turn of a run left in its worktree: kept while the card may come back, and bounded in number.

A turn is over when the next one begins, or the agent's part in the run ends. Its snapshot is made while the model
thinks about the next turn, and is done before a tool of that one may change anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import turns, worktrees
from agentpane.db.run_rows import RunRow
from agentpane.db.turns import TurnRow
from agentpane.domain.ids import RunId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.recoveries import KEPT
from agentpane.domain.sessions import EventKind
from agentpane.domain.turns import MOST_TURNS_KEPT, TurnSnapshot, too_many
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.sessions import Recorder
from agentpane.worktrees import Repository, TurnTree, Worktree, turn_ref

log = logging.getLogger(__name__)
LET_GO = "turns_let_go"  # what a STATE event says when a card has more turns than are kept
NOT_KEPT = "turn_not_kept"  # what a STATE event says of a turn whose snapshot could not be made


@dataclass(frozen=True, slots=True)
class Stint:
    """What an agent does in a run, and where."""

    run: RunRow
    repository: Repository
    worktree: Worktree
    recorder: Recorder


@dataclass(frozen=True, slots=True)
class TurnSnapshots:
    """Takes, lists and lets go of the snapshots of turns."""

    core: Core

    async def listed(self, command: c.ListTurns) -> tuple[TurnSnapshot, ...]:
        task = await self.core.task(command.task)
        return tuple(row.value() for row in await self.core.db.read(turns.of_task, task.card.id))

    async def begin(self, stint: Stint, last: int) -> str | None:
        """The tree that the worktree holds as an agent goes on; None where that cannot be known.

        What turn `last` left is kept, when an engine that died had no time for it.
        """
        async with self._alone(stint.run):
            row = await self.core.db.read(worktrees.for_task, stint.run.task_id)
            if row is None or row.works_on is None:
                return None
            held = await self.core.git.turn_tree(stint.repository, stint.worktree, row.works_on, row.copied)
            known = await self.core.db.read(turns.of_task, stint.run.task_id)
            if last and known and (stint.run.id, last) not in {(kept.run_id, kept.turn) for kept in known}:
                await self._keep(stint, last, row.works_on, known[-1].tree, held)
            return held.tree

    async def take(self, stint: Stint, turn: int, before: str) -> str:
        """Keep what a turn left, if it changed anything since `before`, and note it. Returns the tree that it left."""
        async with self._alone(stint.run):
            row = await self.core.db.read(worktrees.for_task, stint.run.task_id)
            if row is None or row.works_on is None:
                return before
            held = await self.core.git.turn_tree(stint.repository, stint.worktree, row.works_on, row.copied)
            await self._keep(stint, turn, row.works_on, before, held)
            return held.tree

    async def _keep(self, stint: Stint, turn: int, base_sha: str, before: str, held: TurnTree) -> None:
        if held.tree == before:
            return
        run = stint.run
        ref = turn_ref(run.id, turn)
        taken = await self.core.git.keep_turn(stint.repository, base_sha, before, held.tree, ref)
        new = TurnRow(
            run_id=run.id,
            turn=turn,
            task_id=run.task_id,
            repository=str(stint.repository.path),
            sha=taken.sha,
            tree=held.tree,
            files=taken.stat.files,
            added=taken.stat.added,
            removed=taken.stat.removed,
            left_out=held.left_out,
            created_at=self.core.clock.now(),
        )
        await self.core.db.write(turns.add, new)
        figures = {"files": new.files, "added": new.added, "removed": new.removed}
        told: JsonObject = {"turn": turn, "sha": new.sha, **figures, "left_out": list(new.left_out)}
        stint.recorder.add(EventKind.SNAPSHOT, told, turn)
        await self._thin_out(stint)

    def _alone(self, run: RunRow) -> asyncio.Lock:
        """Sub-agents work in the worktree of their parent."""
        return self.core.task_locks.of(f"turns:{run.task_id}")

    async def tidy(self) -> int:
        """Let go of the snapshots of cards that are gone, or at rest for as long as their recovery would be kept."""
        over = await self.core.db.read(turns.over, self.core.clock.now() - KEPT)
        for path, rows in groupby(sorted(over, key=lambda row: row.repository), key=lambda row: row.repository):
            try:
                await self._let_go(await self.core.git.open_repository(Path(path)), tuple(rows))
            except AgentPaneError as error:
                log.info("the turns kept in %s stay: %s", path, error.message)
        return len(over)

    async def sweep(self, repository: Repository) -> int:
        """Write a row for each ref of a known run that has none; those of another data folder stay as they are.

        An engine that died leaves such refs, and so does a database that is restored from before they were made.
        """
        refs = await self.core.git.inspection.refs(repository)
        named = {(run, int(turn)) for run, turn in map(_named, refs) if turn.isdecimal()}
        strays = await self.core.db.read(turns.without_row, tuple(named))
        for task_id, run_id, turn in sorted(strays):
            async with self.core.task_locks.of(f"turns:{task_id}"):
                if await self.core.db.read(turns.without_row, ((run_id, turn),)):
                    await self._adopt(repository, task_id, RunId(run_id), turn, refs[turn_ref(run_id, turn)])
        return len(strays)

    async def _adopt(self, repository: Repository, task_id: TaskId, run_id: RunId, turn: int, sha: str) -> None:
        head = await self.core.git.inspection.header(repository, sha)
        if head is None:
            return
        of_run = [row for row in await self.core.db.read(turns.of_task, task_id) if row.run_id == run_id]
        before = [row.sha for row in of_run if row.turn < turn and row.repository == str(repository.path)]
        stat = await self.core.git.diff_stat(repository, before[-1] if before else head.parent or sha, sha)
        found = TurnRow(
            run_id=run_id,
            turn=turn,
            task_id=task_id,
            repository=str(repository.path),
            sha=sha,
            tree=head.tree,
            files=stat.files,
            added=stat.added,
            removed=stat.removed,
            left_out=(),
            created_at=head.at,
        )
        await self.core.db.write(turns.add, found)

    async def _thin_out(self, stint: Stint) -> None:
        surplus = too_many(await self.core.db.read(turns.of_task, stint.run.task_id))
        if surplus and (gone := await self._let_go(stint.repository, surplus)):
            stint.recorder.add(EventKind.STATE, {"state": LET_GO, "count": len(gone), "most": MOST_TURNS_KEPT})

    async def _let_go(self, repository: Repository, rows: Sequence[TurnRow]) -> list[TurnRow]:
        """The refs go first, for a ref without its row would be taken up again. Returns those that went."""
        refs = {turn_ref(row.run_id, row.turn): row.sha for row in rows}
        stayed = await self.core.git.delete_refs(repository, refs)
        gone = [row for row in rows if turn_ref(row.run_id, row.turn) not in stayed]
        await self.core.db.write(turns.remove, gone)
        return gone


def _named(ref: str) -> tuple[str, str]:
    """The run and the turn that a ref of a turn names; empty for any other."""
    folder, _, turn = ref.rpartition("/")
    start, _, run = folder.rpartition("/")
    return (run, turn) if start == "refs/agentpane/turn" else ("", "")


class TurnKeeper:
    """Follows one agent's part in a run, as long as its block lasts, and has each of its turns kept.

    last: the turn with which an earlier part of the run has ended; 0 for none.
    When the run is stopped nothing more is taken: what its last turn left is kept by whoever discards it.
    """

    def __init__(self, snapshots: TurnSnapshots, stint: Stint, last: int) -> None:
        self._snapshots = snapshots
        self._stint = stint
        self._turn = last
        self._before: str | None = None  # the tree that the turn began with
        self._job: asyncio.Task[None] | None = None

    async def __aenter__(self) -> TurnKeeper:
        self._job = asyncio.create_task(self._begin(self._turn), name="turn-begin")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """Keep what the last turn left, unless the run was stopped."""
        try:
            if kind is None or issubclass(kind, Exception):
                await self._settled()
                await self._take(self._turn)
        finally:
            if self._job is not None:
                self._job.cancel()
                await asyncio.wait([self._job])

    async def see(self, event: base.BackendEvent) -> None:
        """Returns when what follows the event may have its effect."""
        match event:
            case base.TurnStarted(turn) if turn > self._turn:
                ended, self._turn = self._turn, turn
                if ended:
                    await self._settled()
                    self._job = asyncio.create_task(self._take(ended), name=f"turn-{ended}")
            case base.ToolStarted():
                await self._settled()
            case _:
                pass

    async def _settled(self) -> None:
        if self._job is not None:
            await asyncio.wait([self._job])
            self._job = None

    async def _begin(self, last: int) -> None:
        try:
            self._before = await self._snapshots.begin(self._stint, last)
        except Exception as error:  # noqa: BLE001 - whatever it is, the agent goes on
            self._not_kept(last, error)

    async def _take(self, turn: int) -> None:
        """A snapshot that cannot be made is told of, and does not hold up the agent."""
        if self._before is None or turn == 0:
            return
        try:
            self._before = await self._snapshots.take(self._stint, turn, self._before)
        except Exception as error:  # noqa: BLE001 - whatever it is, the agent goes on
            self._not_kept(turn, error)

    def _not_kept(self, turn: int, error: Exception) -> None:
        log.warning("what turn %d of run %s left was not kept", turn, self._stint.run.id, exc_info=error)
        words = error.message if isinstance(error, AgentPaneError) else f"{type(error).__name__}: {error}"
        self._stint.recorder.add(EventKind.STATE, {"state": NOT_KEPT, "message": words}, turn)
