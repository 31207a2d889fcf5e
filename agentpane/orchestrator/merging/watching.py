"""Notices when a project's base branch moves, whoever moves it. Nothing is polled, and no git is started.

The files that say where a branch is are watched by the system; a thread waits for its word. What a repository that is
moved away would say is not passed on: its project is looked at again when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from agentpane.api.events import CatchUp, Event, ProjectChanged, ProjectRemoved
from agentpane.db import projects
from agentpane.domain.ids import ProjectId
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.worktrees import BranchPlaces, branch_places
from agentpane.worktrees.refs.branch_places import Folder

log = logging.getLogger(__name__)

STEP_MS = 100  # how often the thread looks whether it is to end; changes so close to each other come together
GATHER_MS = 400
# How long until the next try where the system could not watch: too many watches in all, say.
RETRY_S = 60.0

Listener = Callable[[ProjectId], None]
Watched = tuple[str, str]  # a project's path and its base branch


class Watching:
    """Watches the base branch of each project while `run` runs."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._listeners: list[Listener] = []
        self._news = asyncio.Event()
        self._watched: dict[ProjectId, Watched] = {}
        self._marks: dict[tuple[ProjectId, Watched], str | None] = {}  # where each branch was at the last look
        self._watch: _Watch | None = None
        self._missed = False  # a folder was gone at the last try

    def subscribe(self, listener: Listener) -> None:
        """Call `listener`, on the loop, whenever a project's base branch may have moved. It may not raise or wait."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Watch until cancelled; the thread that waits ends then."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_projects(), name="watched-projects")
                group.create_task(self._follow_branches(), name="watched-branches")
        finally:
            self._stop()

    async def _follow_projects(self) -> None:
        start = self._core.bus.last
        await self._read_projects()
        async for published in self._core.bus.read(start):
            if isinstance(published, CatchUp) or self._is_news(published.event):
                await self._read_projects()

    def _is_news(self, event: Event) -> bool:
        """Whether there is another project to watch, or another branch. A project's counts change all the time."""
        match event:
            case ProjectChanged(project):
                return self._watched.get(project.id) != (project.path, project.base_branch)
            case ProjectRemoved():
                return True
            case _:
                return False

    async def _read_projects(self) -> None:
        try:
            found = await self._core.db.read(projects.list_all)
        except AgentPaneError as error:  # a full disk or a locked database passes
            log.warning("the base branches to watch are not known for now: %s", error.message)
            return
        watched = {project.id: (project.path, project.base_branch) for project in found}
        if watched != self._watched:
            self._watched = watched
            self._news.set()

    async def _follow_branches(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                problem = await self._catch_up()
            except Exception as bug:
                # What is only watched for foresight's sake may not take the runs down with it.
                log.exception("the watching of base branches failed")
                problem = bug
            if problem is None:
                continue
            log.warning("base branches cannot be watched for now: %s", problem)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._news.wait()
            self._news.set()

    async def _catch_up(self) -> Exception | None:
        """Look at every branch, and let the system watch what there is to watch. Returns why it does not."""
        wanted = await self._look()
        watch = self._watch
        if watch is not None and watch.serves(wanted):
            return None
        self._stop()
        if watch is not None and watch.problem is not None:
            return watch.problem
        if not wanted:
            return None
        watch = _Watch(wanted, asyncio.get_running_loop(), self._news.set)
        problem = await watch.started()
        at_once = isinstance(problem, FileNotFoundError) and not self._missed  # a folder has gone since the look
        self._missed = at_once
        if problem is None:
            self._watch = watch
        if problem is None or at_once:
            self._news.set()  # look at what happened before it watched
            return None
        return problem

    async def _look(self) -> Mapping[ProjectId, BranchPlaces]:
        """Say which branches have moved since the last look, and what there is to watch now."""
        watched = dict(self._watched)
        found = await asyncio.to_thread(_places, watched)
        keys = {(project_id, watched[project_id]) for project_id in watched}
        self._marks = {key: mark for key, mark in self._marks.items() if key in keys}
        for project_id, places in found.items():
            key = (project_id, watched[project_id])
            known, self._marks[key] = self._marks.get(key, places.mark), places.mark
            if places.mark is not None and known != places.mark:
                for listener in self._listeners:
                    listener(project_id)
        return found

    def _stop(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None


def _places(watched: Mapping[ProjectId, Watched]) -> dict[ProjectId, BranchPlaces]:
    return {project_id: branch_places(Path(path), branch) for project_id, (path, branch) in watched.items()}


class _Watch:
    """One thread that waits for changes in a fixed set of folders.

    changed: called on the loop when one of the paths that tell something has changed.
    """

    def __init__(
        self,
        wanted: Mapping[ProjectId, BranchPlaces],
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[], None],
    ) -> None:
        self._folders, self._telling = _all_of(wanted)
        self._paths = frozenset(path for path, _, _ in self._folders)
        self._loop = loop
        self._changed = changed
        self._end = threading.Event()
        self.problem: Exception | None = None  # why it has stopped by itself
        self._broken = False  # one of the folders is gone, and what is there in its place is not watched
        self._start: asyncio.Future[Exception | None] = loop.create_future()
        # Not a daemon: the interpreter waits for it, and no thread is left inside of foreign code at its end.
        threading.Thread(target=self._wait, name="base-branches").start()

    def serves(self, wanted: Mapping[ProjectId, BranchPlaces]) -> bool:
        return not self._broken and (self._folders, self._telling) == _all_of(wanted)

    async def started(self) -> Exception | None:
        """Return when it watches, or with the reason why it does not."""
        try:
            return await self._start
        except asyncio.CancelledError:
            self.stop()
            raise

    def stop(self) -> None:
        """The thread ends within STEP_MS."""
        self._end.set()

    def _wait(self) -> None:
        # The import costs 50 ms, and the library calls the system: both off the loop.
        from watchfiles._rust_notify import RustNotify

        try:
            notifier = RustNotify(sorted(self._paths), False, False, 0, False, True)
        except (OSError, RuntimeError, ValueError) as problem:  # the last: a name that is not UTF-8
            self._tell(self._started, problem)
            return
        self._tell(self._started, None)
        with notifier:
            while not self._end.is_set():
                try:
                    changes = notifier.watch(GATHER_MS, STEP_MS, 0, self._end)
                except (OSError, RuntimeError) as problem:
                    self.problem = problem
                    self._broken = True
                    self._tell(self._changed)
                    return
                if not isinstance(changes, str):
                    self._see({path for _, path in changes})

    def _see(self, paths: Collection[str]) -> None:
        if not self._paths.isdisjoint(paths):
            self._broken = True
        if self._broken or not self._telling.isdisjoint(paths):
            self._tell(self._changed)

    def _started(self, problem: Exception | None) -> None:
        if not self._start.done():
            self._start.set_result(problem)

    def _tell(self, said: Callable[..., None], *about: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(said, *about)


def _all_of(wanted: Mapping[ProjectId, BranchPlaces]) -> tuple[frozenset[Folder], frozenset[str]]:
    folders: set[Folder] = set()
    telling: set[str] = set()
    for places in wanted.values():
        folders |= places.folders
        telling |= places.telling
    return frozenset(folders), frozenset(telling)
