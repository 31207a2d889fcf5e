"""Taking an approval back through the engine's door: the merge goes, the card and its work return."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.db import merges
from agentpane.domain.board import Column
from agentpane.domain.merges import MergeKind, MergeState
from agentpane.domain.review import ApproveResult
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Undone, Worktrees
from tests.backends.wire import say, use
from tests.orchestrator.conftest import Bench, git, running, scripted

WRITE = [use("Write", file_path="new.txt", content="hello\n")]
MORE = [use("Write", file_path="more.txt", content="more\n")]
DONE = [say("Done.")]


async def approved(bench: Bench, repository: Path) -> Task:
    task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
    assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
    return await bench.engine.do(c.GetTask(task.card.id))


async def test_an_approval_is_taken_back_and_the_card_goes_on_from_there(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE, MORE, DONE) as server:
        async with running(data, server.environment) as bench:
            before = git(repository, "rev-parse", "main")
            (repository / "README.md").write_text("# Mine, not committed\n")
            task = await approved(bench, repository)
            undone = await bench.engine.do(c.Undo(task.card.id))
            assert git(repository, "rev-parse", "main") == before
            assert git(repository, "status", "--porcelain") == "M README.md"
            assert (undone.card.column, undone.merge_commit, undone.approved_by) == (
                Column.WAITING_APPROVAL,
                None,
                None,
            )
            assert undone.worktree is not None and (Path(undone.worktree) / "new.txt").read_text() == "hello\n"
            assert git(repository, "branch", "--list", "agentpane/*") != ""
            assert (await bench.engine.do(c.GetDiff(task.card.id))).files[0].path == "new.txt"
            notes = [event.data for event in await bench.session(undone) if event.kind is EventKind.STATE]
            assert notes[-1]["state"] == "undone" and notes[-1]["exact"] is True
            sent_back = await bench.engine.do(c.Reject(task.card.id, "Add more.", environment=server.environment))
            again = await bench.reviewed(sent_back)
            assert again.card.files_changed == 2
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            assert (repository / "more.txt").exists() and (repository / "new.txt").exists()
            entries = await bench.engine.do(c.ListAudit(undone.card.project_id))
            assert [entry.record.tool for entry in entries if entry.record.tool in {"approve", "undo"}] == [
                "approve",
                "undo",
                "approve",
            ]
            assert (await bench.engine.do(c.VerifyAudit())).ok


async def test_what_came_after_stays_and_approving_again_changes_something(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await approved(bench, repository)
            (repository / "later").write_text("x\n")
            git(repository, "add", "later")
            git(repository, "commit", "-q", "-m", "later")
            undone = await bench.engine.do(c.Undo(task.card.id))
            assert not (repository / "new.txt").exists() and (repository / "later").exists()
            assert "Revert" in git(repository, "log", "-1", "--format=%s", "main")
            assert undone.snapshot != task.snapshot and undone.card.files_changed == 1
            assert undone.snapshot is not None
            assert git(repository, "log", "-1", "--format=%s", undone.snapshot) == f"Reapply “{task.card.title}”"
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            assert (repository / "new.txt").read_text() == "hello\n"
            assert (await bench.engine.do(c.Undo(task.card.id))).card.column is Column.WAITING_APPROVAL
            assert not (repository / "new.txt").exists()


async def test_a_card_whose_merge_was_reset_away_by_hand_comes_back_and_can_be_approved_again(
    data: Path, repository: Path
) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            before = git(repository, "rev-parse", "main")
            task = await approved(bench, repository)
            git(repository, "reset", "-q", "--hard", before)
            undone = await bench.engine.do(c.Undo(task.card.id))
            assert (undone.card.column, undone.snapshot) == (Column.WAITING_APPROVAL, task.snapshot)
            assert git(repository, "rev-parse", "main") == before
            assert undone.worktree is not None and (Path(undone.worktree) / "new.txt").read_text() == "hello\n"
            notes = [event.data for event in await bench.session(undone) if event.kind is EventKind.STATE]
            assert (notes[-1]["state"], notes[-1]["exact"], notes[-1]["commit"]) == ("undone", None, before)
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            assert (repository / "new.txt").read_text() == "hello\n"


async def test_only_a_merged_card_can_be_undone_and_a_refusal_changes_nothing(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            card = await bench.card(await bench.project(repository))
            with pytest.raises(AgentPaneError) as early:
                await bench.engine.do(c.Undo(card.card.id))
            assert early.value.code is ErrorCode.TASK_INVALID_TRANSITION
            task = await bench.reviewed(await bench.start(card))
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            (repository / "new.txt").write_text("edited since\n")
            merged = git(repository, "rev-parse", "main")
            with pytest.raises(AgentPaneError) as refused:
                await bench.engine.do(c.Undo(task.card.id))
            assert refused.value.code is ErrorCode.MERGE_CHECKOUT_DIRTY
            assert refused.value.details["paths"] == ["new.txt"]
            assert git(repository, "rev-parse", "main") == merged
            assert (repository / "new.txt").read_text() == "edited since\n"
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.VERIFIED


async def test_a_change_that_was_merged_by_hand_is_approved_and_cannot_be_undone(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            assert task.snapshot is not None
            git(repository, "merge", "-q", "--no-edit", task.snapshot)
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            with pytest.raises(AgentPaneError) as refused:
                await bench.engine.do(c.Undo(task.card.id))
            assert refused.value.code is ErrorCode.MERGE_UNDO_IMPOSSIBLE
            assert (repository / "new.txt").exists()


async def test_an_undo_that_the_engine_did_not_live_to_write_down_is_written_down_by_the_next(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(WRITE, DONE) as server:
        whole = Worktrees.undo

        async def cut_off(*given: object) -> Undone:
            await whole(*given)  # type: ignore[arg-type]
            raise KeyError("the engine ends here")

        async with running(data, server.environment) as bench:
            task = await approved(bench, repository)
            monkeypatch.setattr(Worktrees, "undo", cut_off)
            with pytest.raises(Exception, match="engine"):
                await bench.engine.do(c.Undo(task.card.id))
            monkeypatch.undo()
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.VERIFIED
        async with running(data, server.environment) as bench:
            await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL and now.worktree is not None)
            journal = await bench.engine.services.core.db.read(merges.for_task, task.card.id)
            assert [(entry.kind, entry.state) for entry in journal] == [
                (MergeKind.MERGE, MergeState.DONE),
                (MergeKind.UNDO, MergeState.DONE),
            ]
