"""Whatever refuses a command about a card, its run can go on afterwards, or the command be given again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.db import worktrees
from agentpane.domain.board import Column
from agentpane.domain.review import ApproveResult
from agentpane.domain.runs import RunStatus
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError
from agentpane.worktrees import Worktrees
from tests.backends.wire import say, use
from tests.orchestrator.conftest import Bench, running, scripted
from tests.orchestrator.test_keeping import paused, place
from tests.orchestrator.test_resolving import CARD, conflicted

DONE = [say("Done.")]
Cause = Callable[[Path, Path], AbstractContextManager[None]]  # of a worktree, and of git's record of it
LARGE = 60 * 1024 * 1024


@contextmanager
def large(path: Path, git_dir: Path) -> Iterator[None]:
    with (path / "large.bin").open("wb") as file:
        file.truncate(LARGE)
    yield
    (path / "large.bin").unlink(missing_ok=True)


@contextmanager
def foreign(path: Path, git_dir: Path) -> Iterator[None]:
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    (path / "thesis").write_text("precious")
    yield
    assert (path / "thesis").read_text() == "precious"
    path.rename(path.with_name("the person's"))
    aside.rename(path)
    (path.with_name("the person's") / "thesis").unlink()
    path.with_name("the person's").rmdir()


@contextmanager
def unreadable(path: Path, git_dir: Path) -> Iterator[None]:
    """The superuser can read whatever there is, so the system's answers are given in its place."""
    (path / "secret").write_text("x")
    access = os.access

    async def denied(*given: object) -> None:
        raise PermissionError(13, "Permission denied", "secret")

    with pytest.MonkeyPatch.context() as system:
        system.setattr(os, "access", lambda file, mode: Path(file).name != "secret" and access(file, mode))
        system.setattr(Worktrees, "snapshot", denied)
        yield
    (path / "secret").unlink(missing_ok=True)


@contextmanager
def locked(path: Path, git_dir: Path) -> Iterator[None]:
    locks = [git_dir / "index.lock", git_dir / "HEAD.lock"]
    for lock in locks:
        lock.touch()
    yield
    for lock in locks:
        lock.unlink(missing_ok=True)


async def refused(bench: Bench, task: Task, command: Command[Task], cause: Cause) -> Task:
    """The card after a command was refused for this cause, which is gone again."""
    row = await bench.engine.services.core.db.read(worktrees.for_task, task.card.id)
    assert row is not None and row.git_dir is not None
    with cause(place(task), Path(row.git_dir)), pytest.raises((AgentPaneError, PermissionError)):
        await bench.engine.do(command)
    return await bench.engine.do(c.GetTask(task.card.id))


def stands(task: Task) -> tuple[Column, RunStatus]:
    return task.card.column, task.runs[-1].status


async def test_a_paused_run_goes_on_after_whatever_was_refused(data: Path, repository: Path) -> None:
    writes = [[use("Write", file_path=f"{number}.txt", content="x\n")] for number in range(40)]
    with scripted(*writes) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            (turn,) = await bench.engine.do(c.ListTurns(task.card.id))
            resume = c.ResumeRun(task.card.id, turns=1, environment=bench.environment)
            finish, retry = replace(resume, turns=None, finish=True), replace(resume, afresh=True)
            reset = c.ResetWorktree(task.card.id, turn.sha)
            table: dict[Cause, tuple[Command[Task], ...]] = {
                large: (finish,),
                locked: (finish,),
                unreadable: (finish, reset, retry),
                foreign: (finish, reset, retry),
            }
            for cause, commands in table.items():
                for command in commands:
                    after = await refused(bench, task, command, cause)
                    assert stands(after) == (Column.IN_PROGRESS, RunStatus.PAUSED), (cause, command)
                    assert (place(after) / "0.txt").exists()
                played = await bench.settled(await bench.engine.do(resume))
                assert stands(played) == (Column.IN_PROGRESS, RunStatus.PAUSED), played.runs[-1].error
                assert played.runs[-1].turns == after.runs[-1].turns + 1, cause
            row = await bench.engine.services.core.db.read(worktrees.for_task, task.card.id)
            assert row is not None
            with foreign(place(task), Path(row.git_dir or "")):
                failed = await bench.settled(await bench.engine.do(resume))
            assert failed.runs[-1].status is RunStatus.ERROR
            assert stands(await bench.settled(await bench.engine.do(resume)))[1] is RunStatus.PAUSED
            assert stands(await bench.engine.do(finish))[0] is Column.WAITING_APPROVAL
            await bench.until(task, lambda _: bench.engine.alive_runs == 0)


