"""Conflicts and overlaps that cards show before anybody merges, and that nothing runs while nothing changes."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentpane.api import commands as c
from agentpane.db import foresight, tasks
from agentpane.domain.board import Column
from agentpane.domain.conflicts import Conflict, LineRange, Overlap, OverlapKind
from agentpane.domain.projects import Project
from agentpane.domain.review import ApproveResult
from agentpane.domain.tasks import Task
from agentpane.orchestrator.merging import watching
from agentpane.orchestrator.merging.watching import _Watch
from agentpane.worktrees.git.child import Child
from tests.backends.wire import Block, say, use
from tests.orchestrator.conftest import BOUND, Bench, git, make_repository, running, scripted

TEN = "".join(f"line {number}\n" for number in range(1, 11))
DONE = [say("Done.")]


def writes(**texts: str) -> list[Block]:
    reads = [use("Read", file_path=f"{name}.txt") for name in texts]
    return [*reads, *(use("Write", file_path=f"{name}.txt", content=text) for name, text in texts.items())]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "STEP_MS", 20)
    monkeypatch.setattr(watching, "GATHER_MS", 60)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", {"a.txt": TEN, "b.txt": TEN})


def commit(repository: Path, files: Mapping[str, str], message: str = "more") -> str:
    for name, text in files.items():
        (repository / name).write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", message)
    return git(repository, "rev-parse", "HEAD")


async def waiting(bench: Bench, project: Project, title: str = "Change a.txt") -> Task:
    return await bench.reviewed(await bench.start(await bench.card(project, title)))


async def shows(bench: Bench, task: Task, *conflicts: Conflict) -> Task:
    return await bench.until(task, lambda now: now.card.conflicts == conflicts)


async def test_a_waiting_card_shows_what_it_conflicts_with_however_its_base_branch_moves(
    data: Path, tmp_path: Path, repository: Path
) -> None:
    mine, theirs = TEN.replace("line 5\n", "five\nand more\n"), TEN.replace("line 5\n", "FIVE\n")
    with scripted(writes(a=mine), DONE) as server:
        async with running(data, server.environment) as bench:
            task = await waiting(bench, await bench.project(repository))
            start = git(repository, "rev-parse", "main")
            conflict = Conflict("a.txt", "contents", (LineRange(6, 1),), (LineRange(5, 2),))
            moved = commit(repository, {"a.txt": "first\n" + theirs})
            found = await shows(bench, task, conflict)
            assert [each.path for each in found.card.conflicts] == ["a.txt"] and found.card.code is None
            git(repository, "update-ref", "refs/heads/main", start)
            await shows(bench, task)
            git(repository, "update-ref", "refs/heads/main", moved)
            git(repository, "pack-refs", "--all")
            await shows(bench, task, conflict)
            git(repository, "branch", "-f", "elsewhere", start)
            git(repository, "reset", "-q", "--hard")
            git(repository, "checkout", "-q", "elsewhere")
            git(repository, "branch", "-f", "main", start)
            await shows(bench, task)

            # Away, it says nothing new; it is back with a branch that has moved meanwhile.
            away = repository.rename(tmp_path / "away")
            git(away, "branch", "-f", "main", moved)
            away.rename(repository)
            await shows(bench, task, conflict)
            # A repository made anew at the same place is watched as the first one was.
            clone = tmp_path / "clone"
            git(tmp_path, "clone", "-q", "--no-local", "--mirror", str(repository), str(clone / ".git"))
            git(clone, "config", "core.bare", "false")
            git(clone, "config", "--unset-all", "remote.origin.fetch")
            repository.rename(tmp_path / "old")
            clone.rename(repository)
            git(repository, "update-ref", "refs/heads/main", start)
            await shows(bench, task)
            git(repository, "update-ref", "refs/heads/main", moved)
            await shows(bench, task, conflict)

            outcome = await bench.engine.do(c.Approve(task.card.id))
            assert (outcome.result, outcome.paths) == (ApproveResult.CONFLICTED, ("a.txt",))
            refused = await bench.engine.do(c.GetTask(task.card.id))
            assert (refused.card.conflicts, refused.card.code) == ((conflict,), "MERGE_CONFLICT")
            git(repository, "update-ref", "refs/heads/main", start)
            assert (await shows(bench, task)).card.code is None
    assert not [each for each in threading.enumerate() if each.name == "base-branches" and not _ends(each)]


def _ends(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


async def test_two_cards_that_edit_the_same_lines_show_each_other_while_one_still_works(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stored = foresight.store, list[foresight.Foreseen]()
    monkeypatch.setattr(foresight, "store", lambda on, found, at: stored.extend(found) or store(on, found, at))
    one = writes(a=TEN.replace("line 5\n", "five\n"), b=TEN.replace("line 2\n", ""))
    # The second begins where the base branch has a line more, and asks before it would do more.
    other = writes(a="zero\n" + TEN.replace("line 5\nline 6\n", "V\nVI\n"))
    asks = [use("AskUser", question="Go on?")]
    with scripted(one, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            first = await waiting(bench, project, "One")
            commit(repository, {"a.txt": "zero\n" + TEN})
            server.turns[:] = [other, asks]
            second = await bench.settled(await bench.start(await bench.card(project, "Two")))
            assert second.card.column is Column.IN_PROGRESS
            found = await bench.until(first, lambda now: bool(now.card.overlaps))
            assert found.card.overlaps == (
                Overlap(second.card.id, "Two", "a.txt", (LineRange(5, 1),), OverlapKind.LINES, True),
            )
            seen = await bench.engine.do(c.GetTask(second.card.id))
            assert seen.card.overlaps == (
                Overlap(first.card.id, "One", "a.txt", (LineRange(6, 2),), OverlapKind.LINES, True),
            )
            assert seen.card.conflicts == found.card.conflicts == ()
            await bench.engine.do(c.CancelTask(first.card.id, confirmed=True))
            await bench.until(second, lambda now: now.card.overlaps == ())
            left = await bench.engine.do(c.GetTask(first.card.id))
            assert (left.card.column, left.card.overlaps, left.card.conflicts) == (Column.BACKLOG, (), ())
    # What is found again is not written again: each card's work is looked at with each of the others.
    assert len(stored) == 4 and all(each.is_news for each in stored)


async def test_an_engine_that_starts_finds_what_has_moved_while_none_ran(data: Path, repository: Path) -> None:
    with scripted(writes(a=TEN.replace("line 1\n", "")), DONE) as server:
        async with running(data, server.environment) as bench:
            task = await waiting(bench, await bench.project(repository))
        commit(repository, {"a.txt": TEN.replace("line 2\n", "two\n")})
        async with running(data, server.environment) as bench:
            conflict = Conflict("a.txt", "contents", (LineRange(1, 2),), (LineRange(1, 1),))
            await shows(bench, task, conflict)
            # An approval that is refused for another reason clears what it did not look at.
            core = bench.engine.services.core
            await core.db.write(partial(tasks.set_fields, task_id=task.card.id, at=core.clock.now(), conflicts=()))
            await core.announce_task(task.card.id)
            await shows(bench, task, conflict)


async def test_with_twenty_worktrees_and_nothing_changing_no_git_is_started(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Sequence[str]] = []
    seen: set[str] = set()
    run, see = Child.run, _Watch._see

    def counted(child: Child, *arguments: Any, **named: Any) -> tuple[int, bytes, bytes]:
        started.append(child._command)
        return run(child, *arguments, **named)

    def noticed(watch: _Watch, paths: Collection[str]) -> None:
        see(watch, paths)
        seen.update(paths)

    monkeypatch.setattr(_Watch, "_see", noticed)
    with scripted(writes(a=TEN.replace("line 5\n", "five\n")), DONE) as server:
        async with running(data, server.environment) as bench:
            task = await waiting(bench, await bench.project(repository))
            trees = [repository / ".worktrees" / f"more-{number}" for number in range(19)]
            for number, tree in enumerate(trees):
                git(repository, "worktree", "add", "-q", "-b", f"agentpane/more-{number}", str(tree))
            commit(repository, {"a.txt": TEN.replace("line 5\n", "FIVE\n")})
            await shows(bench, task, Conflict("a.txt", "contents", (LineRange(5, 1),), (LineRange(5, 1),)))
            monkeypatch.setattr(Child, "run", counted)
            quiet = 0
            async with asyncio.timeout(BOUND):
                for number in itertools.count():
                    before = len(started)
                    await stir(bench, task, repository, trees, number)
                    name = f"refs/heads/another-{number}"
                    await bench.until(task, lambda _, name=name: any(path.endswith(name) for path in seen))
                    # What the engine does at its start, and about the move above, may have to come to its end.
                    quiet = quiet + 1 if len(started) == before else 0
                    if quiet == 3:
                        break
            commit(repository, {"a.txt": TEN})
            await shows(bench, task)
            assert len(started) > before


async def stir(bench: Bench, task: Task, repository: Path, trees: Sequence[Path], number: int) -> None:
    """Much that is no move of the base branch: files, an index, other branches, refs of our own, labels of a card."""
    for tree in trees:
        (tree / "a.txt").write_text(f"{number}\n")
    (repository / "b.txt").write_text(f"{number}\n")
    git(repository, "add", "-A")
    git(trees[0], "commit", "-qam", "of the agent's")
    git(repository, "update-ref", "refs/agentpane/of-ours", "agentpane/more-0")
    await bench.engine.do(c.EditTask(task.card.id, labels=(f"number-{number}",)))
    git(repository, "branch", f"another-{number}")
