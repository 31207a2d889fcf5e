"""Two projects in one repository: what is one's is not foreign to the other. And what no project knows is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.db import worktrees
from agentpane.domain.health import HealthCode
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.worktrees import Repository
from agentpane.worktrees.inspection import Inspection
from tests.orchestrator.conftest import git, running
from tests.orchestrator.test_health import House

pytestmark = pytest.mark.usefixtures("temporary")


async def test_what_one_project_has_is_not_foreign_to_another_in_the_same_repository(
    data: Path, repository: Path
) -> None:
    linked = repository / ".worktrees" / "linked"
    git(repository, "worktree", "add", "-q", "-b", "second", str(linked))
    async with running(data, {}) as bench:
        core = bench.engine.services.core
        homes = [House(bench, await bench.project(folder), folder) for folder in (repository, linked)]
        cards = [await home.worktree(f"card {number}") for number, home in enumerate(homes)]
        report = await homes[0].report()
        assert report.findings == ()

        git(repository, "branch", "agentpane/by-hand")
        opened = await core.git.open_repository(repository)
        (Path(cards[1].path) / "lost.txt").write_text("x")
        assert await core.git.recovery_snapshot(opened, Path(cards[1].path), "one") is not None
        report = await homes[0].report()
        assert [each.code for each in report.findings] == [HealthCode.BRANCH_FOREIGN, HealthCode.RECOVERY_UNLISTED]
        assert "agentpane/by-hand." in report.findings[0].what and report.findings[0].where == str(repository)
        await homes[1].mend(report.findings[1])
        (kept,) = await bench.engine.do(c.ListRecoveries(homes[1].project.id))
        assert (kept.task_id, kept.project_id) == (cards[1].task_id, homes[1].project.id)

        # Off the board too, its branches are those of its cards.
        await bench.engine.do(c.RemoveProject(homes[1].project.id))
        git(repository, "branch", "-D", "agentpane/by-hand")
        assert [each.code for each in (await homes[0].report()).findings] == []


async def test_a_ready_worktree_that_no_row_speaks_of_goes_on_consent_and_another_stays(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(data, {}) as bench:
        home, core = House(bench, await bench.project(repository), repository), bench.engine.services.core
        opened, base = await core.git.open_repository(repository), git(repository, "rev-parse", "main")
        trees = repository / ".worktrees"
        mark = "t8z3mq0l1k2j3h4g5f6d7s8a"
        lost = await core.git.ready.make(opened, trees / "ready-lost", base, mark)
        used = await core.git.ready.make(opened, trees / "ready-used", base, mark[::-1])
        git(used.path, "switch", "-q", "-c", "of-a-person")
        (lost.path / "idea.txt").write_text("somebody's\n")
        git(lost.path, "add", "-A")
        git(lost.path, "commit", "-q", "-m", "on no branch")
        tip = git(lost.path, "rev-parse", "HEAD")

        report = await home.report()
        told = {each.where: each for each in report.findings}
        assert report.ok and set(told) == {str(lost.path), str(used.path)}
        assert told[str(used.path)].code == HealthCode.WORKTREE_FOREIGN and not told[str(used.path)].repairable
        found = told[str(lost.path)]
        assert found.code == HealthCode.WORKTREE_STALE and found.repairable and found.size_bytes
        looked = Inspection.marked

        async def and_another_engine_gives_it_to_a_card(self: Inspection, repo: Repository) -> object:
            marked = await looked(self, repo)
            git(lost.path, "switch", "-q", "-C", "of-a-card")
            return marked

        with monkeypatch.context() as patched:
            patched.setattr(Inspection, "marked", and_another_engine_gives_it_to_a_card)
            refused = (await bench.engine.do(c.Repair((found.id,)))).repairs
        assert [each.done for each in refused] == [False] and lost.path.exists() and lost.git_dir.exists()
        git(lost.path, "switch", "-q", "--detach")
        git(repository, "branch", "-q", "-D", "of-a-card")
        await home.mend(found)
        assert not lost.path.exists() and not lost.git_dir.exists() and used.path.is_dir()
        (kept,) = await bench.engine.do(c.ListRecoveries(home.project.id))
        assert git(repository, "merge-base", "--is-ancestor", tip, kept.sha) == "" and kept.beside.commits == 1
        (row,) = await core.db.read(worktrees.all_for_project, home.project.id)
        assert (row.id, row.status, row.base_sha) == (mark, WorktreeStatus.REMOVED, base)
