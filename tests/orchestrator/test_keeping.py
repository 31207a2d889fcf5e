"""Nothing that an agent left is lost: its turns are kept, and what is discarded can be taken out of the bin again."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentpane.api import commands as c
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.board import Column
from agentpane.domain.projects import Project
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Worktrees
from tests.backends.wire import say, use
from tests.orchestrator.conftest import BOUND, Bench, git, running, scripted
from tests.orchestrator.test_programs import agent_in, asked

ONE = [use("Write", file_path="one.txt", content="one\n")]
TWO = [use("Write", file_path="two.txt", content="two\n"), use("Bash", command="rm one.txt && echo x >> a.txt")]
THREE = [use("Write", file_path="three.txt", content="three\n")]
DONE = [say("Done.")]


async def limited(bench: Bench, repository: Path, turns: int) -> Project:
    """A project whose runs pause after so many turns, and whose worktrees get an env file that only its user reads."""
    (repository / ".env").write_text("KEY=secret\n")
    (repository / ".env").chmod(0o600)
    (repository / ".git" / "info" / "exclude").write_text(".env\n")
    project = await bench.project(repository)
    config = replace(project.config, max_turns=turns, env_file=".env", pool_size=0)
    return await bench.engine.do(c.EditProject(project.id, config=config))


async def paused(bench: Bench, repository: Path, turns: int) -> Task:
    project = await limited(bench, repository, turns)
    task = await bench.settled(await bench.start(await bench.card(project)))
    assert (task.runs[-1].status, task.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.TURN_LIMIT)
    return task


def place(task: Task) -> Path:
    assert task.worktree is not None
    return Path(task.worktree)


async def refusal(bench: Bench, command: object) -> ErrorCode:
    with pytest.raises(AgentPaneError) as caught:
        await bench.engine.do(command)  # type: ignore[call-overload]
    return caught.value.code


async def test_each_turn_that_changed_files_is_kept_and_the_worktree_can_be_set_back_to_it(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = [use("Read", file_path="a.txt")]
    with scripted(ONE, TWO, look, THREE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 3)
            first, second = await bench.engine.do(c.ListTurns(task.card.id))
            assert [(each.turn, each.files, each.added, each.removed) for each in (first, second)] == [
                (1, 1, 1, 0),
                (2, 3, 2, 1),
            ]
            events = await bench.session(task)
            told = [event.data for event in events if event.kind is EventKind.SNAPSHOT]
            assert [(each["turn"], each["sha"]) for each in told] == [(1, first.sha), (2, second.sha)]
            assert task.branch is not None
            assert git(repository, "rev-parse", task.branch) == task.base_sha  # no commit on the branch
            assert ".env" not in git(repository, "ls-tree", "-r", "--name-only", second.sha)

            assert await refusal(bench, c.ResetWorktree(task.card.id, "f" * 40)) is ErrorCode.VALIDATION_ERROR
            (place(task) / "mine.txt").write_text("the person's\n")
            await bench.engine.do(c.ResetWorktree(task.card.id, first.sha[:8]))
            assert (place(task) / "one.txt").read_text() == "one\n"
            assert (place(task) / "a.txt").read_text() == "one\ntwo\n"
            assert (place(task) / ".env").read_text() == "KEY=secret\n"
            assert not (place(task) / "two.txt").exists() and not (place(task) / "mine.txt").exists()
            (kept,) = await bench.engine.do(c.ListRecoveries(task.card.project_id))
            assert (kept.reason, kept.files, kept.title) == ("reset", 4, task.card.title)
            assert kept.size_bytes == sum(map(len, ("one\ntwo\nx\n", "two\n", "the person's\n", "KEY=secret\n")))
            assert git(repository, "show", f"{kept.ref}:mine.txt") == "the person's"

            for name in ("one by hand", "two by hand"):
                git(place(task), "commit", "-q", "--allow-empty", "-m", name)
            monkeypatch.setattr("agentpane.orchestrator.keeping.turn_snapshots.too_many", lambda rows: rows[1:-1])
            await bench.engine.do(c.ResumeRun(task.card.id, turns=9, environment=bench.environment))
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert "set the worktree back to what your turn 1 left" in str(server.requests[3].messages)
            left, third = await bench.engine.do(c.ListTurns(task.card.id))
            gone = [event.data for event in await bench.session(task) if event.data.get("state") == "turns_let_go"]
            assert left == first and gone[-1] == {"state": "turns_let_go", "count": 1, "most": 200}
            assert (third.turn, third.files, third.added, third.removed) == (4, 1, 1, 0)  # since it was set back
            diff = await bench.engine.do(c.GetDiff(task.card.id))
            assert [file.path for file in diff.files] == ["one.txt", "three.txt"]
            assert [commit.partition(" ")[2] for commit in diff.commits] == ["two by hand", "one by hand"]
            for most, more in ((2, False), (1, True)):
                monkeypatch.setattr("agentpane.orchestrator.merging.review.MOST_COMMITS", most)
                cut = await bench.engine.do(c.GetDiff(task.card.id))
                assert (cut.commits, cut.more_commits) == (diff.commits[:most], more)
            git(repository, "update-ref", "refs/heads/main", diff.commits[0].partition(" ")[0])
            assert (await bench.engine.do(c.GetDiff(task.card.id))).commits == ()  # the target has them by itself
            assert await refusal(bench, c.ResetWorktree(done.card.id, first.sha)) is ErrorCode.TASK_NOT_IN_COLUMN
            assert (await bench.engine.do(c.VerifyAudit())).ok


async def test_what_a_plain_command_leaves_is_kept_without_large_files_and_what_cannot_be_kept_stops_nobody(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentpane.worktrees.snapshots.turns.LARGEST_FILE", 50)
    async with running(data, {}) as bench:
        project = await limited(bench, repository, 9)
        config = AgentConfig(command="echo x > made.txt; head -c 60 /dev/zero > big")
        await bench.engine.do(c.AddAgent(project.id, "Plain", BackendName.COMMAND, config=config))
        task = await bench.reviewed(await bench.start(await bench.card(project), agent="Plain"))
        (kept,) = await bench.engine.do(c.ListTurns(task.card.id))
        assert (kept.turn, kept.files, kept.added, kept.left_out) == (1, 1, 1, ("big",))

        async def full(*given: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("agentpane.worktrees.snapshots.turns.keep_turn", full)
        again = await bench.reviewed(await bench.start(await bench.card(project), agent="Plain"))
        assert await bench.engine.do(c.ListTurns(again.card.id)) == ()
        told = [event.data for event in await bench.session(again) if event.data.get("state") == "turn_not_kept"]
        assert len(told) == 2 and all("No space left" in str(each["message"]) for each in told)


async def test_a_program_that_waits_for_a_decision_is_ended_before_its_worktree_is_set_back(
    data: Path, repository: Path
) -> None:
    edits = [["call", name, "edit", f"Write {name}", {"path": name, "content": "x\n"}, "allow_once"] for name in "bc"]
    config = agent_in(repository, [["say", "First."], edits[0], ["say", "Now the other."], edits[1]])
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.ACP, config=config))
        task = await bench.start(await bench.card(project, agent="Own"))
        first = await asked(bench, task)
        await bench.engine.do(c.DecideApproval(first.id, allow=True))
        waiting = await bench.until(task, lambda now: now.card.approvals_pending == 1 and (place(now) / "b").exists())
        second = await asked(bench, task)
        async with asyncio.timeout(BOUND):
            while not (turns := await bench.engine.do(c.ListTurns(task.card.id))):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        (place(waiting) / "b").write_text("by hand\n")
        back = await bench.engine.do(c.ResetWorktree(task.card.id, turns[0].sha))
        assert (place(back) / "b").read_text() == "x\n"
        assert (back.runs[-1].status, back.card.approvals_pending) == (RunStatus.PAUSED, 1)
        await bench.engine.do(c.DecideApproval(second.id, allow=True))  # the run goes on, from what is stored of it
        await bench.until(task, lambda now: now.card.approvals_pending == 1)
        assert (await asked(bench, task)).id != second.id


async def test_an_agent_that_begins_anew_finds_the_worktree_as_its_work_began(data: Path, repository: Path) -> None:
    with scripted(ONE, THREE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            (place(task) / "one.txt").chmod(0o755)
            (place(task) / "cache.tmp").write_text("the person's\n")
            (place(task) / "a.txt").unlink()
            anew = c.ResumeRun(task.card.id, turns=9, afresh=True, environment=bench.environment)
            await bench.engine.do(anew)
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert (done.worktree, done.card.files_changed) == (task.worktree, 2)
            diff = await bench.engine.do(c.GetDiff(task.card.id))
            assert [(file.path, file.new_mode) for file in diff.files] == [
                ("one.txt", "100644"),
                ("three.txt", "100644"),
            ]
            assert (place(done) / ".env").read_text() == "KEY=secret\n"
            (kept,) = await bench.engine.do(c.ListRecoveries())
            assert kept.reason == "retry afresh"
            assert git(repository, "show", f"{kept.ref}:one.txt") == "one"
            assert git(repository, "show", f"{kept.ref}:cache.tmp") == "the person's"
            (back,) = [event.data for event in await bench.session(task) if event.data.get("state") == "set_back"]
            assert (back["sha"], back["recovery"], back["files"]) == (task.base_sha, kept.ref, 3)
            assert server.requests[1].messages == server.requests[0].messages


async def test_what_is_saved_while_a_worktree_is_set_back_is_named_beside_what_was_kept_before(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Worktrees.set_back

    async def met_by_a_person(*given: Any) -> int:
        _, _, worktree, _, _, keep = given[:6]
        await keep(())
        (worktree.path / "late.txt").write_text("late\n")
        return await whole(*given)

    monkeypatch.setattr(Worktrees, "set_back", met_by_a_person)
    with scripted(ONE, THREE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            (place(task) / "mine.txt").write_text("mine\n")
            (turn,) = await bench.engine.do(c.ListTurns(task.card.id))
            await bench.engine.do(c.ResetWorktree(task.card.id, turn.sha))
            later, first = await bench.engine.do(c.ListRecoveries())
            told = {str(event.data.get("state")): event.data.get("recovery") for event in await bench.session(task)}
            assert (told["set_back"], told["worktree_kept"]) == (first.ref, later.ref)
            assert git(repository, "show", f"{first.ref}:mine.txt") == "mine"
            assert git(repository, "show", f"{later.ref}:late.txt") == "late"
            assert not (place(task) / "late.txt").exists()


async def test_an_agent_that_begins_anew_does_not_find_the_commits_of_a_worktree_that_was_taken_away(
    data: Path, repository: Path
) -> None:
    with scripted(ONE, THREE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            (place(task) / "mine.txt").write_text("committed by hand\n")
            git(place(task), "add", "mine.txt", "one.txt")
            git(place(task), "commit", "-q", "-m", "by hand")
            git(repository, "worktree", "remove", "--force", str(place(task)))
            anew = c.ResumeRun(task.card.id, turns=9, afresh=True, environment=bench.environment)
            await bench.engine.do(anew)
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            files = (await bench.engine.do(c.GetDiff(task.card.id))).files
            assert [file.path for file in files] == ["one.txt", "three.txt"]
            assert (place(done) / ".env").read_text() == "KEY=secret\n"


@pytest.mark.parametrize("where", ["on the branch", "in a rebase", "without its branch"])
async def test_beginning_afresh_leaves_the_commit_that_it_is_set_back_to_and_keeps_the_discarded_ones(
    data: Path, repository: Path, where: str
) -> None:
    with scripted(ONE, [use("Bash", command="git status --porcelain > seen.txt")], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            tree, branch = place(task), task.branch or ""
            (tree / "q").write_text("PASSWORD=hunter2\n")
            if where != "on the branch":
                git(tree, "checkout", "-q", "--detach")
            git(tree, "add", "q")
            git(tree, "commit", "-q", "-m", "a discarded wrong turn")
            wrong = git(tree, "rev-parse", "HEAD")
            if where == "without its branch":
                git(repository, "update-ref", "-d", f"refs/heads/{branch}")
            if where == "in a rebase":
                git(repository, "update-ref", f"refs/heads/{branch}", wrong)
                git(tree, "-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-q", "-i", "HEAD~1")
            (tree / "staged.txt").write_text("staged\n")
            git(tree, "add", "staged.txt")
            git(tree, "rm", "-q", "--cached", "a.txt")

            await bench.engine.do(c.ResumeRun(task.card.id, turns=9, afresh=True, environment=bench.environment))
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert git(repository, "rev-list", "--count", f"{task.base_sha}..{done.snapshot}") == "1"
            assert git(tree, "symbolic-ref", "HEAD") == f"refs/heads/{branch}"
            assert git(tree, "rev-parse", "HEAD") == done.snapshot and git(tree, "status", "--porcelain") == ""
            assert "rebas" not in git(tree, "status")
            listed = git(repository, "ls-tree", "-r", "--name-only", branch).split()
            assert listed == ["README.md", "a.txt", "one.txt", "seen.txt"]
            assert (tree / "seen.txt").read_text() == "?? one.txt\n?? seen.txt\n"
            (kept,) = await bench.engine.do(c.ListRecoveries())
            assert git(repository, "merge-base", "--is-ancestor", wrong, kept.ref) == ""
            assert (await bench.engine.do(c.GetDiff(task.card.id))).commits == ()
            worktrees = bench.engine.services.core.git
            repo = await worktrees.open_repository(repository)
            below = await worktrees.inspection.between(repo, task.base_sha or "", wrong, 9)
            assert below == (f"{wrong} a discarded wrong turn",)
            (back,) = [event.data for event in await bench.session(task) if event.data.get("state") == "set_back"]
            assert (back["sha"], back["recovery"]) == (task.base_sha, kept.ref)


async def test_a_card_whose_worktree_is_on_a_branch_without_a_commit_begins_afresh_and_is_cancelled(
    data: Path, repository: Path
) -> None:
    with scripted(ONE, [use("Read", file_path="a.txt")], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            git(place(task), "switch", "-q", "--orphan", "elsewhere")
            (place(task) / "mine.txt").write_text("first\n")
            (place(task) / "a.txt").write_text("mine, too\n")
            anew = c.ResumeRun(task.card.id, turns=1, afresh=True, environment=bench.environment)
            again = await bench.settled(await bench.engine.do(anew))
            assert git(place(again), "rev-parse", "HEAD") == task.base_sha
            git(place(task), "switch", "-q", "--orphan", "nowhere")
            (place(task) / "mine.txt").write_text("second\n")
            await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            assert not place(task).exists()
            kept = [
                git(repository, "show", f"{each.sha}:mine.txt") for each in await bench.engine.do(c.ListRecoveries())
            ]
            assert sorted(kept) == ["first", "second"]


async def test_a_card_goes_on_with_what_was_restored_and_nothing_of_it_is_committed(
    data: Path, repository: Path
) -> None:
    with scripted(ONE, THREE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            (place(task) / ".env").write_text("KEY=changed by hand\n")
            (place(task) / "tool").write_text("#!/bin/sh\n")
            (place(task) / "tool").chmod(0o700)
            (place(task) / "link").symlink_to("tool")
            cancelled = await bench.engine.do(c.CancelTask(task.card.id))
            assert cancelled.worktree is None and not place(task).exists()
            (kept,) = await bench.engine.do(c.ListRecoveries())
            assert (kept.reason, kept.project, kept.branch) == ("cancel", "repository", task.branch)

            work = await bench.engine.do(c.RestoreRecovery(kept.id[:10]))
            assert (work.task_id, work.path, work.branch) == (task.card.id, task.worktree, task.branch)
            _check_restored(Path(work.path), repository, kept)
            again = await bench.engine.do(c.RestoreRecovery(kept.id))  # its card has a worktree by now
            assert again.task_id is None and again.branch.startswith("agentpane/recovered-change-a-txt-")
            _check_restored(Path(again.path), repository, kept)
            names = {each.path: (each.title, each.restored_from) for each in await bench.engine.do(c.ListWorktrees())}
            assert names == {work.path: (kept.title, ""), again.path: (None, kept.title)}
            third = await bench.engine.do(c.RestoreRecovery(kept.id))
            assert third.branch == f"{again.branch}-2" and Path(third.path) != Path(again.path)

            shutil.rmtree(work.path)
            lost = [each.id for each in (await bench.engine.do(c.Doctor())).findings if each.where == work.path]
            (mended,) = (await bench.engine.do(c.Repair(tuple(lost)))).repairs
            assert mended.done and "The card has no restored work any more." in mended.words and kept.id in mended.words
            bare = await bench.engine.do(c.GetTask(task.card.id))
            assert not bare.is_restored and not Path(work.path).exists()
            work = await bench.engine.do(c.RestoreRecovery(kept.id))
            assert (work.task_id, work.branch) == (task.card.id, task.branch)
            _check_restored(Path(work.path), repository, kept)

            (repository / ".env").write_text("KEY=another by now\n")
            config = replace((await bench.engine.do(c.GetProject(task.card.project_id))).config, max_turns=9)
            await bench.engine.do(c.EditProject(task.card.project_id, config=config))
            done = await bench.reviewed(await bench.start(cancelled))
            assert (done.worktree, done.branch) == (task.worktree, task.branch)
            told = str(server.requests[1].messages)
            assert "uncommitted work of an earlier attempt" in told and task.card.title in told
            diff = await bench.engine.do(c.GetDiff(task.card.id))
            assert [file.path for file in diff.files] == ["link", "one.txt", "three.txt", "tool"]
            assert (place(done) / ".env").read_text() == "KEY=changed by hand\n"
            lock = repository / ".git" / f"{kept.ref}.lock"
            lock.touch()
            assert await refusal(bench, c.DeleteRecovery(kept.id)) is ErrorCode.RESOURCE_LOCKED
            assert await bench.engine.do(c.ListRecoveries()) == (kept,)
            lock.unlink()
            assert await bench.engine.do(c.DeleteRecovery(kept.id)) == kept
            assert await refusal(bench, c.RestoreRecovery(kept.id)) is ErrorCode.VALIDATION_ERROR
            assert git(repository, "for-each-ref", "refs/agentpane/recovery") == ""
            assert await bench.engine.do(c.ListRecoveries()) == ()


def _check_restored(path: Path, repository: Path, kept: RecoverySnapshot) -> None:
    assert git(path, "rev-parse", "HEAD") == kept.parent
    assert (path / ".env").read_text() == "KEY=changed by hand\n"
    assert [(path / name).stat().st_mode & 0o777 for name in (".env", "tool", "one.txt")] == [0o600, 0o700, 0o644]
    assert (path / "link").readlink() == Path("tool")
    assert set(git(path, "status", "--porcelain").split("\n")) == {"?? link", "?? one.txt", "?? tool"}


async def test_a_removed_project_keeps_its_bin_and_what_cannot_be_restored_whole_leaves_nothing(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(ONE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await paused(bench, repository, 1)
            branch = f"{task.branch}"
            await bench.engine.do(c.RemoveProject(task.card.project_id, purge=True))
            (kept,) = await bench.engine.do(c.ListRecoveries())
            assert (kept.title, kept.repository) == (task.card.title, str(repository))
            assert git(repository, "show", f"{kept.ref}:one.txt") == "one"
            assert await refusal(bench, c.RestoreRecovery(kept.id)) is ErrorCode.PROJECT_NOT_FOUND

            await bench.project(repository)
            before = git(repository, "worktree", "list"), git(repository, "for-each-ref")

            async def fail(*given: object) -> None:
                raise AgentPaneError(ErrorCode.STORE_FULL, "The disk is full.")

            with monkeypatch.context() as broken:
                broken.setattr("agentpane.worktrees.keeping.exact.lay_out", fail)
                assert await refusal(bench, c.RestoreRecovery(kept.id)) is ErrorCode.STORE_FULL
            assert (git(repository, "worktree", "list"), git(repository, "for-each-ref")) == before
            work = await bench.engine.do(c.RestoreRecovery(kept.id))
            assert work.task_id is None and work.branch != branch
            assert (Path(work.path) / "one.txt").read_text() == "one\n"
            await bench.engine.do(c.RemoveProject(str(repository), purge=True))  # which no card has brought about
            assert not Path(work.path).exists()
            (again, _) = await bench.engine.do(c.ListRecoveries())
            assert (again.reason, again.task_id, again.branch) == ("project remove", None, work.branch)
            await bench.project(repository)
            git(repository, "update-ref", "-d", kept.ref)
            assert await refusal(bench, c.RestoreRecovery(kept.id)) is ErrorCode.VALIDATION_ERROR
