"""Merges that were cut off: what a person decides meanwhile holds, and none stays open for ever."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
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
from agentpane.orchestrator.merging.checks import Checks
from agentpane.orchestrator.merging.merge_gate import Gate
from agentpane.orchestrator.workspaces.mending import Mending
from agentpane.worktrees import MergeRecovery, RecoveryOutcome
from agentpane.worktrees.merging import moving
from agentpane.worktrees.merging.checkout import CutShort
from tests.backends.wire import say, use
from tests.orchestrator.conftest import Bench, git, running, scripted

WRITE = [use("Write", file_path="new.txt", content="hello\n"), use("Write", file_path="zz.txt", content="zz\n")]
OTHER = [use("Write", file_path="other.txt", content="other\n")]
FILES = {"new.txt", "zz.txt"}
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


async def two_cards(bench: Bench, repository: Path, other: Mapping[str, str]) -> tuple[Task, Task]:
    """Two that wait for approval, and have nothing in common but their target."""
    project = await bench.engine.do(c.AddProject(str(repository), base_branch="main"))
    one = await bench.reviewed(await bench.start(await bench.card(project, "One")))
    card = await bench.card(project, "Two")
    return one, await bench.reviewed(await bench.engine.do(c.StartRun(card.card.id, environment=other)))


async def test_a_merge_that_is_cut_short_and_cannot_be_settled_at_once_stays_open_and_is_settled_by_the_next_try(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))

            async def gives_up(*given: object) -> CutShort:
                (repository / "new.txt").write_text("hello\n")
                return CutShort()

            async def asks(*given: object) -> MergeRecovery:
                return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, "Files were written again and again.")

            with monkeypatch.context() as patched:
                patched.setattr(moving, "fast_forward", gives_up)
                patched.setattr(moving, "recover_merge", asks)
                refused = await bench.engine.do(c.Approve(task.card.id))
            assert (refused.result, refused.code) == (ApproveResult.REFUSED, ErrorCode.MERGE_CHECKOUT_DIRTY)
            (left,) = await bench.engine.services.core.db.read(merges.unsettled)
            assert left.state is MergeState.INTENT
            assert "merged already" in (await bench.engine.do(c.Approve(task.card.id))).message
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.VERIFIED
            assert git(repository, "status", "--porcelain") == ""


async def killed_before_the_branch(bench: Bench, task: Task, checkout: Path) -> None:
    """What an engine leaves that dies with its git when index and files of the checkout are written."""
    core, old = bench.engine.services.core, git(checkout, "rev-parse", "main")
    tree = git(checkout, "merge-tree", "--write-tree", old, str(task.snapshot))
    new = git(checkout, "commit-tree", tree, "-p", old, "-p", str(task.snapshot), "-m", "merge")
    card = task.card
    made = merges.NewMerge(card.id, card.project_id, "main", old, new, str(task.snapshot), "merge", str(checkout))
    await core.db.write(merges.intend, made, core.clock.now())
    git(checkout, "read-tree", "-m", "-u", old, new)


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


async def test_what_comes_before_the_engine_has_settled_everything_finds_the_other_cards_merge_settled(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(WRITE, DONE) as server, scripted(OTHER, DONE) as other:
        async with running(data, server.environment) as bench:
            one, two = await two_cards(bench, repository, other.environment)
            assert (await bench.engine.do(c.Approve(two.card.id))).result is ApproveResult.MERGED
            await killed_before_the_branch(bench, one, repository)
            (repository / "README.md").write_text("# Mine, not committed\n")
        never = asyncio.Event()

        async def wait(mending: Mending) -> None:
            await never.wait()

        monkeypatch.setattr(Mending, "unlock", wait)
        async with running(data, server.environment) as bench:
            undone = await bench.engine.do(c.Undo(two.card.id))
            assert undone.card.column is Column.WAITING_APPROVAL
            assert await states(bench, one) == [MergeState.DONE]
            assert (await bench.engine.do(c.GetTask(one.card.id))).card.column is Column.VERIFIED
            assert set(git(repository, "ls-tree", "--name-only", "main").split()) == {"README.md", "a.txt", *FILES}
            assert git(repository, "status", "--porcelain") == "M README.md"


async def test_a_merge_whose_checkout_is_away_stays_open_and_no_other_goes_ahead_of_it(
    data: Path, repository: Path, tmp_path: Path
) -> None:
    there, away = tmp_path / "on a disk", tmp_path / "not mounted"
    git(repository, "switch", "-q", "-c", "mine")
    git(repository, "worktree", "add", "-q", str(there), "main")
    with scripted(WRITE, DONE) as server, scripted(OTHER, DONE) as other:
        async with running(data, server.environment) as bench:
            one, two = await two_cards(bench, repository, other.environment)
            old = git(repository, "rev-parse", "main")
            await killed_before_the_branch(bench, one, there)
            there.rename(away)
            there.mkdir()  # where it would be mounted
            await bench.engine.services.recovery.run()
            refused = await bench.engine.do(c.Approve(two.card.id))
            assert (refused.result, refused.code) == (ApproveResult.REFUSED, ErrorCode.WORKTREE_NOT_FOUND)
            assert str(there) in refused.message and "Nothing has been changed" in refused.message
            assert (await bench.engine.do(c.GetTask(two.card.id))).card.code == ErrorCode.WORKTREE_NOT_FOUND
            assert await states(bench, one) == [MergeState.INTENT] and await states(bench, two) == []
            assert git(repository, "rev-parse", "main") == old and list(there.iterdir()) == []
            there.rmdir()
            away.rename(there)
            assert (await bench.engine.do(c.Approve(two.card.id))).result is ApproveResult.MERGED
            assert await states(bench, one) == await states(bench, two) == [MergeState.DONE]
            assert git(there, "status", "--porcelain") == "" and FILES | {"other.txt"} <= set(os.listdir(there))


async def test_a_merge_that_is_cut_off_while_another_is_checked_is_settled_before_that_one_moves_anything(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Checks.gate

    async def gate(checks: Checks, task: Task, *given: Any) -> Gate:
        found = await real(checks, task, *given)
        if task.card.id == two.card.id and not await states(bench, one):
            await killed_before_the_branch(bench, one, repository)
            git(repository, "switch", "-q", "-c", "elsewhere")
        return found

    with scripted(WRITE, DONE) as server, scripted(OTHER, DONE) as other:
        async with running(data, server.environment) as bench:
            one, two = await two_cards(bench, repository, other.environment)
            old = git(repository, "rev-parse", "main")
            monkeypatch.setattr(Checks, "gate", gate)
            for _ in range(2):
                refused = await bench.engine.do(c.Approve(two.card.id))
                assert (refused.result, refused.code) == (ApproveResult.REFUSED, ErrorCode.MERGE_CHECKOUT_DIRTY)
                assert str(repository) in refused.message and "doctor --fix" in refused.hint
                assert await states(bench, one) == [MergeState.NEEDS_PERSON]
                assert git(repository, "rev-parse", "main") == old
            git(repository, "switch", "-q", "main")
            assert (await bench.engine.do(c.Approve(two.card.id))).result is ApproveResult.MERGED
            assert await states(bench, one) == await states(bench, two) == [MergeState.DONE]
            assert git(repository, "status", "--porcelain") == ""
