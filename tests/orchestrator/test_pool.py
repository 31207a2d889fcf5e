"""A project keeps worktrees ready when nothing starts, and its next card has one of them at once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.db import pool as rows
from agentpane.db import worktrees
from agentpane.domain.pool import PoolStatus
from agentpane.domain.projects import Project
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.health.stale import Shelf
from agentpane.orchestrator.keeping.holding import ChangedError
from agentpane.orchestrator.runs.cancelling import Cancelling
from agentpane.orchestrator.workspaces import pool as pool_module
from agentpane.worktrees import Repository, Worktree
from agentpane.worktrees.trees.pool import NewBranch, Ready
from tests.backends.wire import say, use
from tests.orchestrator.conftest import BOUND, Bench, git, running, scripted

DONE = [say("Done.")]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "QUIET_S", 0.02)


async def until(bench: Bench, project: Project, condition: Callable[[PoolStatus], bool]) -> PoolStatus:
    found = None
    async with asyncio.timeout(BOUND):
        while found is None or not condition(found):
            await asyncio.sleep(0.02)
            found = await bench.engine.do(c.GetPool(project.id))
    return found


async def ready_rows(bench: Bench, project: Project) -> tuple[WorktreeRow, ...]:
    return await bench.engine.services.core.db.read(worktrees.pooled, project.id)


async def recorded_at(bench: Bench, project: Project, sha: str) -> WorktreeRow:
    """The one ready worktree, when it has followed its base to this commit."""
    async with asyncio.timeout(BOUND):
        while True:
            found = await ready_rows(bench, project)
            if len(found) == 1 and found[0].base_sha == sha:
                return found[0]
            await asyncio.sleep(0.02)


async def edit(bench: Bench, project: Project, **fields: object) -> Project:
    config = replace(project.config, **fields)  # type: ignore[arg-type]
    return await bench.engine.do(c.EditProject(project.id, config=config))


async def test_the_next_card_has_a_ready_worktree_which_no_other_run_has_seen(data: Path, repository: Path) -> None:
    (repository / ".gitignore").write_text(".env\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-q", "-m", "ignore")
    (repository / ".env").write_text("KEY=1\n")
    spoil = 'ls -a ..; for each in ../ready-*; do echo spoiled > "$each/a.txt"; done; true'
    turns = (DONE, [use("Bash", command=spoil)], [use("Write", file_path="new.txt", content="x\n")], DONE)
    with scripted(*turns) as server:
        async with running(data, server.environment) as bench:
            project = await edit(bench, await bench.project(repository), env_file=".env")
            assert await bench.engine.do(c.GetPool(project.id)) == PoolStatus(1, 0, 0, pool_module.UNUSED)
            first = await bench.settled(await bench.start(await bench.card(project, "first")))
            stands = await until(bench, project, lambda pool: pool.ready == 1)
            assert stands.size_bytes > 0 and stands.off == ""
            (ready,) = await ready_rows(bench, project)
            assert first.worktree is not None and git(repository, "status", "--porcelain") == ""
            # Another card's agent cannot write in it, nor does it see that it is there.
            told = await bench.engine.do(c.Answer(first.card.id, "Go on.", environment=bench.environment))
            await bench.reviewed(told)
            results = [event.data for event in await bench.session(first) if event.kind == "tool_result"]
            assert results and Path(ready.path).name not in str(results[0])
            assert (Path(ready.path) / "a.txt").read_text() == "one\ntwo\n"

            server.turns[:] = [[use("Write", file_path="b.txt", content="three\n")], DONE]
            second = await bench.reviewed(await bench.start(await bench.card(project, "second")))
            taken = await bench.engine.services.core.db.read(worktrees.for_task, second.card.id)
            assert taken is not None and taken.id == ready.id and taken.git_dir == ready.git_dir
            assert second.worktree == taken.path and Path(taken.path).name.startswith("second-")
            assert (Path(taken.path) / ".env").read_text() == "KEY=1\n" and taken.env_copied
            diff = await bench.engine.do(c.GetDiff(second.card.id))
            assert [file.path for file in diff.files] == ["b.txt"]
            # Whoever takes ready ones away may have read the row before the card got it.
            services = bench.engine.services
            repo = await services.core.git.open_repository(repository)
            await services.pool._retire(ready, repo)
            with pytest.raises(ChangedError):
                await services.mending.workspaces.take_away(ready, repo, "test")
            assert await services.core.db.read(worktrees.get, ready.id) == taken and Path(taken.path).is_dir()
            await bench.engine.do(c.Approve(second.card.id))
            assert not Path(taken.path).exists()

            # The base has moved by that: the next ready one follows.
            again = await recorded_at(bench, project, git(repository, "rev-parse", "main"))
            assert again.id != ready.id and (Path(again.path) / "b.txt").read_text() == "three\n"
            await bench.engine.do(c.RemoveProject(project.id))
            assert not Path(again.path).exists() and not await ready_rows(bench, project)
            assert (await bench.engine.do(c.VerifyAudit())).ok


async def test_a_card_is_given_a_ready_worktree_while_a_person_takes_that_away(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Shelf._check_ours
    with scripted(DONE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            await bench.settled(await bench.start(await bench.card(project, "first")))
            await until(bench, project, lambda pool: pool.ready == 1)
            (ready,) = await ready_rows(bench, project)
            second = await bench.card(project, "second")

            async def check_late(*given: object) -> None:
                await check(*given)  # type: ignore[arg-type]
                await bench.settled(await bench.start(second))

            with monkeypatch.context() as slow:
                slow.setattr(Shelf, "_check_ours", check_late)
                with pytest.raises(ChangedError) as caught:
                    await bench.engine.do(c.RemoveWorktree(ready.id))
            assert caught.value.code is ErrorCode.RESOURCE_LOCKED
            taken = await bench.engine.services.core.db.read(worktrees.get, ready.id)
            assert (taken.task_id, taken.status) == (second.card.id, WorktreeStatus.ACTIVE)
            assert Path(taken.path).is_dir()

            # What cannot be taken away is ready still.
            await until(bench, project, lambda pool: pool.ready == 1)
            (ready,) = await ready_rows(bench, project)
            git(repository, "worktree", "add", "-q", "--detach", str(Path(ready.path) / "mine"))
            with pytest.raises(AgentPaneError) as refused:
                await bench.engine.do(c.RemoveWorktree(ready.id))
            assert refused.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED and await ready_rows(bench, project)


async def test_one_that_was_written_in_is_kept_in_the_bin_and_given_to_nobody(data: Path, repository: Path) -> None:
    (repository / "deep").mkdir()
    (repository / "deep" / "file.txt").write_text("x\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "deep")
    with scripted(DONE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            await bench.settled(await bench.start(await bench.card(project, "first")))
            await until(bench, project, lambda pool: pool.ready == 1)
            (ready,) = await ready_rows(bench, project)
            (repository / ".git" / "info" / "exclude").write_text("*.local\n")
            (Path(ready.path) / "a.txt").write_text("by a program that went through every folder\n")
            (Path(ready.path) / "deep" / "my.local").write_text("what git ignores is somebody's as well\n")
            second = await bench.settled(await bench.start(await bench.card(project, "second")))
            assert second.worktree is not None and (Path(second.worktree) / "a.txt").read_text() == "one\ntwo\n"
            found = await bench.engine.services.core.db.read(worktrees.get, ready.id)
            assert found.status is WorktreeStatus.REMOVED and not Path(ready.path).exists()
            (kept,) = await bench.engine.do(c.ListRecoveries(project.id))
            assert git(repository, "show", f"{kept.sha}:a.txt") == "by a program that went through every folder"
            assert git(repository, "show", f"{kept.sha}:deep/my.local") == "what git ignores is somebody's as well"

            await edit(bench, project, pool_size=0)
            await until(bench, project, lambda pool: (pool.wanted, pool.ready) == (0, 0))
            async with asyncio.timeout(BOUND):
                while any(path.name.startswith("ready-") for path in Path(ready.path).parent.iterdir()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert {path.name.split("-")[0] for path in Path(ready.path).parent.iterdir()} == {"first", "second"}
            with pytest.raises(AgentPaneError) as caught:
                await edit(bench, project, pool_size=9)
            assert caught.value.code is ErrorCode.VALIDATION_ERROR and caught.value.details["field"] == "pool_size"


async def test_a_project_leaves_no_ready_worktree_behind_whenever_it_goes(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, put_away = Ready.make, Cancelling.put_away
    work: list[asyncio.Future[object]] = []
    begun = asyncio.Event()
    with scripted(DONE) as server:
        async with running(data, server.environment) as bench:
            project, pool = await bench.project(repository), bench.engine.services.pool

            async def make_while_it_goes(*given: object) -> Worktree:
                begun.set()
                if not work:
                    work.append(asyncio.ensure_future(bench.engine.do(c.RemoveProject(project.id, purge=True))))
                    async with asyncio.timeout(BOUND):
                        while not pool._leaving:  # noqa: ASYNC110
                            await asyncio.sleep(0)
                return await make(*given)  # type: ignore[arg-type]

            async def put_away_while_it_makes(cancelling: Cancelling, leaving: Project) -> None:
                await put_away(cancelling, leaving)
                begun.clear()
                work.append(asyncio.ensure_future(pool._tend(leaving.id)))
                if not pool._turn.locked():
                    await begun.wait()

            await edit(bench, project, pool_size=0)
            await bench.settled(await bench.start(await bench.card(project, "first")))
            monkeypatch.setattr(Ready, "make", make_while_it_goes)
            monkeypatch.setattr(Cancelling, "put_away", put_away_while_it_makes)
            await edit(bench, project, pool_size=3)
            async with asyncio.timeout(BOUND):
                await begun.wait()
                await work[0]
                await work[1]
            assert not (repository / ".worktrees").exists() or not list((repository / ".worktrees").iterdir())
            assert len(git(repository, "worktree", "list").splitlines()) == 1


async def test_a_project_stays_on_the_board_while_a_worktree_is_made_in_it(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away = Cancelling.put_away
    async with running(data, {}) as bench:
        project, core = await bench.project(repository), bench.engine.services.core
        base = git(repository, "rev-parse", "main")
        new = worktrees.NewWorktree(project.id, None, "restored", "main", base, str(repository / "restored"))

        async def put_away_too_early(cancelling: Cancelling, leaving: Project) -> None:
            await put_away(cancelling, leaving)
            await core.db.write(worktrees.create, new, core.clock.now())

        with monkeypatch.context() as early:
            early.setattr(Cancelling, "put_away", put_away_too_early)
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(c.RemoveProject(project.id, purge=True))
        assert caught.value.code is ErrorCode.RESOURCE_LOCKED and "still on the board" in caught.value.hint
        assert [each.record.tool for each in await bench.engine.do(c.ListAudit(project.id))] == ["project.add"]
        await bench.engine.do(c.RemoveProject(project.id, purge=True))
        assert await bench.engine.do(c.ListProjects()) == ()


async def test_what_was_being_made_when_the_engine_ended_is_ready_again_or_gone(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            await bench.settled(await bench.start(await bench.card(project, "first")))
            await edit(bench, project, pool_size=4)
            await until(bench, project, lambda pool: pool.ready == 4)
        monkeypatch.setattr(pool_module, "QUIET_S", 3600.0)
        async with running(data, server.environment) as bench:
            core, base = bench.engine.services.core, git(repository, "rev-parse", "main")
            repo = await core.git.open_repository(repository)
            untouched, moved, filled, leaving = every = await ready_rows(bench, project)
            await refused_by_a_branch_of_somebodys(bench, project, base, monkeypatch)
            again = await ready_rows(bench, project)
            assert [(row.id, row.path, row.task_id, row.branch) for row in again] == [
                (row.id, row.path, None, "") for row in every
            ]
            for row, name in ((untouched, "untouched"), (moved, "moved")):
                card = await bench.card(project, name)
                path = repository / ".worktrees" / card.card.title
                new = worktrees.NewWorktree(
                    project.id, card.card.id, f"agentpane/{path.name}", "main", base, str(path)
                )  # fmt: skip
                claimed = await core.db.write(rows.claim, row.id, new, (), core.clock.now())
                assert claimed is not None
            there = repository / ".worktrees" / "moved"
            given = worktrees_of(moved)
            branch = await core.git.ready.free_branch(repo, "agentpane/moved")
            assert branch is not None
            assert await core.git.ready.hand_over(repo, given, base, there, branch) is not None
            being_made = {"status": WorktreeStatus.CREATING, "git_dir": None}
            for row, fields in ((filled, being_made), (leaving, {"status": WorktreeStatus.REMOVING})):
                stored = partial(worktrees.set_fields, worktree_id=row.id, at=core.clock.now(), **fields)
                await core.db.write(stored)
            half = repository / ".worktrees" / "half"
            git(repository, "worktree", "add", "-q", "--no-checkout", "-b", "agentpane/half", str(half), base)
            named = worktrees.NewWorktree(project.id, None, "agentpane/half", "main", base, str(half))
            lost = await core.db.write(worktrees.create, named, core.clock.now())
            shutil.rmtree(half)  # the record that git has of it leads nowhere
        gone = {moved.id, filled.id, leaving.id, lost.id}
        async with running(data, server.environment) as bench:
            async with asyncio.timeout(BOUND):
                while {  # noqa: ASYNC110
                    row.status for row in await all_rows(bench, project) if row.id in gone
                } != {WorktreeStatus.REMOVED}:
                    await asyncio.sleep(0.02)
            assert [row.id for row in await ready_rows(bench, project)] == [untouched.id]
            assert (await ready_rows(bench, project))[0].path == untouched.path and Path(untouched.path).is_dir()
            assert not any(path.exists() for path in (there, Path(filled.path), Path(leaving.path)))
            assert git(repository, "branch", "--list", "agentpane/moved", "agentpane/untouched") == ""
            assert await bench.engine.do(c.ListRecoveries(project.id)) == ()


async def refused_by_a_branch_of_somebodys(
    bench: Bench, project: Project, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card wants a ready worktree, and somebody makes the branch of that name just before it is made."""
    card, branch = await bench.card(project, "refused"), "agentpane/refused"
    path = Path(project.path, ".worktrees", "refused")
    repo = await bench.engine.services.core.git.open_repository(Path(project.path))
    answer = Ready.free_branch

    async def free_branch(self: Ready, repository: Repository, wanted: str) -> NewBranch | None:
        found = await answer(self, repository, branch)
        git(Path(project.path), "branch", "--force", branch, base)
        return None if found is None else replace(found, name=branch)

    with monkeypatch.context() as quick:
        quick.setattr(Ready, "free_branch", free_branch)
        new = worktrees.NewWorktree(project.id, card.card.id, branch, "main", base, str(path))
        assert await bench.engine.services.unfinished.handover.take(new, repo, ()) is None
    assert git(Path(project.path), "rev-parse", branch) == base and not path.exists()


def worktrees_of(row: WorktreeRow) -> Worktree:
    return Worktree(Path(row.path), Path(row.git_dir or ""), "", row.id)


async def all_rows(bench: Bench, project: Project) -> tuple[WorktreeRow, ...]:
    return await bench.engine.services.core.db.read(worktrees.all_for_project, project.id)
