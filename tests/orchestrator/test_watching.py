"""Base branches are watched while projects come and go, and also where the system cannot watch for a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles._rust_notify

from agentpane.api.events import ProjectChanged, ProjectRemoved
from agentpane.clock import SystemClock
from agentpane.db import projects
from agentpane.db.connection import Database
from agentpane.domain.ids import ProjectId
from agentpane.domain.projects import Project
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging import watching
from agentpane.orchestrator.merging.watching import Watching
from agentpane.paths import DataFolder
from agentpane.worktrees import Worktrees
from tests.orchestrator.conftest import BOUND, git, make_repository

THREAD = "base-branches"


class Stage:
    """A watching that is under way, and what it has said."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.moved: list[ProjectId] = []
        self.watching = Watching(core)
        self.watching.subscribe(self.moved.append)

    async def add(self, folder: Path, branch: str = "main") -> Project:
        new = projects.NewProject(name=folder.name, path=str(folder), base_branch=branch)
        made = await self.core.db.write(projects.create, new, self.core.clock.now())
        self.core.bus.publish(ProjectChanged(made))
        return made

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def watches(self, *folders: Path) -> None:
        """Return when the system watches the branches of exactly these repositories."""
        wanted = {str(folder / ".git") for folder in folders}
        await self.until(lambda: {path for path in self._paths() if path.endswith(".git")} == wanted)

    def _paths(self) -> frozenset[str]:
        watch = self.watching._watch
        return watch._paths if watch is not None and not self.watching._news.is_set() else frozenset()


@asynccontextmanager
async def staged(data: Path) -> AsyncIterator[Stage]:
    folder = DataFolder(data)
    folder.make()
    core = Core(folder, await Database.open(folder), EventBus(), Worktrees(), SystemClock(), "")
    stage = Stage(core)
    job = asyncio.create_task(stage.watching.run())
    try:
        yield stage
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        await core.git.close()
        await core.db.close()
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(BOUND)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "STEP_MS", 10)
    monkeypatch.setattr(watching, "GATHER_MS", 30)
    monkeypatch.setattr(watching, "RETRY_S", 0.05)


async def test_the_branches_of_projects_that_come_and_go_are_watched_by_one_thread(data: Path, tmp_path: Path) -> None:
    async with staged(data) as stage:
        assert THREAD not in {thread.name for thread in threading.enumerate()}
        one, other = make_repository(tmp_path / "one"), make_repository(tmp_path / "other")
        git(other, "branch", "release/1")
        first = await stage.add(one)
        await stage.watches(one)
        second = await stage.add(other, "release/1")
        await stage.watches(one, other)
        git(one, "commit", "-q", "--allow-empty", "-m", "x")
        await stage.until(lambda: stage.moved == [first.id])
        git(other, "commit", "-q", "--allow-empty", "-m", "of another branch")
        git(other, "update-ref", "refs/heads/release/1", "main")
        await stage.until(lambda: stage.moved == [first.id, second.id])
        # Git takes the folder of the branch away when it packs it, and makes it again.
        git(other, "pack-refs", "--all")
        git(other, "update-ref", "refs/heads/release/1", "main~1")
        await stage.until(lambda: stage.moved[-1] == second.id and len(stage.moved) > 2)
        before = len(stage.moved)
        changed = await stage.core.db.write(projects.edit, second.id, stage.core.clock.now(), base_branch="main")
        stage.core.bus.publish(ProjectChanged(changed))
        await stage.until(lambda: str(other / ".git/refs/heads/release") not in stage._paths())
        await stage.watches(one, other)
        git(other, "commit", "-q", "--allow-empty", "-m", "y")
        await stage.until(lambda: stage.moved[before:] == [second.id])
        await stage.core.db.write(projects.archive, second.id, stage.core.clock.now())
        stage.core.bus.publish(ProjectRemoved(second.id))
        await stage.watches(one)
        assert [thread.name for thread in threading.enumerate()].count(THREAD) >= 1
    assert THREAD not in {thread.name for thread in threading.enumerate()}


async def test_what_moved_while_the_system_could_not_watch_is_found_when_it_can(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = watchfiles._rust_notify.RustNotify
    full = True

    def limited(*arguments: Any) -> Any:
        if full:
            raise OSError(28, "OS file watch limit reached.")
        return real(*arguments)

    monkeypatch.setattr(watchfiles._rust_notify, "RustNotify", limited)
    async with staged(data) as stage:
        project = await stage.add(make_repository(tmp_path / "one"))
        await stage.until(lambda: "cannot be watched for now" in caplog.text)
        git(tmp_path / "one", "commit", "-q", "--allow-empty", "-m", "x")
        await stage.until(lambda: stage.moved == [project.id])
        full = False
        await stage.watches(tmp_path / "one")
        git(tmp_path / "one", "commit", "-q", "--allow-empty", "-m", "y")
        await stage.until(lambda: stage.moved == [project.id, project.id])


async def test_a_watch_that_breaks_begins_anew(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = watchfiles._rust_notify.RustNotify
    broken = False

    class Breaking:
        def __init__(self, *arguments: Any) -> None:
            self._real = real(*arguments)

        def __enter__(self) -> Breaking:
            return self

        def __exit__(self, *about: object) -> None:
            self._real.close()

        def watch(self, *arguments: Any) -> Any:
            nonlocal broken
            if not broken:
                broken = True
                raise watchfiles._rust_notify.WatchfilesRustInternalError("it broke")
            return self._real.watch(*arguments)

    monkeypatch.setattr(watchfiles._rust_notify, "RustNotify", Breaking)
    async with staged(data) as stage:
        project = await stage.add(make_repository(tmp_path / "one"))
        await stage.until(lambda: broken)
        await stage.watches(tmp_path / "one")
        git(tmp_path / "one", "commit", "-q", "--allow-empty", "-m", "x")
        await stage.until(lambda: stage.moved == [project.id])
