"""What somebody puts into a worktree whose making fails is in the recovery bin, in the engine that goes on living."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.db import tasks, worktrees
from agentpane.domain.health import HealthCode
from agentpane.domain.runs import RunStatus
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.worktrees import Repository, Worktree, Worktrees, inspection
from agentpane.worktrees.trees import create
from agentpane.worktrees.trees import pool as trees_pool
from tests.backends.wire import say
from tests.orchestrator.conftest import Bench, git, running, scripted
from tests.orchestrator.test_health import OLD, house

FAILED = AgentPaneError(ErrorCode.STORE_FULL, "As if the disk were full.")


def precious(folder: Path) -> None:
    (folder / "thesis.md").write_text("precious\n")


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let the copying into a fresh worktree fail, after somebody has put a file there; or not any more."""
    copy = create.copy_into

    async def failing(git: object, repo: Repository, worktree: Worktree, listed: object) -> tuple[str, ...]:
        precious(worktree.path)
        raise AgentPaneError(ErrorCode.WORKTREE_ENV_COPY_FAILED, "As if it could not be copied.")

    return lambda wanted: monkeypatch.setattr(create, "copy_into", failing if wanted else copy)


async def kept(bench: Bench, repository: Path) -> list[str]:
    """Where `thesis.md` lies in the recovery bin; twice where it was written a moment before it was kept."""
    found = await bench.engine.do(c.ListRecoveries(None))
    assert all(git(repository, "show", f"{each.ref}:thesis.md") == "precious" for each in found)
    return [each.ref for each in found]


async def test_a_run_whose_worktree_cannot_be_made_keeps_what_somebody_put_there_and_says_where(
    data: Path, repository: Path, fails: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*given: object, **named: object) -> str | None:
        raise FAILED

    with scripted([say("Done.")]) as server:
        async with running(data, server.environment) as bench:
            project, core = await bench.project(repository), bench.engine.services.core
            card = await bench.card(project)
            fails(True)
            task = await bench.settled(await bench.start(card))
            refs = await kept(bench, repository)
            assert task.runs[-1].status is RunStatus.ERROR
            assert any(f"in the recovery bin ({ref})" in str(task.runs[-1].error) for ref in refs)
            row = await core.db.read(worktrees.for_task, card.card.id)
            assert row is not None and row.status is WorktreeStatus.ERROR and not os.path.exists(row.path)
            assert git(repository, "branch", "--list", "agentpane/*") == ""

            with monkeypatch.context() as while_it_is_full:
                while_it_is_full.setattr(RecoveryBin, "keep", full)
                task = await bench.settled(await bench.engine.do(c.ResumeRun(card.card.id)))
                row = await core.db.read(worktrees.for_task, card.card.id)
                assert row is not None and row.status is WorktreeStatus.CREATING
                assert f"is still there, in {row.path}" in str(task.runs[-1].error)
                assert (Path(row.path) / "thesis.md").read_text() == "precious\n"
            fails(False)
            task = await bench.settled(await bench.engine.do(c.ResumeRun(card.card.id)))
            assert task.runs[-1].status is not RunStatus.ERROR, task.runs[-1].error
            assert (
                len(await kept(bench, repository)) > len(refs) and not (Path(str(task.worktree)) / "thesis.md").exists()
            )


