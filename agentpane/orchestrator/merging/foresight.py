"""What would go wrong with cards that are not merged yet: their conflicts with the base branch, and with each other.

It looks again when a base branch moves, when a card gets a snapshot, its agent's turns included, and when a card
comes or goes; and then computes only what does not follow from commits that were compared before. Nothing runs while
nothing changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agentpane.api.events import CatchUp, Event, SessionAppended, TaskChanged, TaskRemoved
from agentpane.db import foresight, projects
from agentpane.db.foresight import Foreseen, Standing
from agentpane.domain.board import Column
from agentpane.domain.conflicts import Conflict, Overlap
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.overlaps import Work, overlaps, shortened
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging.comparing import Comparing
from agentpane.worktrees import Repository

log = logging.getLogger(__name__)
MOST_PAIRS = 300  # of overlapping cards that are merged with each other to see whether that works


class Foresight:
    """Keeps conflicts and overlaps of every card as they are, while `run` runs."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._comparing = Comparing(core.git)
        self._news = asyncio.Event()
        self._marked: dict[ProjectId, bool] = {}  # to be looked at; whether also if its cards stand as they did
        self._seen: dict[ProjectId, tuple[object, ...]] = {}  # how the cards stood at the last look

    def base_moved(self, project_id: ProjectId) -> None:
        """A project's base branch may be at another commit."""
        self._mark(project_id, anew=True)

    async def run(self) -> None:
        """Look at every project, then at what changes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="foresight-news")
            group.create_task(self._work(), name="foresight")

    async def _follow(self) -> None:
        start = self._core.bus.last
        await self._mark_all()
        async for published in self._core.bus.read(start):
            if isinstance(published, CatchUp):
                await self._mark_all()
                continue
            project_id = await self._concerned(published.event)
            if project_id is not None:
                self._mark(project_id)

    async def _concerned(self, event: Event) -> ProjectId | None:
        """The project in which an event may have changed how cards stand to each other."""
        match event:
            case TaskChanged(card):
                return card.project_id
            case TaskRemoved(_, project_id):
                return ProjectId(project_id)
            case SessionAppended(task_id, events) if any(each.kind is EventKind.SNAPSHOT for each in events):
                return await self._project_of(TaskId(task_id))
            case _:
                return None

    async def _project_of(self, task_id: TaskId) -> ProjectId | None:
        try:
            return (await self._core.task(task_id)).card.project_id
        except AgentPaneError:  # it is gone, which is announced by itself, or the database is busy
            return None

    async def _mark_all(self) -> None:
        try:
            for project in await self._core.db.read(projects.list_all):
                self._mark(project.id, anew=True)
        except AgentPaneError as error:  # a full disk or a locked database passes
            log.warning("what may be foreseen is not known for now: %s", error.message)

    def _mark(self, project_id: ProjectId, anew: bool = False) -> None:
        self._marked[project_id] = self._marked.get(project_id, False) or anew
        self._news.set()

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._marked:
                project_id, anew = self._marked.popitem()
                try:
                    await self._look(project_id, anew)
                except AgentPaneError as error:
                    # A repository that is away, say: what its cards show stays, and the next news is looked at.
                    log.info("nothing can be foreseen in project %s: %s", project_id, error.message)
                    self._seen.pop(project_id, None)
                except Exception:
                    # What is only foreseen may not take the runs down with it.
                    log.exception("foresight failed in project %s", project_id)

    async def _look(self, project_id: ProjectId, anew: bool) -> None:
        cards = await self._core.db.read(foresight.standing, project_id)
        if not anew and self._seen.get(project_id, ()) == _stand(cards):
            return
        found = await self._foreseen(project_id, cards)
        if news := [each for each in found if each.is_news]:
            for task_id in await self._core.db.write(foresight.store, news, self._core.clock.now()):
                await self._core.announce_task(task_id, counts=False)
        told = {each.seen.task_id: each for each in found}
        self._seen[project_id] = _stand([_as_told(card, told.get(card.task_id)) for card in cards])

    async def _foreseen(self, project_id: ProjectId, cards: Sequence[Standing]) -> list[Foreseen]:
        at_work = [card for card in cards if card.commit is not None and card.base is not None]
        found = [Foreseen(card, None, ()) for card in cards if card not in at_work]
        if at_work:
            project = await self._core.db.read(projects.get, project_id)
            repository = await self._core.git.open_repository(Path(project.path))
            by_target: dict[str, list[Standing]] = {}
            for card in at_work:
                by_target.setdefault(card.target or project.base_branch, []).append(card)
            for target, group in by_target.items():
                tip = await self._core.git.branch_tip(repository, target)
                if tip is not None:  # else it is gone for now, and what the cards show stays
                    found += await self._of_target(repository, tip, group)
        return found

    async def _of_target(self, repository: Repository, tip: str, cards: Sequence[Standing]) -> list[Foreseen]:
        """What is found about the cards that are to be merged into one branch. One that git cannot read is left out."""
        conflicts: dict[TaskId, tuple[Conflict, ...] | None] = {}
        works: list[Work] = []
        for card in cards:
            try:
                works.append(await self._work_of(repository, tip, card))
                conflicts[card.task_id] = await self._conflicts_of(repository, tip, card)
            except AgentPaneError as error:
                log.info("nothing can be foreseen about task %s: %s", card.task_id, error.message)
        found = await asyncio.to_thread(overlaps, works)
        commits = {card.task_id: card.commit or "" for card in cards}
        clashing = await self._clashing(repository, found, commits)
        return [
            Foreseen(card, conflicts[card.task_id], shortened(_told(card.task_id, found[card.task_id], clashing)))
            for card in cards
            if card.task_id in conflicts
        ]

    async def _conflicts_of(self, repository: Repository, tip: str, card: Standing) -> tuple[Conflict, ...] | None:
        """Of a card that waits. What an agent still works on is not to be merged yet."""
        if card.column is not Column.WAITING_APPROVAL:
            return None
        return await self._comparing.conflicts(repository, tip, card.commit or "")

    async def _work_of(self, repository: Repository, tip: str, card: Standing) -> Work:
        base, commit = card.base or "", card.commit or ""
        edits = await self._comparing.edits(repository, base, commit)
        since = await self._comparing.edits(repository, base, tip) if base != tip else ()
        upstream = {edit.old_path: edit for edit in since if edit.old_path is not None}
        return Work(card.task_id, card.title, edits, upstream)

    async def _clashing(
        self, repository: Repository, found: Mapping[TaskId, Sequence[Overlap]], commits: Mapping[TaskId, str]
    ) -> dict[frozenset[str], frozenset[str]]:
        """For each pair of cards that overlap, the paths that git cannot merge between them."""
        pairs = {frozenset({one, each.task_id}) for one, of_card in found.items() for each in of_card}
        clashing: dict[frozenset[str], frozenset[str]] = {}
        for pair in sorted(pairs, key=sorted)[:MOST_PAIRS]:
            one, other = (commits[TaskId(task_id)] for task_id in sorted(pair))
            try:
                clashing[pair] = await self._comparing.clashes(repository, one, other)
            except AgentPaneError as error:
                log.info("two cards cannot be merged with each other to see: %s", error.message)
        return clashing


def _stand(cards: Sequence[Standing]) -> tuple[object, ...]:
    """How cards stand, and what they show: one that shows something else than was found is looked at again."""
    return tuple((card.task_id, card.title, card.stands_for, card.conflicts, card.overlaps) for card in cards)


def _as_told(card: Standing, found: Foreseen | None) -> Standing:
    if found is None:
        return card
    conflicts = card.conflicts if found.conflicts is None else found.conflicts
    return replace(card, conflicts=conflicts, overlaps=found.overlaps)


def _told(card: TaskId, of_card: Sequence[Overlap], clashing: Mapping[frozenset[str], frozenset[str]]) -> list[Overlap]:
    nothing: frozenset[str] = frozenset()
    return [
        replace(each, clashes=each.path in clashing.get(frozenset({card, each.task_id}), nothing)) for each in of_card
    ]
