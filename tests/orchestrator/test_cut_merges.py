"""Merges that were cut off: what a person decides meanwhile holds, and none stays open for ever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentpane.api import commands as c
from agentpane.db import merges
from agentpane.domain.board import Column
from agentpane.domain.merges import MergeState
from agentpane.domain.review import ApproveResult
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from tests.backends.wire import say, use
from tests.orchestrator.conftest import Bench, git, running, scripted

WRITE = [use("Write", file_path="new.txt", content="hello\n"), use("Write", file_path="zz.txt", content="zz\n")]
DONE = [say("Done.")]


async def cut_off(bench: Bench, task: Task, repository: Path, before: timedelta = timedelta()) -> None:
    """What an engine that was killed together with its git leaves: an intent and a half changed checkout."""
    core, old = bench.engine.services.core, git(repository, "rev-parse", "main")
    new = merges.NewMerge(
        task.card.id, task.card.project_id, "main", old, task.snapshot or "", task.snapshot or "", "ff", str(repository)
    )
    await core.db.write(merges.intend, new, core.clock.now() - before)
    (repository / "new.txt").write_text("hello\n")
    (repository / "zz.txt").write_text("z")
    (repository / ".git/index.lock").touch()


async def states(bench: Bench, task: Task) -> list[MergeState]:
    return [merge.state for merge in await bench.engine.services.core.db.read(merges.for_task, task.card.id)]


async def test_a_merge_that_was_cut_off_goes_forward_only_where_its_card_still_waits_for_it(
    data: Path, repository: Path
) -> None:
    with scripted(WRITE, DONE, [use("Write", file_path="b.txt", content="b\n")], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            old = git(repository, "rev-parse", "main")
            await cut_off(bench, task, repository)
            await bench.engine.do(c.Reject(task.card.id, "Not like this.", environment=server.environment))
            assert await states(bench, task) == [MergeState.ROLLED_BACK]
            assert git(repository, "status", "--porcelain") == ""
            again = await bench.reviewed(task)
            await cut_off(bench, task, repository)  # as a backup of the database brings it back
            await bench.engine.services.recovery.run()
            assert await states(bench, task) == [MergeState.ROLLED_BACK] * 2
            assert git(repository, "rev-parse", "main") == old and git(repository, "status", "--porcelain") == ""
            assert again.worktree is not None and (Path(again.worktree) / "new.txt").exists()
            await cut_off(bench, again, repository)
            await bench.engine.services.recovery.run()
            assert (await states(bench, task))[-1] is MergeState.DONE
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.VERIFIED
            assert git(repository, "status", "--porcelain") == "" and (repository / "zz.txt").read_text() == "zz\n"


async def test_an_open_merge_is_shown_and_settled_and_an_undo_is_done_though_its_worktree_stays(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*given: Any) -> str:
        raise AgentPaneError(ErrorCode.WORKTREE_REMOVAL_FAILED, "A file cannot be read. Nothing was discarded.")

    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            old = git(repository, "rev-parse", "main")
            await cut_off(bench, task, repository, timedelta(hours=1))
            async with bench.engine.services.core.task_locks.of(task.card.id):
                (told,) = [
                    each for each in (await bench.engine.do(c.Doctor())).findings if "merge" in each.what.lower()
                ]
            assert (told.code, told.notice, told.repairable) == (ErrorCode.RESOURCE_LOCKED, False, False)
            assert "is being settled" in told.what
            (repository / "new.txt").write_text("mine\n")
            shown = [each for each in (await bench.engine.do(c.Doctor())).findings if "MERGE" in each.code]
            outcome = (await bench.engine.do(c.Repair((shown[0].id,)))).repairs[0]
            assert outcome.done and "new.txt" in outcome.words
            assert git(repository, "status", "--porcelain") == "?? new.txt"
            assert (repository / "new.txt").read_text() == "mine\n"
            (repository / "new.txt").unlink()
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            assert await states(bench, task) == [MergeState.ROLLED_BACK, MergeState.DONE]
            task = await bench.engine.do(c.Undo(task.card.id))
            monkeypatch.setattr(RecoveryBin, "keep", refuse)
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            assert task.worktree is not None
            git(Path(task.worktree), "commit", "-q", "--allow-empty", "-m", "after")
            undone = await bench.engine.do(c.Undo(task.card.id))
            assert undone.card.column is Column.WAITING_APPROVAL and git(repository, "rev-parse", "main") == old
            notes = [event.data for event in await bench.session(undone) if event.kind is EventKind.STATE]
            assert notes[-1]["state"] == "worktree_stays"