async def test_a_run_is_not_stopped_for_a_cancel_that_is_refused_or_can_be_resumed(
    data: Path, repository: Path
) -> None:
    def works(now: Task) -> bool:
        return now.runs[-1].status is RunStatus.RUNNING and now.runs[-1].turns > 0

    def sleeping(now: Task) -> bool:  # else what happens to the worktree keeps the command from starting
        return works(now) and (place(now) / "begun").exists()

    sleeps = [use("Bash", command="touch begun; sleep 600")]
    with scripted(*[sleeps for _ in range(9)]) as server:
        async with running(data, server.environment) as bench:
            card = await bench.card(await bench.project(repository))
            cancel = c.CancelTask(card.card.id)
            task = await bench.until(await bench.start(card), sleeping)
            after = await refused(bench, task, cancel, foreign)
            assert works(after) and bench.engine.services.supervisor.active == 1
            after = await refused(bench, task, cancel, unreadable)
            assert stands(after) == (Column.IN_PROGRESS, RunStatus.INTERRUPTED)
            resumed = await bench.engine.do(c.ResumeRun(task.card.id, environment=bench.environment))
            again = await bench.until(resumed, lambda now: works(now) and now.runs[-1].turns > after.runs[-1].turns)
            assert bench.engine.services.supervisor.active == 1

            # One that waits for a place is not forgotten by a cancel that is refused, and starts in its turn.
            project = await bench.engine.do(c.GetProject(task.card.project_id))
            await bench.engine.do(c.EditProject(project.id, max_concurrent_agents=1))
            other = await bench.start(await bench.card(project, "other"))
            async with bench.engine.services.supervisor.stopped(other.runs[-1].id):
                await bench.engine.do(cancel)
                bench.engine.services.supervisor.wake()
            other = await bench.until(other, works)
            assert (await bench.engine.do(c.CancelTask(other.card.id))).card.column is Column.BACKLOG
            assert works(await bench.until(await bench.start(again), works))


async def test_a_conflict_is_gone_on_with_after_whatever_was_refused(data: Path, repository: Path) -> None:
    asks = [use("AskUser", question="Which?")]
    with scripted(CARD, DONE, asks, asks, asks) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
            asked = await bench.until(handed, lambda now: now.runs[-1].status is RunStatus.PAUSED)
            take, write = c.TakeResolution(task.card.id), c.WriteConflict(task.card.id)
            for command in (take, write, c.AbandonResolution(task.card.id)):
                after = await refused(bench, task, command, foreign)
                assert stands(after) == (Column.IN_PROGRESS, RunStatus.PAUSED), command
            answer = c.Answer(task.card.id, "Both.", environment=server.environment)
            told = await bench.until(
                await bench.engine.do(answer), lambda now: now.runs[-1].turns > asked.runs[-1].turns
            )
            await bench.until(told, lambda now: now.runs[-1].status is RunStatus.PAUSED)

            (place(task) / "a.txt").write_text("both\n")
            (place(task) / "bin~main").unlink()
            for cause in (large, unreadable, locked):
                after = await refused(bench, task, take, cause)
                assert after.card.column is Column.WAITING_APPROVAL and after.card.resolving is not None
            assert (await bench.engine.do(take)).card.resolving is None
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            await bench.until(task, lambda _: bench.engine.alive_runs == 0)
