"""The doctor finds what has drifted apart, mends it when it is told to, and leaves alone what is not ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from agentpane.api import commands as c
from agentpane.api.events import HealthChanged, Published
from agentpane.clock import SystemClock
from agentpane.db import recoveries, worktrees
from agentpane.domain.board import Column
from agentpane.domain.health import DoctorReport, Finding, HealthCode, StaleReason
from agentpane.domain.projects import Project
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import COMMAND_MARK
from agentpane.temporary import INNER, MARK
from agentpane.worktrees import WorktreePlan
from tests.backends.wire import say, use
from tests.orchestrator.conftest import BOUND, Bench, git, running, scripted

OLD = timedelta(days=8)
pytestmark = pytest.mark.usefixtures("temporary")


@dataclass(slots=True)
class House:
    """A project whose cards have worktrees, without a run having been played."""

    bench: Bench
    project: Project
    repository: Path

    async def worktree(self, title: str, status: WorktreeStatus = WorktreeStatus.ACTIVE) -> WorktreeRow:
        core = self.bench.engine.services.core
        task = await self.bench.card(self.project, title)
        repository = await core.git.open_repository(self.repository)
        base = git(self.repository, "rev-parse", "main")
        name = title.replace(" ", "-")
        path = self.repository / ".worktrees" / name
        new = worktrees.NewWorktree(self.project.id, task.card.id, f"agentpane/{name}", "main", base, str(path))
        row = await core.db.write(worktrees.create, new, core.clock.now())
        made = await core.git.create_worktree(repository, WorktreePlan(path, row.branch, base, (), row.id))
        return await self.put(row, status=status, path=str(made.path), git_dir=str(made.git_dir))

    async def put(self, row: WorktreeRow, **fields: object) -> WorktreeRow:
        core = self.bench.engine.services.core
        at = fields.pop("at", core.clock.now())
        stored = dict(fields)
        return await core.db.write(lambda db: worktrees.set_fields(db, row.id, at, **stored))  # type: ignore[arg-type]

    async def row(self, row: WorktreeRow) -> WorktreeRow:
        return await self.bench.engine.services.core.db.read(worktrees.get, row.id)

    async def report(self) -> DoctorReport:
        return await self.bench.engine.do(c.Doctor())

    async def finding(self, code: str) -> Finding:
        found = [each for each in (await self.report()).findings if each.code == code]
        assert len(found) == 1, found
        return found[0]

    async def mend(self, *findings: Finding) -> DoctorReport:
        report = await self.bench.engine.do(c.Repair(tuple(each.id for each in findings)))
        assert [outcome.done for outcome in report.repairs] == [True] * len(findings), report.repairs
        assert not {each.id for each in findings} & {each.id for each in report.findings}
        return report


async def house(bench: Bench, repository: Path) -> House:
    return House(bench, await bench.project(repository), repository)


async def test_where_nothing_is_wrong_nothing_is_found_or_announced(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        await home.worktree("a card")
        before = bench.engine.services.core.bus.last
        report = await home.report()
        assert (report.ok, report.findings, report.repairs) == (True, (), ())
        assert bench.engine.services.core.bus.last == before
        assert await bench.engine.do(c.GetHealth()) == report


async def test_worktrees_that_drifted_from_their_rows_are_mended_on_consent(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        gone, moved, bare = [await home.worktree(title) for title in ("gone", "moved", "bare")]
        shutil.rmtree(gone.path)
        git(repository, "worktree", "move", moved.path, str(repository / ".worktrees" / "there"))
        (Path(bare.path) / "new.txt").write_text("x")
        git(Path(bare.path), "add", "-A")
        git(Path(bare.path), "commit", "-q", "-m", "by hand")
        tip = git(Path(bare.path), "rev-parse", "HEAD")
        git(repository, "update-ref", "-d", f"refs/heads/{bare.branch}")

        report = await home.report()
        found = {each.code: each for each in report.findings}
        assert set(found) == {ErrorCode.WORKTREE_NOT_FOUND, HealthCode.WORKTREE_MOVED, HealthCode.BRANCH_GONE}
        assert not report.ok and all(each.repairable for each in found.values())
        assert await home.row(moved) == moved, "a report changes nothing"
        assert (await home.report()).findings == report.findings, "the ids stay the same"
        after = await home.mend(*found.values())

        assert after.ok
        assert (Path(gone.path) / "a.txt").exists()
        assert (await home.row(moved)).path == str(repository / ".worktrees" / "there")
        assert git(repository, "rev-parse", bare.branch) == tip
        entries = await bench.engine.do(c.ListAudit(home.project.id))
        assert [entry.record.tool for entry in entries].count("doctor.repair") == 3


async def test_what_an_engine_was_making_or_removing_when_it_ended_is_taken_away(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        made, unmarked, removed = [await home.worktree(title) for title in ("made", "unmarked", "removed")]
        (Path(made.path) / "draft.txt").write_text("half a thought")
        (Path(removed.path) / "rest.txt").write_text("x")
        before = SystemClock().now() - timedelta(hours=1)
        await home.put(made, at=before, status=WorktreeStatus.CREATING, git_dir=None)
        await home.put(unmarked, at=before, status=WorktreeStatus.CREATING, git_dir=None)
        await home.put(removed, at=before, status=WorktreeStatus.REMOVING)
        assert unmarked.git_dir is not None
        (Path(unmarked.git_dir) / "agentpane-mark").unlink()
        for name in ("a.txt", "README.md"):
            (Path(unmarked.path) / name).unlink()

        found = [each for each in (await home.report()).findings if each.code == HealthCode.WORKTREE_CUT_OFF]
        assert {each.where for each in found} == {made.path, unmarked.path, removed.path}
        await home.mend(*found)
        for row in (made, unmarked, removed):
            assert not Path(row.path).exists()
            assert (await home.row(row)).status is WorktreeStatus.REMOVED
        kept = await bench.engine.services.core.db.read(recoveries.for_project, home.project.id)
        held = [git(repository, "ls-tree", "-r", "--name-only", each.sha) for each in kept]
        assert any("draft.txt" in names for names in held) and any("rest.txt" in names for names in held)


async def test_what_is_not_ours_is_told_and_never_touched(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        ours = await home.worktree("ours")
        root = repository / ".worktrees"
        (root / "by-hand").mkdir()
        (root / "by-hand" / "notes").write_text("mine")
        git(repository, "worktree", "add", "-q", "-b", "theirs", str(root / "theirs"))
        git(repository, "branch", "agentpane/by-hand")
        git(repository, "update-ref", "refs/agentpane/run/another-data-folders/reviewed", "main")
        git(repository, "update-ref", "refs/agentpane/by-hand", "main")
        git(repository, "update-ref", "refs/agentpane/recovery/another-one", "main")
        git(repository, "worktree", "remove", "--force", ours.path)
        git(repository, "worktree", "add", "-q", ours.path, ours.branch)
        (Path(ours.path) / "thesis").write_text("precious")

        report = await home.report()
        codes = {each.code for each in report.findings}
        assert codes == {
            HealthCode.FOLDER_FOREIGN, HealthCode.WORKTREE_FOREIGN, HealthCode.BRANCH_FOREIGN, HealthCode.REFS_FOREIGN,
            HealthCode.RECOVERY_UNLISTED, ErrorCode.WORKTREE_NOT_FOUND,
        }  # fmt: skip
        assert not any(each.repairable for each in report.findings)
        refs = (await home.finding(HealthCode.REFS_FOREIGN)).what
        assert "refs/agentpane/by-hand, refs/agentpane/run/another-data-folders/reviewed" in refs
        assert all(each.size_bytes for each in report.findings if each.code == HealthCode.FOLDER_FOREIGN)
        refs = git(repository, "for-each-ref")
        after = await bench.engine.do(c.Repair(tuple(each.id for each in report.findings)))
        assert not any(outcome.done for outcome in after.repairs)
        with pytest.raises(AgentPaneError) as caught:
            await bench.engine.do(c.RemoveWorktree(ours.id))
        assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
        assert (Path(ours.path) / "thesis").read_text() == "precious"
        assert (root / "by-hand" / "notes").exists() and (root / "theirs" / "a.txt").exists()
        assert git(repository, "for-each-ref") == refs
        await bench.engine.do(c.RemoveProject(home.project.id))
        assert (Path(ours.path) / "thesis").read_text() == "precious"
        assert (await home.row(ours)).status is WorktreeStatus.REMOVED
        assert (root / "by-hand" / "notes").exists() and git(repository, "for-each-ref") == refs
        assert (await home.report()).ok, "what has left the board is no fault of it"


async def test_a_finding_that_has_changed_meanwhile_is_left_alone(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row = await home.worktree("away")
        os.rename(row.path, f"{row.path}-aside")
        found = await home.finding(ErrorCode.WORKTREE_NOT_FOUND)
        os.rename(f"{row.path}-aside", row.path)
        report = await bench.engine.do(c.Repair((found.id, "nonsense")))
        assert [outcome.done for outcome in report.repairs] == [False, False]
        assert "Nothing was done" in report.repairs[0].words and report.ok


async def test_recoveries_locks_trash_and_outputs_are_compared_too(
    data: Path, repository: Path, temporary: Path
) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        core = bench.engine.services.core
        row = await home.worktree("a card")
        (Path(row.path) / "lost.txt").write_text("x")
        opened = await core.git.open_repository(repository)
        listed = [await core.git.recovery_snapshot(opened, Path(row.path), name) for name in ("one", "two", "three")]
        other = Path((await home.worktree("another card")).path)
        (other / "mine.txt").write_text("staged\n")
        git(other, "add", "mine.txt")
        (other / "mine.txt").unlink()
        git(other, "commit", "-q", "--allow-empty", "--only", "-m", "a wrong turn")
        git(other, "reset", "-q", "--soft", "HEAD^")
        git(other, "init", "-q", "sub")
        git(other / "sub", "commit", "-q", "--allow-empty", "-m", "of its own")
        full = await core.git.recovery_snapshot(opened, other, "four", began=git(other, "rev-parse", "HEAD"))
        assert full is not None and (full.beside.commits, full.beside.bundles) == (1, ("sub",)) and full.beside.staged
        known = await bench.engine.do(c.ListRecoveries())
        assert known == ()
        await home.mend(*[each for each in (await home.report()).findings if each.code == HealthCode.RECOVERY_UNLISTED])
        every = await bench.engine.do(c.ListRecoveries())
        assert [each.beside for each in every if each.ref == full.ref] == [full.beside]
        kept = tuple(each for each in every if each.ref != full.ref)
        assert {(each.ref, each.files, each.size_bytes) for each in kept} == {
            (each.ref, each.files, each.size) for each in listed if each
        }
        assert {(each.files, each.size_bytes) for each in kept} == {(1, 1)}
        assert (await home.report()).recoveries == 4

        long_ago = SystemClock().now().timestamp() - 9_000
        git(repository, "update-ref", "-d", kept[0].ref)
        lock = Path(row.git_dir or "") / "index.lock"
        trash = repository / ".git" / "agentpane" / "trash" / "0123456789abcdef"
        trash.mkdir(parents=True)
        (trash / "file").write_bytes(b"x" * 10_000)
        unused, used = (data / "blobs" / (letter * 64) for letter in "ab")
        left = temporary / "agentpane-git-0abcdefg"
        (left / INNER).mkdir(parents=True)
        (left / MARK).write_text(left.name)
        for file in (lock, unused, used, left / INNER / "index"):
            file.write_text("x")
        for path in (lock, unused, used, left, left / INNER):
            os.utime(path, (long_ago, long_ago))
        await home.put(row, last_error=f"see {'b' * 64}")
        report = await home.report()
        found = {each.code: each for each in report.findings}
        assert set(found) == {
            HealthCode.RECOVERY_GONE, HealthCode.LOCK_LEFT, HealthCode.TRASH_LEFT, HealthCode.BLOBS_UNUSED,
            HealthCode.TEMPORARY_LEFT,
        }  # fmt: skip
        assert (found[HealthCode.TRASH_LEFT].size_bytes or 0) >= 10_000
        assert str(left) in found[HealthCode.TEMPORARY_LEFT].what, "what is deleted has been named"
        assert found[HealthCode.TEMPORARY_LEFT].where == str(temporary)
        await home.mend(*found.values())
        assert git(repository, "rev-parse", kept[0].ref) == kept[0].sha
        assert not lock.exists() and not trash.exists() and not left.exists() and not unused.exists() and used.exists()

        for theirs in (repository / ".git" / "index.lock", repository / ".git" / "refs" / "heads" / "main.lock"):
            theirs.touch()
            os.utime(theirs, (long_ago + 8_970, long_ago + 8_970))
            finding = await home.finding(HealthCode.LOCK_LEFT)
            assert (finding.where, finding.repairable, finding.notice) == (str(theirs), False, False)
            assert f"rm {theirs}" in finding.fix
            theirs.unlink()


START = """
import subprocess, sys
held = open(sys.argv[2], "rb")
print(subprocess.Popen(["sleep", "60"], cwd=sys.argv[1], stdin=held, stdout=-3, stderr=-3).pid)
"""


def orphan(place: Path, holding: Path, **environment: str) -> int:
    """A program at work in `place` with a file open, whose parent has ended, so that it descends from nobody here."""
    command = [sys.executable, "-c", START, place, holding]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=True, timeout=BOUND
    )  # fmt: skip
    return int(done.stdout)


async def test_what_outlived_its_engine_is_ended_and_a_persons_program_goes_on(data: Path, repository: Path) -> None:
    pids = []
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row = await home.worktree("a card")
        try:
            marked = {COMMAND_MARK: "of-a-dead-engine"}
            pids.append(await asyncio.to_thread(orphan, Path(row.path), repository / "a.txt", **marked))
            pids.append(await asyncio.to_thread(orphan, Path(row.path), data / "agentpane.db"))
            left = await home.finding(HealthCode.PROCESS_LEFT)
            theirs = await home.finding(HealthCode.PROCESS_FOREIGN)
            shared = await home.finding(HealthCode.DATABASE_SHARED)
            assert str(pids[0]) in left.what and str(pids[1]) in theirs.what and not theirs.repairable
            assert f"process {pids[1]}." in shared.what and shared.notice and not shared.repairable
            await home.mend(left)
            assert not psutil.pid_exists(pids[0]) and psutil.pid_exists(pids[1])
        finally:
            for pid in pids:
                if psutil.pid_exists(pid):
                    psutil.Process(pid).kill()


async def test_a_worktree_that_nobody_used_may_go_and_what_it_held_is_kept(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, fresh = await home.worktree("old one"), await home.worktree("fresh")
        git(Path(row.path), "worktree", "add", "-q", "-b", "inner", str(Path(row.path) / "inner"))
        (Path(row.path) / "inner" / "idea.txt").write_text("somebody's")
        (Path(row.path) / "new.txt").write_bytes(b"x" * 50_000)
        old = SystemClock().now() - OLD
        await home.put(row, at=old, last_error=None)
        for path in (Path(row.path), Path(row.git_dir or "") / "index"):
            os.utime(path, (old.timestamp(), old.timestamp()))

        listed = {entry.id: entry for entry in await bench.engine.do(c.ListWorktrees(home.project.id))}
        assert listed[row.id].stale == (StaleReason.IDLE,) and listed[fresh.id].stale == ()
        assert (listed[row.id].size_bytes or 0) > 50_000 and not listed[row.id].in_use
        stale = await home.finding(HealthCode.WORKTREE_STALE)
        assert stale.notice and stale.size_bytes == listed[row.id].size_bytes and (await home.report()).ok
        assert Path(row.path).exists(), "nothing goes without consent"

        report = await bench.engine.do(c.Repair((stale.id,)))
        assert [each.done for each in report.repairs] == [False] and "inner" in report.repairs[0].words
        assert (Path(row.path) / "inner" / "idea.txt").read_text() == "somebody's", "it would have gone with ours"
        git(repository, "worktree", "move", f"{row.path}/inner", str(repository.with_name("moved")))
        os.utime(row.path, (old.timestamp(), old.timestamp()))
        await home.put(row, at=old, last_error=None)
        await home.mend(await home.finding(HealthCode.WORKTREE_STALE))
        assert not Path(row.path).exists() and Path(fresh.path).exists()
        (kept,) = await bench.engine.do(c.ListRecoveries())
        assert git(repository, "ls-tree", "-r", "--name-only", kept.sha).endswith("new.txt")
        (gone,) = [
            entry.record.output
            for entry in await bench.engine.do(c.ListAudit(home.project.id))
            if entry.record.tool == "worktree.remove"
        ]
        assert gone is not None and gone["recovery"] == kept.ref
        assert git(repository, "branch", "--list", row.branch) != ""


async def test_a_card_at_work_gets_its_worktree_again_after_it_was_taken_away(data: Path, repository: Path) -> None:
    write, more, done = (
        [use("Write", file_path="new.txt", content="hello\n")],
        [use("Write", file_path="more.txt", content="more\n")],
        [say("Done.")],
    )
    with scripted(write, done, more, done) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            (entry,) = [each for each in await bench.engine.do(c.ListWorktrees()) if each.task_id == task.card.id]
            await bench.engine.do(c.RemoveWorktree(entry.id))
            assert not Path(entry.path).exists() and (await bench.engine.do(c.Doctor())).ok
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(c.RemoveWorktree(entry.id))
            assert caught.value.code is ErrorCode.WORKTREE_NOT_FOUND
            await bench.engine.do(c.Reject(task.card.id, "Add more.", environment=server.environment))
            again = await bench.reviewed(task)
            assert again.card.files_changed == 2 and again.branch == task.branch
            await bench.engine.do(c.RemoveWorktree(entry.id))
            await bench.engine.do(c.Approve(task.card.id))
            assert (repository / "more.txt").exists()
            assert git(repository, "branch", "--list", "agentpane/*") == ""
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.VERIFIED


async def test_a_worktree_in_use_stays(data: Path, repository: Path) -> None:
    with scripted([use("AskUser", question="Which?", options=["a", "b"])], [say("Done.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
            (entry,) = [each for each in await bench.engine.do(c.ListWorktrees()) if each.task_id == task.card.id]
            assert entry.in_use and entry.stale == ()
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(c.RemoveWorktree(entry.id))
            assert caught.value.code is ErrorCode.RESOURCE_LOCKED and Path(entry.path).is_dir()


async def test_the_doctor_looks_by_itself_when_the_engine_starts_and_only_reports(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row = await home.worktree("a card")
    shutil.rmtree(row.path)
    async with running(data, {}) as bench:
        assert await bench.engine.do(c.GetHealth()) is None, "nobody waits for it"
        async with asyncio.timeout(BOUND):
            async for published in bench.engine.events():
                if isinstance(published, Published) and isinstance(published.event, HealthChanged):
                    break
        report = await bench.engine.do(c.GetHealth())
        assert report == published.event.report and [each.where for each in report.findings] == [row.path]
        assert not Path(row.path).exists()
        assert replace(await home_row(bench, row), updated_at=row.updated_at) == row


async def home_row(bench: Bench, row: WorktreeRow) -> WorktreeRow:
    return await bench.engine.services.core.db.read(worktrees.get, row.id)
