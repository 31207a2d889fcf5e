"""The main job, through the engine's one door: a card, an agent, a diff, a merge."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.cli import words
from agentpane.domain.board import Column
from agentpane.domain.keeping import Going
from agentpane.domain.policy import Policy
from agentpane.domain.review import ApproveResult, MergeStrategy, ReviewComment
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError, ErrorCode
from tests.backends.wire import Failure, ScriptedServer, say, use
from tests.orchestrator.conftest import git, make_repository, running, scripted

WRITE = [say("I write it."), use("Write", file_path="new.txt", content="hello\n")]
DONE = [say("Done.")]


async def test_a_card_becomes_a_merge_commit_whose_tree_is_the_reviewed_one(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            task = await bench.reviewed(await bench.start(await bench.card(project)))
            assert task.snapshot is not None and task.worktree is not None
            assert (Path(task.worktree) / "new.txt").read_text() == "hello\n"
            assert (task.card.files_changed, task.card.lines_added, task.card.lines_removed) == (1, 1, 0)
            diff = await bench.engine.do(c.GetDiff(task.card.id))
            assert [(file.path, file.status) for file in diff.files] == [("new.txt", "A")]
            chunk = await bench.engine.do(c.GetPatch(task.card.id, diff.snapshot))
            assert b"+hello\n" in chunk.data and chunk.next_offset is None

            outcome = await bench.engine.do(c.Approve(task.card.id, sha=task.snapshot))
            assert outcome.result is ApproveResult.MERGED
            assert git(repository, "rev-parse", "main") == outcome.merge_commit
            assert git(repository, "rev-parse", "main^{tree}") == git(
                repository, "rev-parse", f"{task.snapshot}^{{tree}}"
            )
            assert (repository / "new.txt").read_text() == "hello\n"
            after = await bench.engine.do(c.GetTask(task.card.id))
            assert after.card.column is Column.VERIFIED
            assert after.merge_commit == outcome.merge_commit
            assert after.worktree is None
            assert not Path(task.worktree).exists()
            assert git(repository, "branch", "--list", "agentpane/*") == ""
            assert git(repository, "status", "--porcelain") == ""
            verdict = await bench.engine.do(c.VerifyAudit())
            assert verdict.ok and verdict.entries >= 4
            seqs = [event.seq for event in await bench.session(task)]
            assert seqs == list(range(1, len(seqs) + 1))


async def test_what_the_person_has_not_committed_stays_byte_for_byte(data: Path, repository: Path) -> None:
    (repository / "README.md").write_text("# Mine, not committed\n")
    (repository / "notes").write_bytes(b"\x00mine")
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            outcome = await bench.engine.do(c.Approve(task.card.id))
            assert outcome.result is ApproveResult.MERGED
    assert (repository / "README.md").read_text() == "# Mine, not committed\n"
    assert (repository / "notes").read_bytes() == b"\x00mine"
    assert (repository / "new.txt").exists()


async def test_a_dirty_file_in_the_way_refuses_the_merge_and_is_kept(data: Path, repository: Path) -> None:
    with scripted([use("Write", file_path="new.txt", content="theirs\n")], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            (repository / "new.txt").write_text("mine\n")
            head = git(repository, "rev-parse", "main")
            outcome = await bench.engine.do(c.Approve(task.card.id))
            assert (outcome.result, outcome.code) == (ApproveResult.REFUSED, ErrorCode.MERGE_CHECKOUT_DIRTY)
            assert outcome.paths == ("new.txt",)
            assert (repository / "new.txt").read_text() == "mine\n"
            assert git(repository, "rev-parse", "main") == head
            (repository / "new.txt").unlink()
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED


async def test_a_conflict_keeps_both_sides_and_lists_the_paths(data: Path, repository: Path) -> None:
    edit = [use("Read", file_path="a.txt")], [use("Edit", file_path="a.txt", old_string="one", new_string="agent")]
    with scripted(*edit, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            (repository / "a.txt").write_text("person\ntwo\n")
            git(repository, "commit", "-qam", "mine")
            head = git(repository, "rev-parse", "main")
            outcome = await bench.engine.do(c.Approve(task.card.id))
            assert (outcome.result, outcome.paths) == (ApproveResult.CONFLICTED, ("a.txt",))
            assert git(repository, "rev-parse", "main") == head
            now = await bench.engine.do(c.GetTask(task.card.id))
            assert now.card.column is Column.WAITING_APPROVAL
            assert [each.path for each in now.card.conflicts] == ["a.txt"]
            assert now.snapshot == task.snapshot


async def test_a_base_that_went_on_is_merged_onto_and_one_that_was_rewound_is_refused(
    data: Path, tmp_path: Path, repository: Path
) -> None:
    (repository / "second.txt").write_text("2\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            first = await bench.reviewed(await bench.start(await bench.card(project, "One")))
            (repository / "later.txt").write_text("later\n")
            git(repository, "add", "-A")
            git(repository, "commit", "-qm", "later")
            assert (await bench.engine.do(c.Approve(first.card.id))).result is ApproveResult.MERGED
            git(repository, "reset", "-q", "--hard", "HEAD~1")
            second = await bench.reviewed(await bench.start(await bench.card(project, "Two")))
            git(repository, "reset", "-q", "--hard", "HEAD~2")
            outcome = await bench.engine.do(c.Approve(second.card.id))
            assert (outcome.result, outcome.code) == (ApproveResult.REFUSED, ErrorCode.MERGE_BASE_MOVED)


async def test_only_what_was_reviewed_is_merged(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            stale = await bench.engine.do(c.Approve(task.card.id, sha="0" * 40))
            assert (stale.result, stale.code) == (ApproveResult.REFUSED, ErrorCode.MERGE_REVIEW_STALE)
            assert task.worktree is not None
            (Path(task.worktree) / "slipped-in.txt").write_text("after the review\n")
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
            assert not (repository / "slipped-in.txt").exists()
            refs = git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/recovery")
            assert "slipped-in.txt" in git(repository, "ls-tree", "-r", "--name-only", refs.splitlines()[-1])
            again = await bench.engine.do(c.Approve(task.card.id))
            assert (again.result, again.code) == (ApproveResult.REFUSED, ErrorCode.TASK_ALREADY_APPROVED)


@pytest.mark.parametrize("strategy", [MergeStrategy.SQUASH, MergeStrategy.FF])
async def test_the_other_strategies_merge_the_same_tree(data: Path, repository: Path, strategy: MergeStrategy) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            outcome = await bench.engine.do(c.Approve(task.card.id, strategy=strategy))
            assert outcome.result is ApproveResult.MERGED
            parents = git(repository, "rev-list", "--parents", "-n1", "main").split()[1:]
            assert len(parents) == 1
            assert (outcome.merge_commit == task.snapshot) == (strategy is MergeStrategy.FF)


async def test_a_rejection_reaches_the_agent_in_the_same_worktree_and_a_second_diff_comes_back(
    data: Path, repository: Path
) -> None:
    better = [use("Write", file_path="better.txt", content="better\n")]
    with scripted(WRITE, DONE, better, DONE) as server:
        async with running(data, server.environment) as bench:
            first = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            comments = (ReviewComment("new.txt", 1, "say it better"),)
            back = await bench.engine.do(
                c.Reject(first.card.id, "Not good enough", comments, environment=bench.environment)
            )
            assert back.card.column is Column.IN_PROGRESS
            assert (back.card.rejection_count, back.snapshot, back.worktree) == (1, None, first.worktree)
            second = await bench.reviewed(back)
            assert second.snapshot not in {None, first.snapshot}
            assert (second.branch, second.card.files_changed) == (first.branch, 2)
            said = str(server.requests[2].messages[-1])
            assert "Not good enough" in said and "new.txt:1: say it better" in said
            assert (await bench.engine.do(c.Approve(first.card.id))).result is ApproveResult.MERGED


async def test_an_agent_that_changes_nothing_leaves_a_card_that_says_so_and_can_be_answered(
    data: Path, repository: Path
) -> None:
    with scripted([say("Nothing to do.")], WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
            assert (task.card.column, task.card.code) == (Column.IN_PROGRESS, ErrorCode.TASK_NO_DIFF)
            assert task.runs[-1].status is RunStatus.COMPLETED
            await bench.engine.do(c.Answer(task.card.id, "Write new.txt", environment=bench.environment))
            again = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert again.card.code is None
            assert "Write new.txt" in str(server.requests[1].messages)


async def test_cancelling_keeps_what_was_there_and_puts_the_card_back(data: Path, repository: Path) -> None:
    ignored = "mkdir build && touch build/x && echo /build > .gitignore && sleep 60"
    slow = [use("Write", file_path="half.txt", content="half\n"), use("Bash", command=ignored)]
    with scripted(slow, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)))
            working = await bench.until(
                task, lambda now: now.worktree is not None and (Path(now.worktree) / ".gitignore").exists()
            )
            done = await bench.engine.do(c.PutBack(working.card.id))
            assert done.going == Going(None, 1, ("build/",))
            said = [event.data for event in await bench.engine.do(c.ReadSession(task.card.id, 0, 1_000))]
            assert {"state": "ignored_gone", "paths": ["build/"], "more": 0} in said
            assert done.kept is not None and done.kept.reason == "cancel" and done.kept.task_id == task.card.id
            cancelled = done.task
            assert cancelled.card.column is Column.BACKLOG
            assert cancelled.runs[-1].status is RunStatus.CANCELLED
            assert (cancelled.worktree, cancelled.branch) == (None, None)  # it had no commit, and is gone
            assert working.worktree is not None and not Path(working.worktree).exists()
            ref = git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/recovery")
            assert git(repository, "show", f"{ref}:half.txt") == "half"
            assert git(repository, "branch", "--list", "agentpane/*") == ""


async def test_cancelling_a_reviewed_card_keeps_its_branch(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            with pytest.raises(AgentPaneError) as unasked:
                await bench.engine.do(c.CancelTask(task.card.id))
            assert (unasked.value.code, unasked.value.details) == (ErrorCode.VALIDATION_ERROR, {"field": "confirmed"})
            assert await bench.engine.do(c.GetTask(task.card.id)) == task
            assert task.worktree is not None
            own = git(Path(task.worktree), "rev-parse", "--absolute-git-dir")
            Path(own, "index").write_text("torn\n")  # what is only asked about a stop keeps nobody from it
            done = await bench.engine.do(c.PutBack(task.card.id, confirmed=True))
            assert done.going == Going(task.branch, None)
            cancelled = done.task
            assert (cancelled.card.column, cancelled.snapshot, cancelled.worktree) == (Column.BACKLOG, None, None)
            assert task.branch is not None
            assert git(repository, "rev-parse", task.branch) == task.snapshot
            again = await bench.reviewed(await bench.start(cancelled))
            assert again.branch != task.branch


async def test_the_queue_is_first_in_first_out_and_keeps_to_the_limit(data: Path, repository: Path) -> None:
    with ScriptedServer([WRITE, DONE], delay=0.02) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            await bench.engine.do(c.EditProject(project.id, max_concurrent_agents=1))
            cards = [await bench.start(await bench.card(project, f"Card {number}")) for number in range(3)]
            places = [
                (await bench.engine.do(c.GetTask(card.card.id))).card.run.queue_place  # type: ignore[union-attr]
                for card in cards[1:]
            ]
            assert places == [1, 2]
            done = [await bench.reviewed(card) for card in cards]
            starts = [task.runs[-1].started_at for task in done]
            ends = [task.runs[-1].ended_at for task in done]
            assert all(start is not None and end is not None for start, end in zip(starts[1:], ends, strict=False))
            assert all(start >= end for start, end in zip(starts[1:], ends, strict=False))  # type: ignore[operator]


async def test_an_ask_pauses_the_run_until_a_person_decides_even_over_a_restart(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            paused = await bench.settled(await bench.start(task, policy=Policy.CAREFUL))
            assert (paused.runs[-1].status, paused.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.APPROVAL)
            with pytest.raises(AgentPaneError) as caught:
                await bench.engine.do(c.ResumeRun(task.card.id, environment=bench.environment))
            assert caught.value.code is ErrorCode.AGENT_NOT_RUNNING
        async with running(data, server.environment) as bench:
            (asked,) = await bench.engine.do(c.ListApprovals())
            assert (asked.tool, asked.input["file_path"]) == ("Write", "new.txt")
            await bench.engine.do(c.DecideApproval(asked.id, allow=True, environment=bench.environment))
            done = await bench.until(paused, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert done.card.files_changed == 1
            assert len(server.requests) == 2


async def test_a_denial_is_read_by_the_agent_and_has_no_effect(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            await bench.settled(await bench.start(task, policy=Policy.CAREFUL))
            (asked,) = await bench.engine.do(c.ListApprovals(task.card.id))
            await bench.engine.do(
                c.DecideApproval(asked.id, allow=False, message="Not there.", environment=bench.environment)
            )
            done = await bench.until(task, lambda now: now.card.code == ErrorCode.TASK_NO_DIFF)
            assert "Not there." in str(server.requests[1].messages[-1])
            assert done.worktree is not None and not (Path(done.worktree) / "new.txt").exists()
            with pytest.raises(AgentPaneError):
                await bench.engine.do(c.DecideApproval(asked.id, allow=True, environment=bench.environment))


async def test_always_allow_is_not_asked_again_in_the_project(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            first = await bench.card(project, "One")
            await bench.settled(await bench.start(first, policy=Policy.CAREFUL))
            (asked,) = await bench.engine.do(c.ListApprovals())
            decide = c.DecideApproval(asked.id, allow=True, always=True, environment=bench.environment)
            await bench.engine.do(decide)
            await bench.until(first, lambda now: now.card.column is Column.WAITING_APPROVAL)
            await bench.reviewed(await bench.start(await bench.card(project, "Two"), policy=Policy.CAREFUL))


async def test_a_read_only_run_is_denied_every_write(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            done = await bench.settled(await bench.start(task, policy=Policy.READ_ONLY))
            assert done.card.code == ErrorCode.TASK_NO_DIFF
            entries = await bench.engine.do(c.ListAudit(done.card.project_id))
            denied = [entry.record for entry in entries if entry.record.tool == "Write"]
            assert len(denied) == 1 and denied[0].error is not None and "denied" in denied[0].error


async def test_the_turn_limit_is_a_pause_with_a_choice(data: Path, repository: Path) -> None:
    look = [use("Read", file_path="a.txt")]
    with scripted(WRITE, look, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            config = project.config
            await bench.engine.do(c.EditProject(project.id, config=replace(config, max_turns=1)))
            task = await bench.settled(await bench.start(await bench.card(project)))
            assert (task.runs[-1].status, task.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.TURN_LIMIT)
            assert task.runs[-1].error is not None and task.runs[-1].error.code == ErrorCode.AGENT_TURN_LIMIT
            await bench.engine.do(c.ResumeRun(task.card.id, turns=1, environment=bench.environment))
            again = await bench.until(
                task, lambda now: now.runs[-1].status is RunStatus.PAUSED and now.runs[-1].turns == 2
            )
            finished = await bench.engine.do(c.ResumeRun(again.card.id, finish=True))
            assert finished.card.column is Column.WAITING_APPROVAL
            assert finished.card.files_changed == 1


async def test_a_refused_key_pauses_the_run_and_a_new_one_goes_on(data: Path, repository: Path) -> None:
    refused = Failure(401, "authentication_error", "invalid x-api-key")
    with ScriptedServer([refused]) as bad, scripted(WRITE, DONE) as good:
        async with running(data, bad.environment) as bench:
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
            assert (task.runs[-1].status, task.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.KEY)
            error = task.runs[-1].error
            assert error is not None and error.code == ErrorCode.BACKEND_AUTH
            assert "refused the key from ANTHROPIC_API_KEY" in error.message and bad.key not in repr(error)
            assert "Set another key in ANTHROPIC_API_KEY" in error.hint
            told = words.outcome(task)
            assert error.message in told and "It needs" not in told and f"agentpane resume {task.card.id}" in told
            await bench.engine.do(c.ResumeRun(task.card.id, environment=good.environment))
            await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)


async def test_without_a_key_nothing_starts_and_nothing_changes(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        task = await bench.card(await bench.project(repository))
        with pytest.raises(AgentPaneError) as caught:
            await bench.start(task)
        assert caught.value.code is ErrorCode.BACKEND_AUTH
        now = await bench.engine.do(c.GetTask(task.card.id))
        assert (now.card.column, now.runs) == (Column.BACKLOG, ())
        with pytest.raises(AgentPaneError):
            await bench.engine.do(c.MoveTask(task.card.id, Column.IN_PROGRESS))
        assert (await bench.engine.do(c.GetTask(task.card.id))).card.column is Column.BACKLOG


async def test_an_address_that_is_not_this_machine_gets_no_stored_key(data: Path, repository: Path) -> None:
    async with running(data, {"ANTHROPIC_BASE_URL": "https://gateway.example.invalid"}) as bench:
        await bench.engine.do(c.StoreKey("sk-stored"))
        task = await bench.card(await bench.project(repository))
        with pytest.raises(AgentPaneError) as caught:
            await bench.start(task)
        assert caught.value.code is ErrorCode.BACKEND_AUTH


async def test_a_run_cut_off_by_the_engines_death_is_interrupted_and_goes_on_from_its_last_turn(
    data: Path, repository: Path
) -> None:
    slow = [say("Waiting."), use("Bash", command="touch began; sleep 600")]
    with scripted(WRITE, slow, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)))
            await bench.until(task, lambda now: now.worktree is not None and (Path(now.worktree) / "began").exists())
        # The engine ended without pausing the run, as when it is killed.
        async with running(data, server.environment) as bench:
            found = await bench.engine.do(c.GetTask(task.card.id))  # the very first answer
            assert (found.runs[-1].status, found.card.column) == (RunStatus.INTERRUPTED, Column.IN_PROGRESS)
            await bench.engine.do(c.ResumeRun(task.card.id, environment=bench.environment))
            done = await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            assert done.card.files_changed == 2
            assert len(server.requests) == 3
            assert "unknown" in str(server.requests[2].messages[-1])


async def test_stopping_the_engine_pauses_the_runs(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server, ScriptedServer([WRITE, DONE], delay=0.2) as slow:
        async with running(data, slow.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)))
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.RUNNING)
            await bench.engine.pause_all()
        async with running(data, server.environment) as bench:
            found = await bench.engine.do(c.GetTask(task.card.id))
            assert (found.runs[-1].status, found.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.PERSON)
            await bench.engine.do(c.ResumeRun(task.card.id, environment=bench.environment))
            await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)


async def test_a_message_to_a_working_agent_is_read_before_its_next_turn(data: Path, repository: Path) -> None:
    look = [use("Bash", command="until [ -e go ]; do sleep 0.05; done")]
    with scripted(look, WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.start(await bench.card(await bench.project(repository)))
            working = await bench.until(task, lambda now: now.runs[-1].turns == 1)
            await bench.engine.do(c.Answer(task.card.id, "Call it new.txt"))
            assert working.worktree is not None
            (Path(working.worktree) / "go").touch()
            await bench.reviewed(task)
            assert "Call it new.txt" in str(server.requests[1].messages[-1])


async def test_events_are_published_in_order_and_a_stream_goes_on_from_a_number(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            stream = bench.engine.events(0)
            await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            seqs = []
            async with asyncio.timeout(10):
                while len(seqs) < 10:
                    seqs.append((await anext(stream)).seq)
            assert seqs == list(range(1, 11))


async def test_two_acts_on_one_card_at_once_have_one_effect(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            both = await asyncio.gather(bench.start(task), bench.start(task), return_exceptions=True)
            refused = [outcome for outcome in both if isinstance(outcome, AgentPaneError)]
            assert [error.code for error in refused] == [ErrorCode.AGENT_ALREADY_RUNNING]
            reviewed = await bench.reviewed(task)
            assert len(reviewed.runs) == 1
            outcomes = await asyncio.gather(*(bench.engine.do(c.Approve(task.card.id)) for _ in range(3)))
            results = sorted(outcome.result.value for outcome in outcomes)
            assert results == ["merged", "refused", "refused"]
            assert git(repository, "rev-list", "--count", "--first-parent", "main") == "2"


async def test_the_repositorys_commands_run_only_once_they_are_trusted(data: Path, tmp_path: Path) -> None:
    config = 'init_script = "echo ran > made-by-init"\nenv_file = ".env"\n'
    repository = make_repository(
        tmp_path / "r", {"a.txt": "a\n", ".agentpane/config.toml": config, ".gitignore": ".env\n"}
    )
    (repository / ".env").write_text("SECRET=1\n")
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            assert not project.trusted
            assert project.trust_pending == ("init_script: echo ran > made-by-init", "env_file: .env")
            first = await bench.reviewed(await bench.start(await bench.card(project, "Untrusted")))
            assert first.worktree is not None
            assert not (Path(first.worktree) / "made-by-init").exists()
            assert not (Path(first.worktree) / ".env").exists()
            events = await bench.engine.do(c.ReadSession(first.card.id))
            assert {"state": "not_trusted", "code": "PROJECT_NOT_TRUSTED", "pending": list(project.trust_pending)} in [
                event.data for event in events
            ]
            assert project.trust_digest is not None
            trusted = await bench.engine.do(c.TrustProject(project.id, project.trust_digest))
            assert trusted.trusted and trusted.trust_pending == ()
            second = await bench.reviewed(await bench.start(await bench.card(project, "Trusted")))
            assert second.worktree is not None
            assert (Path(second.worktree) / "made-by-init").read_text() == "ran\n"
            assert (Path(second.worktree) / ".env").read_text() == "SECRET=1\n"
            files = await bench.engine.do(c.GetDiff(second.card.id))
            assert sorted(file.path for file in files.files) == ["made-by-init", "new.txt"]
            assert EventKind.TERMINAL_OUTPUT in await bench.kinds(second)


async def test_a_further_run_after_a_rejection_keeps_to_the_policy_of_the_first(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE, [use("Write", file_path="second.txt", content="2\n")], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            await bench.settled(await bench.start(task, policy=Policy.CAREFUL))
            (asked,) = await bench.engine.do(c.ListApprovals())
            await bench.engine.do(c.DecideApproval(asked.id, allow=True, environment=bench.environment))
            await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)
            await bench.engine.do(c.Reject(task.card.id, "Again", environment=bench.environment))
            again = await bench.until(task, lambda now: now.runs[-1].status is RunStatus.PAUSED)
            assert again.runs[-1].pause_reason is PauseReason.APPROVAL
            (asked,) = await bench.engine.do(c.ListApprovals())
            assert asked.input["file_path"] == "second.txt"


async def test_a_decision_that_comes_before_the_run_has_paused_is_not_missed(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await bench.card(await bench.project(repository))
            stream = bench.engine.events(None)
            await bench.start(task, policy=Policy.CAREFUL)
            async with asyncio.timeout(20):
                while not (asked := await bench.engine.do(c.ListApprovals(task.card.id))):
                    await anext(stream)
            await bench.engine.do(c.DecideApproval(asked[0].id, allow=True, environment=bench.environment))
            await bench.until(task, lambda now: now.card.column is Column.WAITING_APPROVAL)


async def test_a_run_that_has_used_four_fifths_of_its_turns_says_so_once(data: Path, repository: Path) -> None:
    look = [use("Read", file_path="a.txt")]
    with scripted(look, look, look, look, WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            await bench.engine.do(c.EditProject(project.id, config=replace(project.config, max_turns=6)))
            task = await bench.reviewed(await bench.start(await bench.card(project)))
            warnings = [
                event.data for event in await bench.session(task) if event.data.get("state") == "turn_limit_near"
            ]
            assert [(data["turns"], data["limit"]) for data in warnings] == [(5, 6)]
