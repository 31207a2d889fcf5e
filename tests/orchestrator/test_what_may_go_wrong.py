"""Acts at the same time, and surroundings that change under us: nothing is lost and nothing gets stuck."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from agentpane.api import commands as c
from agentpane.clock import SystemClock
from agentpane.db import worktrees
from agentpane.domain.board import Column
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.side_jobs import SideJobs
from tests.backends.wire import Answer, Failure, Reply, ScriptedServer, say, use
from tests.orchestrator.conftest import git, running, scripted

WRITE = [use("Write", file_path="new.txt", content="hello\n")]
DONE = [say("Done.")]


async def test_a_start_and_a_reorder_at_once_leave_the_card_where_its_run_is(data: Path, repository: Path) -> None:
    with ScriptedServer([DONE], delay=0.05) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            cards = [await bench.card(project, f"Card {number}") for number in range(12)]
            for card in cards:
                reorder = c.MoveTask(card.card.id, Column.BACKLOG, 0)
                await asyncio.gather(bench.start(card), bench.engine.do(reorder), return_exceptions=True)
            for card in cards:
                now = await bench.engine.do(c.GetTask(card.card.id))
                assert (now.card.column, len(now.runs)) == (Column.IN_PROGRESS, 1)


async def test_a_start_and_a_delete_at_once_have_one_winner(data: Path, repository: Path) -> None:
    with ScriptedServer([DONE], delay=0.05) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            for number in range(12):
                card = await bench.card(project, f"Card {number}")
                outcomes = await asyncio.gather(
                    bench.start(card), bench.engine.do(c.DeleteTask(card.card.id)), return_exceptions=True
                )
                failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
                assert len(failures) == 1
                assert isinstance(failures[0], AgentPaneError)
                assert failures[0].code in {ErrorCode.TASK_NOT_FOUND, ErrorCode.TASK_NOT_IN_COLUMN}


@pytest.mark.parametrize("how", ["by git", "by hand"])
async def test_a_card_whose_worktree_is_gone_can_be_cancelled(data: Path, repository: Path, how: str) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            assert task.worktree is not None
            if how == "by git":
                git(repository, "worktree", "remove", "--force", task.worktree)
            else:
                shutil.rmtree(task.worktree)
            cancelled = await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            assert (cancelled.card.column, cancelled.worktree) == (Column.BACKLOG, None)
            assert task.branch is not None
            assert git(repository, "rev-parse", task.branch) == task.snapshot


async def test_a_folder_in_the_worktrees_place_is_left_alone_and_the_card_can_be_cancelled(
    data: Path, repository: Path
) -> None:
    (repository / ".worktrees").write_text("a file, not a folder\n")
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
            assert task.runs[-1].error is not None
            assert task.runs[-1].error.code == ErrorCode.WORKTREE_CREATION_FAILED
            cancelled = await bench.engine.do(c.CancelTask(task.card.id))
            assert cancelled.card.column is Column.BACKLOG
            assert (repository / ".worktrees").read_text() == "a file, not a folder\n"
            (repository / ".worktrees").unlink()
            await bench.reviewed(await bench.start(cancelled))


async def test_a_project_whose_repository_is_gone_can_leave_the_board(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            task = await bench.reviewed(await bench.start(await bench.card(project)))
            moved = repository.rename(repository.with_name("elsewhere"))
            await bench.engine.do(c.RemoveProject(project.id))
            assert project.id not in [left.id for left in await bench.engine.do(c.ListProjects())]
            assert task.branch is not None
            assert git(moved, "rev-parse", task.branch) == task.snapshot


async def test_a_restored_database_has_no_run_that_nobody_plays(data: Path, repository: Path, tmp_path: Path) -> None:
    slow = [use("Bash", command="sleep 60")]
    with scripted(slow) as server:
        async with running(data, server.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)))
            await bench.until(task, lambda now: now.runs[-1].turns == 1)
            await bench.engine.do(c.BackupDatabase(str(tmp_path / "backup.db")))
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(c.RestoreDatabase(str(tmp_path / "backup.db")))
            assert caught.value.code is ErrorCode.PROJECT_HAS_RUNNING_AGENTS
            await bench.engine.do(c.CancelTask(task.card.id))
            with closing(sqlite3.connect(tmp_path / "backup.db")) as backup, backup:
                backup.execute("UPDATE worktrees SET status = 'removing'")
            (before,) = side_jobs()
            await bench.engine.do(c.RestoreDatabase(str(tmp_path / "backup.db")))
            restored = await bench.engine.do(c.GetTask(task.card.id))
            assert restored.runs[-1].status is RunStatus.INTERRUPTED
            row = await bench.engine.services.core.db.read(worktrees.for_task, task.card.id)
            assert row is not None and row.status is WorktreeStatus.REMOVED  # it was settled, as when an engine starts
            (after,) = side_jobs()  # what knew the rows from before has ended
            assert before.done() and after is not before
            assert (await bench.engine.do(c.VerifyAudit())).ok


def side_jobs() -> list[asyncio.Task[object]]:
    return [job for job in asyncio.all_tasks() if job.get_name() == "housekeeping"]


async def test_what_fails_beside_the_runs_begins_again_and_ends_nothing_else() -> None:
    begun = asyncio.Semaphore(0)

    async def fail() -> None:
        begun.release()
        raise KeyError("nobody foresaw it")

    async def go_on() -> None:
        await asyncio.Event().wait()

    class Soon(SystemClock):
        @override
        async def sleep(self, seconds: float) -> None:
            await super().sleep(0)

    jobs = SideJobs(Soon(), {"fails": fail, "goes on": go_on})
    jobs.start()
    async with asyncio.timeout(10):
        for _ in range(2):
            await begun.acquire()
    assert (await jobs.end(), await jobs.end()) == (True, False)


async def test_the_audit_of_a_purged_project_is_still_read(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        await bench.engine.do(c.RemoveProject(project.id, purge=True))
        entries = await bench.engine.do(c.ListAudit(project.id))
        assert [entry.record.tool for entry in entries] == ["project.add", "project.remove"]
        assert await bench.engine.do(c.ListAudit(project.id, after=entries[-1].number)) == ()
        with pytest.raises(AgentPaneError):
            await bench.engine.do(c.ListAudit("nothing"))


async def test_a_call_that_was_stopped_is_in_the_audit_log(data: Path, repository: Path) -> None:
    with scripted([use("Bash", command="touch made; sleep 60")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)))
            await bench.until(task, lambda now: now.worktree is not None and (Path(now.worktree) / "made").exists())
            await bench.engine.do(c.CancelTask(task.card.id))
            entries = await bench.engine.do(c.ListAudit(task.card.project_id))
            (bash,) = [entry.record for entry in entries if entry.record.tool == "Bash"]
            assert bash.error is not None and "unknown" in bash.error
            assert bash.output is not None and bash.output["sandbox_tier"] == "A"


async def test_changed_settings_and_keys_are_in_the_audit_log_without_the_key(data: Path) -> None:
    async with running(data, {}) as bench:
        before = await bench.engine.do(c.GetSettings())
        await bench.engine.do(c.ChangeSettings(replace(before, theme="dark")))
        await bench.engine.do(c.StoreKey("sk-secret"))
        entries = await bench.engine.do(c.ListAudit("agentpane"))
        assert [entry.record.tool for entry in entries] == ["setting", "key.store"]
        assert entries[0].record.input == {"theme": "dark"}
        assert "sk-secret" not in str(entries)


async def test_a_message_during_the_last_turn_is_read_before_the_work_counts_as_done(
    data: Path, repository: Path
) -> None:
    with ScriptedServer([WRITE, [say("Done, I think. " * 20)], DONE], delay=0.02) as server:
        async with running(data, server.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)))
            await bench.until(task, lambda now: len(server.requests) == 2)
            await bench.engine.do(c.Answer(task.card.id, "One more thing"))
            await bench.reviewed(task)
            assert "One more thing" in str(server.requests[-1].messages[-1])


async def test_a_spent_account_pauses_its_other_runs_too(data: Path, repository: Path) -> None:
    spent = Failure(
        429,
        "rate_limit_error",
        "Your organization has reached its spend limit.",
        details={"error_code": "enforced_spend_limit_reached"},
    )
    look = [use("Bash", command="until [ -e go ]; do sleep 0.05; done")]
    with ScriptedServer(script=lambda number, body: _first_waits(body, look, spent)) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            waiting = await bench.start(await bench.card(project, "Waits"))
            working = await bench.until(waiting, lambda now: now.runs[-1].turns == 1)
            other = await bench.settled(await bench.start(await bench.card(project, "Spends")))
            assert (other.runs[-1].status, other.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.SPEND_LIMIT)
            assert working.worktree is not None
            (Path(working.worktree) / "go").touch()
            paused = await bench.settled(waiting)
            assert paused.runs[-1].pause_reason is PauseReason.SPEND_LIMIT


def _first_waits(body: object, look: list[dict[str, object]], spent: Failure) -> object:
    from tests.backends.wire import Answer

    assert isinstance(body, dict)
    return Answer(look) if "Waits" in str(body["messages"]) else spent  # type: ignore[arg-type]


async def test_a_nested_repository_stops_the_run_and_the_agent_is_told_on_resume(data: Path, repository: Path) -> None:
    nest = [use("Bash", command="mkdir inner && cd inner && git init -q . && touch x")]
    mend = [use("Bash", command="rm -rf inner && touch mended.txt")]
    with scripted(nest, DONE, mend, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
            assert task.runs[-1].error is not None
            assert task.runs[-1].error.code == ErrorCode.WORKTREE_NESTED_REPO
            await bench.engine.do(c.ResumeRun(task.card.id, environment=bench.environment))
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert done.card.files_changed == 1
            assert "could not be taken" in str(server.requests[2].messages[-1])


async def test_a_worktree_deleted_under_a_run_is_made_anew_and_the_agent_is_told_what_is_gone(
    data: Path, repository: Path
) -> None:
    more = [use("Write", file_path="more.txt", content="more\n")]

    def model(number: int, body: Mapping[str, object]) -> Reply:
        if number == 1:
            shutil.rmtree(repository / ".worktrees")
        return Answer([WRITE, DONE, more, DONE][number])

    with ScriptedServer(script=model) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
            assert task.runs[-1].error is not None
            assert task.runs[-1].error.code == ErrorCode.WORKTREE_NOT_FOUND
            await bench.engine.do(c.ResumeRun(task.card.id, environment=bench.environment))
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert done.card.files_changed == 1
    told = str(server.requests[2].messages[-1])
    assert "made anew from its branch" in told and "no snapshot held yet are gone" in told and "Go on" in told
    assert "could not be taken" not in told and "Put that right" not in told


async def test_a_repository_that_is_not_there_refuses_every_act_and_nothing_changes(
    data: Path, repository: Path
) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            waiting = await bench.reviewed(await bench.start(await bench.card(project, "Waits")))
            fresh = await bench.card(project, "Fresh")
            away = repository.rename(repository.with_name("away"))
            for act in (
                bench.start(fresh),
                bench.engine.do(c.Reject(waiting.card.id, "No", environment=bench.environment)),
            ):
                with pytest.raises(AgentPaneError) as caught:
                    await act
                assert caught.value.code is ErrorCode.PROJECT_PATH_INVALID
            outcome = await bench.engine.do(c.Approve(waiting.card.id))
            assert outcome.code == ErrorCode.PROJECT_PATH_INVALID
            found = [each for each in (await bench.engine.do(c.Doctor())).findings if each.code == outcome.code]
            assert len(found) == 1 and found[0].fix.startswith("Move it back there.")
            assert (await bench.engine.do(c.GetTask(fresh.card.id))).card.column is Column.BACKLOG
            unchanged = await bench.engine.do(c.GetTask(waiting.card.id))
            assert (unchanged.snapshot, unchanged.card.rejection_count) == (waiting.snapshot, 0)
            away.rename(repository)
            assert (await bench.engine.do(c.Approve(waiting.card.id))).merge_commit is not None


async def test_a_merged_card_whose_branch_was_deleted_leaves_no_worktree(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            git(repository, "update-ref", "-d", f"refs/heads/{task.branch}")
            assert (await bench.engine.do(c.Approve(task.card.id))).merge_commit is not None
            assert task.worktree is not None and not Path(task.worktree).exists()
            assert len(git(repository, "worktree", "list").splitlines()) == 1
            assert git(repository, "branch", "--list", "agentpane/*") == ""
