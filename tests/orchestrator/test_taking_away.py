"""What lies in a worktree when it goes is in the recovery bin, whenever it was saved and wherever it lies by then."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.domain.resolving import Merging, Resolver, Stage
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.recovery_bin import RecoveryBin
from agentpane.worktrees import merging_ref
from tests.orchestrator.conftest import git, running
from tests.orchestrator.test_health import house


async def test_what_is_saved_while_a_worktree_goes_is_kept_and_a_branch_that_stays_is_noted(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = RecoveryBin.keep

    async def keep_and_save(*given: object) -> str | None:
        kept = await keep(*given)  # type: ignore[arg-type]
        if Path(row.path).is_dir():
            (Path(row.path) / "late.txt").write_text("by an editor\n")
        return kept

    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        git(repository, "worktree", "add", "-q", "--force", str(repository.with_name("theirs")), row.branch)
        repo = await services.core.git.open_repository(repository)
        monkeypatch.setattr(RecoveryBin, "keep", keep_and_save)
        ref = await services.mending.workspaces.take_away(row, repo, "test", delete_branch_at=row.base_sha)
        assert ref is not None and git(repository, "show", f"{ref}:late.txt") == "by an editor"
        gone = await home.row(row)
        assert gone.status is WorktreeStatus.REMOVED and "is checked out in" in (gone.last_error or "")
        (entry,) = [
            each.record.output
            for each in await bench.engine.do(c.ListAudit(home.project.id))
            if each.record.tool == "worktree.remove"
        ]
        assert entry == {"recovery": ref, "branch_deleted_at": None, "branch_stays": gone.last_error}


async def test_a_resolution_outlives_a_laying_out_that_was_cut_off(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        filled, lost = [await home.worktree(title) for title in ("filled", "lost")]
        shutil.rmtree(lost.path)
        tip = git(repository, "rev-parse", "main")
        git(repository, "update-ref", merging_ref("r1"), tip)
        merging = Merging("main", tip, tip, tip, "r1", tip, Resolver.AGENT, Stage.PLANNED, ())
        for row in (filled, lost):
            await home.put(row, status=WorktreeStatus.CREATING, git_dir=None, merging=merging)
        await bench.engine.services.unfinished.run()
        for row in (filled, lost):
            assert not Path(row.path).exists()
            now = await home.row(row)
            assert (now.status, now.merging) == (WorktreeStatus.AWAY, merging)
        assert git(repository, "rev-parse", merging_ref("r1")) == tip


async def test_a_removal_that_was_cut_off_is_taken_back_before_it_is_done(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        (Path(row.path) / "new.txt").write_text("x\n")
        trash = repository / ".git" / "agentpane" / "trash"
        trash.mkdir(parents=True, exist_ok=True)
        os.rename(row.path, trash / "0123456789abcdef")
        row = await home.put(row, status=WorktreeStatus.REMOVING)
        Path(row.path).parent.rmdir()
        Path(row.path).parent.write_text("in the way\n")
        await services.mending.run()
        assert await home.row(row) == row, "it waits"
        await services.housekeeping.tidy(home.project)
        await services.core.git.settled()
        repo = await services.core.git.open_repository(repository)
        with pytest.raises(AgentPaneError) as caught:
            await services.mending.workspaces.take_away(row, repo, "test")
        assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
        Path(row.path).parent.unlink()
        ref = await services.mending.workspaces.take_away(row, repo, "test")
        await services.core.git.settled()
        assert ref is not None and git(repository, "show", f"{ref}:new.txt") == "x"
        assert (await home.row(row)).status is WorktreeStatus.REMOVED and os.listdir(trash) == []
