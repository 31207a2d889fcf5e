"""A card whose worktree is elsewhere, or whose repository is: nothing is forgotten without a word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.domain.board import Column
from agentpane.domain.keeping import NOT_KNOWN, Going
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.engine import Engine
from tests.backends.wire import say, use
from tests.orchestrator.conftest import git, running, scripted

WRITE = [use("Write", file_path="new.txt", content="hello\n")]
DONE = [say("Done.")]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class AwayMeanwhile:
    """An engine whose repository is away while a card is cancelled, and at no other time."""

    engine: Engine
    repository: Path

    async def do(self, command: Command[R]) -> R:
        if not isinstance(command, c.PutBack):
            return await self.engine.do(command)
        away = self.repository.rename(self.repository.with_name("elsewhere"))
        try:
            return await self.engine.do(command)
        finally:
            away.rename(self.repository)


async def test_a_card_is_not_cancelled_while_its_worktree_or_another_thing_lies_where_it_should_not(
    data: Path, repository: Path, tmp_path: Path
) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            assert task.worktree is not None
            path = Path(task.worktree)
            (path / "draft").write_text("not committed")
            cancel = c.CancelTask(task.card.id, confirmed=True)

            git(repository, "worktree", "move", str(path), str(tmp_path / "moved"))
            with pytest.raises(AgentPaneError) as moved:
                await bench.engine.do(cancel)
            assert moved.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
            assert str(tmp_path / "moved") in moved.value.message and "doctor --fix" in moved.value.hint

            path.mkdir()
            git(repository, "worktree", "repair")
            git(repository, "worktree", "move", str(tmp_path / "moved"), str(tmp_path / "aside"))
            git(repository, "worktree", "remove", "--force", str(tmp_path / "aside"))
            (path / "thesis").write_text("precious")
            with pytest.raises(AgentPaneError) as foreign:
                await bench.engine.do(cancel)
            assert foreign.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED and "move what lies" in foreign.value.hint
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.WAITING_APPROVAL

            path.rename(tmp_path / "the person's")
            assert (await bench.engine.do(cancel)).card.column is Column.BACKLOG
            assert (tmp_path / "the person's" / "thesis").read_text() == "precious"


async def test_a_card_whose_repository_is_away_is_cancelled_and_told_where_its_worktree_stays(
    data: Path, repository: Path
) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            assert task.worktree is not None
            (Path(task.worktree) / ".gitignore").write_text("*.log\n")
            (Path(task.worktree) / "a.log").touch()
            foresee, away = c.ForeseeCancel(task.card.id), repository.with_name("elsewhere")
            assert await bench.engine.do(foresee) == Going(task.branch, 1, ("a.log",))
            hurried = replace(bench.engine.services.leaving, patience_s=0)
            assert await hurried.foresee(foresee) == NOT_KNOWN
            repository.rename(away)
            assert await bench.engine.do(foresee) == Going(branch_known=False)
            away.rename(repository)
            done = await AwayMeanwhile(bench.engine, repository).do(c.PutBack(task.card.id, confirmed=True))
            assert (done.going, done.kept) == (Going(branch_known=False), None)  # nothing of it went
            cancelled = done.task
            assert (cancelled.card.column, cancelled.worktree) == (Column.BACKLOG, None)
            events = await bench.engine.do(c.ReadSession(task.card.id, 0, 1_000))
            said = [event.data for event in events if event.data.get("state") == "worktree_stays"]
            assert len(said) == 1 and "its repository is away" in str(said[0]["message"])
            assert (Path(task.worktree) / "new.txt").exists()
            assert not (await bench.engine.do(c.Doctor())).ok
