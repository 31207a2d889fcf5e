"""Cards that are done with leave the board and come back to it, and nothing acts on them meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.api import events as e
from agentpane.api.command import Command
from agentpane.db import merges
from agentpane.domain.board import Column
from agentpane.domain.merges import MergeKind
from agentpane.domain.review import MergeStrategy
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from tests.orchestrator.conftest import BOUND, Bench, git, make_repository, running, scripted
from tests.orchestrator.test_keeping import paused
from tests.orchestrator.test_undo import DONE, WRITE, approved


async def shown(bench: Bench, task: Task, *, archived: bool = False) -> list[str]:
    return [card.id for card in await bench.engine.do(c.ListTasks(task.card.project_id, archived=archived))]


async def refused(bench: Bench, command: Command[Task]) -> AgentPaneError:
    with pytest.raises(AgentPaneError) as caught:
        await bench.engine.do(command)
    assert caught.value.code is ErrorCode.TASK_INVALID_TRANSITION
    return caught.value


async def test_a_merged_card_leaves_the_board_and_its_merge_can_be_undone_once_it_is_back(
    data: Path, repository: Path
) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await approved(bench, repository)
            archived = await bench.engine.do(c.ArchiveTask(task.card.id))
            assert archived.card.archived_at is not None and archived.card.column is Column.VERIFIED
            assert (await shown(bench, task), await shown(bench, task, archived=True)) == ([], [task.card.id])
            assert await bench.session(task)
            merged = git(repository, "rev-parse", "main")
            acts = (c.Undo, c.ArchiveTask, partial(c.MoveTask, column=Column.VERIFIED, position=0))
            for act in (*acts, partial(c.EditTask, labels=("late",))):
                assert f"task unarchive {task.card.id}" in (await refused(bench, act(task.card.id))).hint
            assert git(repository, "rev-parse", "main") == merged
            back = await bench.engine.do(c.UnarchiveTask(task.card.id))
            assert (back.card.archived_at, back.card.column, back.card.position) == (None, Column.VERIFIED, 0)
            assert await shown(bench, task) == [task.card.id]
            assert (await bench.engine.do(c.UnarchiveTask(task.card.id))).card == back.card
            assert (await bench.engine.do(c.Undo(task.card.id))).card.column is Column.WAITING_APPROVAL


async def test_a_card_of_the_backlog_is_archived_whether_it_was_run_or_not(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            first, second, third = [await bench.card(project, title) for title in ("First", "Second", "Third")]
            ran = await bench.reviewed(await bench.start(first))
            await bench.engine.do(c.CancelTask(ran.card.id, True))
            deleting = c.DeleteTask(ran.card.id)
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(deleting)
            assert caught.value.code is ErrorCode.TASK_NOT_IN_COLUMN
            assert f"task archive {ran.card.id}" in caught.value.hint
            for task in (ran, second):
                await bench.engine.do(c.ArchiveTask(task.card.id))
            assert await shown(bench, third) == [third.card.id]
            assert await shown(bench, third, archived=True) == [second.card.id, ran.card.id]
            assert (await bench.engine.do(c.GetTask(third.card.id))).card.position == 0
            for command in (c.StartRun(second.card.id), c.DeleteTask(second.card.id)):
                await refused(bench, command)
            await bench.engine.do(c.UnarchiveTask(ran.card.id))
            assert await shown(bench, third) == [ran.card.id, third.card.id]
            assert await shown(bench, third, archived=True) == [second.card.id]
            assert (await bench.engine.do(c.DeleteTask(third.card.id))).card.id == third.card.id


async def test_a_card_at_work_in_review_or_with_restored_work_stays_on_the_board(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            assert "In Progress" in (await refused(bench, c.ArchiveTask(task.card.id))).message
            await bench.engine.do(c.CancelTask(task.card.id))
            (kept,) = await bench.engine.do(c.ListRecoveries())
            work = await bench.engine.do(c.RestoreRecovery(kept.id))
            assert work.path in (await refused(bench, c.ArchiveTask(task.card.id))).message
            assert await shown(bench, task) == [task.card.id]
            assert (Path(work.path) / "new.txt").read_text() == "hello\n"


async def test_what_is_kept_of_an_archived_card_is_restored_beside_it(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            await bench.engine.do(c.CancelTask(task.card.id))
            await bench.engine.do(c.ArchiveTask(task.card.id))
            (kept,) = await bench.engine.do(c.ListRecoveries())
            work = await bench.engine.do(c.RestoreRecovery(kept.id))
            assert work.task_id is None and (Path(work.path) / "new.txt").read_text() == "hello\n"
            after = await bench.engine.do(c.GetTask(task.card.id))
            assert (after.worktree, after.card.archived_at is not None) == (None, True)


async def test_a_card_whose_merge_is_not_settled_stays_on_the_board(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await approved(bench, repository)
            (done,) = await bench.engine.services.core.db.read(merges.for_task, task.card.id)

            def cut_off(connection: merges.Connection) -> None:
                new = merges.NewMerge(
                    task.card.id, task.card.project_id, done.target_ref, done.new_sha, done.old_sha, done.reviewed_sha,
                    MergeStrategy.MERGE, None, kind=MergeKind.UNDO,
                )  # fmt: skip
                merges.finish(
                    connection, merges.intend(connection, new, task.created_at), "needs_person", task.created_at
                )

            await bench.engine.services.core.db.write(cut_off)
            assert "not settled" in (await refused(bench, c.ArchiveTask(task.card.id))).message
            assert await shown(bench, task) == [task.card.id]


async def test_who_listens_hears_which_card_went_and_which_moved_up(data: Path, repository: Path) -> None:
    with scripted() as server:
        async with running(data, server.environment) as bench, asyncio.timeout(BOUND):
            project = await bench.project(repository)
            below = await bench.card(project, "Below")
            above = await bench.card(project, "Above")
            news = bench.engine.events()
            await bench.engine.do(c.ArchiveTask(above.card.id))
            gone = e.TaskRemoved(above.card.id, project.id, ((below.card.id, 0),))
            async for each in news:
                if isinstance(each, e.Published) and isinstance(each.event, e.TaskRemoved):
                    assert each.event == gone
                    break
            await bench.engine.do(c.UnarchiveTask(above.card.id))
            async for each in news:
                if isinstance(each, e.Published) and isinstance(each.event, e.TaskChanged):
                    assert (each.event.card.id, each.event.renumbered) == (above.card.id, ((below.card.id, 1),))
                    break


async def test_the_cards_of_a_project_that_was_removed_do_not_bring_it_back(data: Path, repository: Path) -> None:
    with scripted() as server:
        async with running(data, server.environment) as bench, asyncio.timeout(BOUND):
            project = await bench.project(repository)
            card = await bench.card(project)
            await bench.engine.do(c.ArchiveTask(card.card.id))
            await bench.engine.do(c.RemoveProject(project.id))
            news = bench.engine.events()
            await bench.engine.do(c.UnarchiveTask(card.card.id))
            other = await bench.project(make_repository(repository.with_name("other")))
            heard = []
            async for each in news:
                if isinstance(each, e.Published) and isinstance(each.event, e.ProjectChanged):
                    heard.append(each.event.project.id)
                    if each.event.project.id == other.id:
                        break
            assert project.id not in heard
