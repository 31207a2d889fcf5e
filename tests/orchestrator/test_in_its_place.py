"""What lies in the place of a card's worktree and is not ours is never written into, and no agent runs there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.domain.board import Column
from agentpane.domain.runs import RunStatus
from agentpane.errors import AgentPaneError, ErrorCode
from tests.backends.wire import use
from tests.orchestrator.conftest import Bench, git, make_repository, running, scripted
from tests.orchestrator.test_resolving import CARD, DONE, conflicted, place, refs


@contextmanager
def instead(worktree: Path, beside: Path, *, another_repository: bool) -> Iterator[None]:
    """Something of the person's in the worktree's place, which afterwards has to be as it was."""
    worktree.rename(beside)
    if another_repository:
        make_repository(worktree, {"a.txt": "theirs\n", "p.txt": "precious\n"})
    else:
        worktree.mkdir()
        (worktree / "p.txt").write_text("precious\n")
    before = {path: path.read_bytes() for path in worktree.rglob("*") if path.is_file()}
    yield
    assert {path: path.read_bytes() for path in worktree.rglob("*") if path.is_file()} == before
    worktree.rename(beside.with_name(f"{beside.name}-theirs"))
    beside.rename(worktree)


async def refused(bench: Bench, *asked: object) -> None:
    for command in asked:
        with pytest.raises(AgentPaneError) as caught:
            await bench.engine.do(command)  # type: ignore[call-overload]
        assert caught.value.code is ErrorCode.WORKTREE_NOT_FOUND and "left alone" in caught.value.message, command


async def test_a_folder_in_a_worktrees_place_is_left_alone_by_whatever_would_write_into_it(
    data: Path, repository: Path, tmp_path: Path
) -> None:
    more = [use("Write", file_path="more.txt", content="more\n")]
    with scripted(CARD, DONE, more, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            worktree, card = place(task), task.card.id
            hand_over, abandon = c.HandOverConflict(card, server.environment), c.AbandonResolution(card)
            with instead(worktree, tmp_path / "one", another_repository=False):
                await refused(bench, c.WriteConflict(card), hand_over)
                assert (await bench.engine.do(c.GetTask(card))).card.resolving is None and refs(repository) == ""
            await bench.engine.do(c.WriteConflict(card))
            with instead(worktree, tmp_path / "two", another_repository=True):
                await refused(bench, c.WriteConflict(card), hand_over, c.TakeResolution(card), abandon)
            await bench.engine.do(abandon)

            with instead(worktree, tmp_path / "three", another_repository=True):
                await bench.engine.do(c.Reject(card, "Once more.", environment=server.environment))
                stopped = await bench.settled(task)
                assert stopped.runs[-1].status is RunStatus.ERROR
                assert stopped.runs[-1].error is not None and len(server.requests) == 2
                assert stopped.runs[-1].error.code == ErrorCode.WORKTREE_NOT_FOUND
                await refused(bench, c.ResumeRun(card, afresh=True, environment=server.environment))
            await bench.engine.do(c.ResumeRun(card, environment=server.environment))
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert (place(done) / "more.txt").exists() and git(worktree, "status", "--porcelain") == ""