async def test_a_branch_that_cannot_be_deleted_for_want_of_room_goes_once_the_files_are_gone_or_the_row_says_so(
    data: Path, repository: Path, fails: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, trash, room = Worktrees.delete_branch, repository / ".git" / "agentpane" / "trash", True

    async def delete_branch(git_: Worktrees, repo: Repository, branch: str, expected: str) -> None:
        if os.listdir(trash) or not room:
            raise AgentPaneError(ErrorCode.WORKTREE_REMOVAL_FAILED, "The branch could not be deleted: no room.")
        await delete(git_, repo, branch, expected)

    async with running(data, {}) as bench:
        home, core = await house(bench, repository), bench.engine.services.core
        repo, base = await core.git.open_repository(repository), git(repository, "rev-parse", "main")
        fails(True)
        monkeypatch.setattr(Worktrees, "delete_branch", delete_branch)
        for room in (True, False):
            task = await bench.card(home.project)
            path = str(repository / ".worktrees" / "one")
            new = worktrees.NewWorktree(home.project.id, task.card.id, "agentpane/one", "main", base, path)
            with pytest.raises(AgentPaneError):
                await bench.engine.services.mending.workspaces._checked_out(new, repo, ())
            row = await core.db.read(worktrees.for_task, task.card.id)
            assert row is not None and row.status is WorktreeStatus.ERROR and row.last_error is not None
            assert (await core.git.branch_tip(repo, "agentpane/one") is None) is room
            assert row.last_error.endswith("The branch could not be deleted: no room.") is not room


async def test_one_that_is_made_again_is_what_it_was_and_what_was_put_there_meanwhile_is_kept(
    data: Path, repository: Path, fails: Callable[[bool], None]
) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        repo = await services.core.git.open_repository(repository)
        shutil.rmtree(row.path)
        fails(True)
        with pytest.raises(AgentPaneError, match="recovery bin"):
            await services.mending.workspaces.make_again(row, repo)
        after = await home.row(row)
        assert (after.status, after.git_dir) == (row.status, row.git_dir) and not Path(row.path).exists()
        assert await kept(bench, repository)
        fails(False)
        again, _ = await services.mending.workspaces.make_again(after, repo)
        assert again.status is WorktreeStatus.ACTIVE and (Path(row.path) / "a.txt").exists()


@pytest.mark.parametrize("killed", ["", "unfinished", "doctor"])
async def test_one_whose_disk_is_away_is_not_made_again_and_goes_on_when_the_disk_is_back(
    data: Path, repository: Path, killed: str
) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        await services.core.db.write(tasks.set_fields, row.task_id, services.core.clock.now(), worktree_id=row.id)
        row = await home.row(row)
        repo = await services.core.git.open_repository(repository)
        path, disk = Path(row.path), Path(row.path).parent
        precious(path)
        (path / "staged.txt").write_text("staged\n")
        git(path, "add", "staged.txt")
        os.rename(disk, repository / "away")
        disk.write_text("nobody may make folders here\n")
        if killed:  # over the first thing that is written down
            await home.put(row, status=WorktreeStatus.CREATING, git_dir=None, at=row.updated_at - OLD)
            if killed == "doctor":
                half = next(each for each in (await home.report()).findings if each.code == HealthCode.WORKTREE_CUT_OFF)
                await bench.engine.do(c.Repair((half.id,)))
            else:
                await services.unfinished.run()
        else:
            with pytest.raises(AgentPaneError) as caught:
                await services.mending.workspaces.make_again(row, repo)
            assert "somebody" not in caught.value.message and "recovery" not in caught.value.details
        kept = await bench.engine.do(c.ListRecoveries(None))
        assert [each.reason for each in kept] == ([] if killed else ["its folder was gone"])
        after = await home.row(row)
        assert (after.status, after.git_dir, after.last_error) == (row.status, row.git_dir, row.last_error)

        disk.unlink()
        os.rename(repository / "away", disk)
        assert git(path, "status", "--porcelain").split() == ["A", "staged.txt", "??", "thesis.md"]
        assert await services.mending.workspaces.why_not_ours(after, repo) is None
        ref = await services.mending.workspaces.take_away(after, repo, "test")
        assert git(repository, "show", f"{ref}:thesis.md") == "precious" and not path.exists()


async def test_what_is_put_into_work_that_is_being_restored_is_kept_beside_it_when_that_fails(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out = Worktrees.lay_out_recovery

    async def half(git_: Worktrees, repo: Repository, worktree: Worktree, parent: str, commit: str) -> None:
        await lay_out(git_, repo, worktree, parent, commit)
        if somebody:
            precious(worktree.path)
        raise FAILED

    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        repo = await services.core.git.open_repository(repository)
        (Path(row.path) / "new.txt").write_text("x\n")
        await services.mending.workspaces.take_away(row, repo, "test", delete_branch_at=row.base_sha)
        before = await bench.engine.do(c.ListRecoveries(None))
        monkeypatch.setattr(Worktrees, "lay_out_recovery", half)
        for somebody in (False, True):
            with pytest.raises(AgentPaneError, match="As if the disk were full"):
                await bench.engine.do(c.RestoreRecovery(before[0].id))
            beside = [each for each in await bench.engine.do(c.ListRecoveries(None)) if each not in before]
            assert bool(beside) is somebody
        assert git(repository, "show", f"{beside[0].ref}:thesis.md") == "precious"
        assert (await home.row(row)).status is WorktreeStatus.REMOVED and not Path(row.path).exists()
        assert git(repository, "branch", "--list", "agentpane/*") == ""


async def test_a_restore_that_fails_leaves_in_the_bin_what_it_has_kept_of_the_record_before(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out = Worktrees.lay_out_recovery

    async def full(*given: object) -> None:
        await lay_out(*given)  # type: ignore[arg-type]
        raise FAILED

    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        repo, path = await services.core.git.open_repository(repository), Path(row.path)
        (path / "new.txt").write_text("x\n")
        await services.bin.keep(row.task_id, row, as_worktree(row), repo, "test")
        (kept,) = await bench.engine.do(c.ListRecoveries(None))
        git(path, "checkout", "-q", "--detach")
        git(path, "add", "new.txt")
        shutil.rmtree(path)
        await home.put(row, status=WorktreeStatus.ERROR)
        monkeypatch.setattr(Worktrees, "lay_out_recovery", full)
        with pytest.raises(AgentPaneError, match="As if the disk were full"):
            await bench.engine.do(c.RestoreRecovery(kept.id))
        after = await bench.engine.do(c.ListRecoveries(None))
        assert sorted(each.reason for each in after) == ["restore", "test"]
        assert (await home.row(row)).status is WorktreeStatus.REMOVED and not path.exists()


async def test_one_of_which_no_record_can_be_found_when_its_making_fails_is_found_when_it_is_taken_away(
    data: Path, repository: Path, fails: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*given: object) -> None:
        raise OSError(errno.EIO, "as if the disk could not be read")

    async with running(data, {}) as bench:
        home, core = await house(bench, repository), bench.engine.services.core
        repo, base = await core.git.open_repository(repository), git(repository, "rev-parse", "main")
        workspaces = bench.engine.services.mending.workspaces
        task = await bench.card(home.project)
        path = repository / ".worktrees" / "one"
        new = worktrees.NewWorktree(home.project.id, task.card.id, "agentpane/one", "main", base, str(path))
        fails(True)
        with monkeypatch.context() as meanwhile, pytest.raises(AgentPaneError, match="could not be copied"):
            meanwhile.setattr(inspection, "_left_record", unreadable)
            await workspaces._checked_out(new, repo, ())
        row = await core.db.read(worktrees.for_task, task.card.id)
        assert row is not None and (row.status, row.git_dir) == (WorktreeStatus.CREATING, None)
        assert "could not be copied" in str(row.last_error) and (path / "thesis.md").exists()
        ref = await workspaces.take_away(row, repo, "test", delete_branch_at=base)
        assert git(repository, "show", f"{ref}:thesis.md") == "precious" and not path.exists()
        assert await core.git.branch_tip(repo, "agentpane/one") is None


async def test_one_that_was_to_be_kept_ready_goes_and_what_was_put_there_is_kept(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(worktree: Worktree, base_sha: str) -> None:
        precious(worktree.path)
        raise FAILED

    monkeypatch.setattr(trees_pool, "put_seal", failing)
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        services = bench.engine.services
        repo = await services.core.git.open_repository(repository)
        tip = await services.core.git.base_branch(repo, "main")
        with pytest.raises(AgentPaneError):
            await services.pool._make(home.project, repo, tip, repository / ".worktrees")
        assert await kept(bench, repository)
        assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1
