"""What lies in a worktree when it goes is in the recovery bin, whenever it was saved and wherever it lies by then."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.domain.health import HealthCode
from agentpane.domain.resolving import Merging, Resolver, Stage
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.health import rows as rows_of_health
from agentpane.orchestrator.keeping import relaying
from agentpane.orchestrator.keeping.branch_back import branch_back
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.worktrees import merging_ref
from agentpane.worktrees.trees.identity import MARK
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


async def test_a_removal_that_got_stuck_is_reported_and_its_card_goes_on_where_it_was(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_of_health, "LONG", timedelta(0))
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, core = await home.worktree("a card"), bench.engine.services.core
        repo = await core.git.open_repository(repository)
        (Path(row.path) / "new.txt").write_text("x\n")
        trash = repository / ".git" / "agentpane" / "trash"
        trash.mkdir(parents=True, exist_ok=True)
        os.rename(row.path, trash / "0123456789abcdef")
        await home.put(row, status=WorktreeStatus.REMOVING)
        assert row.task_id is not None
        async with core.task_locks.of(row.task_id):
            assert HealthCode.WORKTREE_CUT_OFF not in [each.code for each in (await home.report()).findings]
        assert (await home.finding(HealthCode.WORKTREE_CUT_OFF)).where == row.path
        task = await core.task(row.task_id)
        back = await relaying.taken_back(core, task, repo)
        assert back is not None and back.status is WorktreeStatus.ACTIVE and (Path(row.path) / "new.txt").exists()

        await core.git.remove_worktree(repo, as_worktree(row))
        await home.put(row, status=WorktreeStatus.REMOVING)
        away = await relaying.taken_back(core, task, repo)
        assert away is not None and away.status is WorktreeStatus.AWAY
        git(repository, "branch", "-q", "-D", row.branch)
        await home.put(row, status=WorktreeStatus.REMOVING)
        gone = await relaying.taken_back(core, task, repo)
        assert gone is not None and gone.status is WorktreeStatus.REMOVED


async def test_a_restore_that_was_cut_off_is_found_by_its_mark_and_taken_back(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        repo = await services.core.git.open_repository(repository)
        (Path(row.path) / "new.txt").write_text("x\n")
        ref = await services.mending.workspaces.take_away(row, repo, "test", leaves=WorktreeStatus.REMOVED)
        Path(row.path).mkdir(parents=True)  # so that it is restored beside
        kept = next(each for each in await bench.engine.do(c.ListRecoveries(home.project.id)) if each.ref == ref)

        async def killed(*given: object, **named: object) -> None:
            raise AgentPaneError(ErrorCode.INTERNAL, "as if it had been killed here")

        with monkeypatch.context() as until_then:
            for name in ("lay_out_recovery", "remove_worktree"):
                until_then.setattr(type(services.core.git), name, killed)
            with pytest.raises(AgentPaneError):
                await bench.engine.do(c.RestoreRecovery(kept.id))
        half = await home.row(row)
        assert half.status is WorktreeStatus.CREATING and half.path != row.path and Path(half.path).exists()
        await services.unfinished.run()
        assert not Path(half.path).exists() and (await home.row(row)).status is WorktreeStatus.REMOVED
        assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1


def heads_of(repository: Path, name: str) -> str:
    """What a bundle that is kept holds."""
    kept = subprocess.run(["git", "cat-file", "blob", name], cwd=repository, capture_output=True, check=True)
    (repository / "kept.bundle").write_bytes(kept.stdout)
    return git(repository, "bundle", "list-heads", "kept.bundle")


def held(repository: Path, commit: str) -> list[str]:
    return git(repository, "for-each-ref", "--format=%(refname)", f"--contains={commit}").split()


async def test_what_the_record_of_a_worktree_holds_outlives_its_folder_whether_it_goes_or_is_made_again(
    data: Path, repository: Path
) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        services = bench.engine.services
        repo = await services.core.git.open_repository(repository)
        commits: dict[str, str] = {}
        rows = [await home.worktree(title) for title in ("goes", "made again", "nothing in it")]
        for row in rows[:2]:
            path = Path(row.path)
            git(path, "checkout", "-q", "--detach")
            (path / "mine.txt").write_text(row.path)
            git(path, "add", "-A")
            git(path, "commit", "-q", "-m", "on no branch")
            commits[row.path] = git(path, "rev-parse", "HEAD")
            (path / "a.txt").write_text("staged alone\n")
            git(path, "add", "-A")
        module = Path(rows[0].git_dir or "") / "modules" / "sub"
        module.mkdir(parents=True)
        git(module, "init", "-q", "--bare")
        loose = git(module, "commit-tree", git(module, "write-tree"), "-m", "unpushed")
        git(module, "update-ref", "refs/heads/main", loose)
        for row in rows:
            shutil.rmtree(row.path)
        workspaces = services.mending.workspaces
        assert await workspaces.take_away(rows[2], repo, "test") is None
        ref = await workspaces.take_away(rows[0], repo, "test")
        git(repository, "worktree", "lock", rows[1].path)
        with pytest.raises(AgentPaneError) as caught:
            await workspaces.make_again(rows[1], repo)
        assert caught.value.code is ErrorCode.WORKTREE_CREATION_FAILED and await home.row(rows[1]) == rows[1]
        git(repository, "worktree", "unlock", rows[1].path)
        await workspaces.make_again(rows[1], repo)
        kept = await bench.engine.do(c.ListRecoveries(home.project.id))
        assert ref in {each.ref for each in kept} and len(kept) == 2
        for row, each in zip(rows, sorted(kept, key=lambda each: each.created_at), strict=False):
            assert held(repository, commits[row.path]) == [each.ref]
            assert git(repository, "show", f"{each.ref}:a.txt") == "staged alone" and each.files == 1
        assert loose in heads_of(repository, f"{ref}^2:sub.bundle")
        restored = await bench.engine.do(c.RestoreRecovery(kept[0].id))
        assert (Path(restored.path) / "a.txt").read_text() == "staged alone\n"
        assert git(Path(restored.path), "log", "-1", "--format=%s") == "on no branch"


async def test_what_the_record_of_an_emptied_worktree_holds_is_kept_before_it_goes(
    data: Path, repository: Path
) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        services = bench.engine.services
        repo = await services.core.git.open_repository(repository)
        rows = {title: await home.worktree(title) for title in ("staged", "removed", "orphan", "half made")}
        commits: dict[str, str] = {}
        for title in ("removed", "orphan"):
            path = Path(rows[title].path)
            git(path, "checkout", "-q", "--detach")
            git(path, "commit", "-q", "--allow-empty", "-m", title)
            commits[title] = git(path, "rev-parse", "HEAD")
        git(Path(rows["removed"].path), "rm", "-q", "-r", ".")
        git(Path(rows["orphan"].path), "switch", "-q", "--orphan", "new")
        for title in ("staged", "half made"):
            path = Path(rows[title].path)
            (path / "mine.txt").write_text("staged alone\n")
            git(path, "add", "-A")
            for each in path.iterdir():
                if each.name != ".git":
                    each.unlink()
        await home.put(rows["half made"], status=WorktreeStatus.CREATING)
        for title, row in rows.items():
            assert os.listdir(row.path) == [".git"]
            ref = await services.mending.workspaces.take_away(await home.row(row), repo, "test")
            assert ref is not None and not Path(row.path).exists(), title
            if title in commits:
                assert held(repository, commits[title]) == [ref]
            else:
                assert git(repository, "show", f"{ref}^2:mine.txt") == "staged alone"


async def test_a_branch_that_was_deleted_is_where_it_was_and_one_that_held_nothing_stays_deleted(
    data: Path, repository: Path
) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        services = bench.engine.services
        repo = await services.core.git.open_repository(repository)
        titles = "from outside", "from inside", "left first", "in a rebase", "never used"
        rows = {title: await home.worktree(title) for title in titles}
        tips: dict[str, str] = {}
        for title in titles[:4]:
            path = Path(rows[title].path)
            for text in ("one", "two"):
                (path / "a.txt").write_text(f"{text}\n")
                git(path, "commit", "-q", "-a", "-m", text)
            tips[title] = git(path, "rev-parse", "HEAD")
        git(Path(rows["left first"].path), "checkout", "-q", "--detach", "main")
        record = Path(rows["in a rebase"].git_dir or "") / "rebase-merge"
        record.mkdir()
        (record / "head-name").write_text(f"refs/heads/{rows['in a rebase'].branch}\n")
        (record / "orig-head").write_text(f"{tips['in a rebase']}\n")
        git(Path(rows["in a rebase"].path), "checkout", "-q", "--detach", "main")
        for title, row in rows.items():
            inside = title == "from inside"
            git(Path(row.path) if inside else repository, "update-ref", "-d", f"refs/heads/{row.branch}")
        record = Path(rows["from outside"].git_dir or "")
        mark = (record / MARK).read_text()
        (record / MARK).write_text("of the next worktree at that path\n")
        assert await branch_back(services.core, rows["from outside"], repo) is None
        (record / MARK).write_text(mark)
        for title, row in rows.items():
            assert await services.mending.workspaces.take_away(row, repo, "test") is None, title
            assert await services.core.git.branch_tip(repo, row.branch) == tips.get(title), title
