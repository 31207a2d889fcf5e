"""Resolving a conflict through the engine's door: by the agent, by hand, or not after all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.db import worktrees
from agentpane.domain.board import Column
from agentpane.domain.json import JsonObject
from agentpane.domain.resolving import Resolver, Stage
from agentpane.domain.review import ApproveResult, MergeStrategy
from agentpane.domain.runs import RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Worktrees, reviewed_ref
from tests.backends.wire import say, use
from tests.orchestrator.conftest import Bench, git, running, scripted

CARD = [use("Bash", command="printf 'card\\ntwo\\n' > a.txt; printf '\\000card' > bin")]
SOLVE = [use("Bash", command="printf 'both\\ntwo\\n' > a.txt; mv bin~main bin")]
DONE = [say("Done.")]
MARKED = "<<<<<<< this card\ncard\n||||||| before both\none\n=======\nmain\n>>>>>>> main\ntwo\n"


async def conflicted(bench: Bench, repository: Path) -> Task:
    """A card that waits for approval, and whose two files main has changed too, one of them binary."""
    (repository / "bin").write_bytes(b"\0")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "bin")
    task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
    move_on(repository, "main")
    assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.CONFLICTED
    return await bench.engine.do(c.GetTask(task.card.id))


def move_on(repository: Path, word: str) -> None:
    (repository / "a.txt").write_text(f"{word}\ntwo\n")
    (repository / "bin").write_bytes(b"\0" + word.encode())
    git(repository, "commit", "-q", "-a", "-m", word)


async def states(bench: Bench, task: Task) -> list[JsonObject]:
    return [event.data for event in await bench.session(task) if event.kind is EventKind.STATE]


def parents(repository: Path, commit: str | None) -> list[str]:
    return git(repository, "rev-list", "--parents", "-n1", str(commit)).split()[1:]


def place(task: Task) -> Path:
    assert task.worktree is not None
    return Path(task.worktree)


def refs(repository: Path) -> str:
    return git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/run/*/merging")


@pytest.mark.parametrize(
    "strategy",
    [
        MergeStrategy.MERGE,
        *(pytest.param(other, marks=pytest.mark.long) for other in (MergeStrategy.SQUASH, MergeStrategy.FF)),
    ],
)
async def test_the_agent_resolves_what_is_handed_to_it_and_the_result_merges_cleanly(
    data: Path, repository: Path, strategy: MergeStrategy
) -> None:
    asks = [use("AskUser", question="Which?")]
    with scripted(CARD, DONE, SOLVE, DONE, asks) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            target = git(repository, "rev-parse", "main")
            handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
            assert (handed.card.column, handed.snapshot) == (Column.IN_PROGRESS, None)
            assert handed.card.resolving is not None and handed.card.resolving.by is Resolver.AGENT
            assert [laid.path for laid in handed.card.resolving.paths] == ["a.txt", "bin"]
            again = await bench.reviewed(handed)
            asked = json.dumps(server.requests[2].body)
            assert "a.txt (contents): both sides are between markers" in asked
            assert "bin (binary): it is this card's; bin~main is main's" in asked
            assert parents(repository, again.snapshot) == [task.snapshot, target]
            assert (again.base_sha, again.card.conflicts, again.card.resolving) == (target, (), None)
            assert [file.path for file in (await bench.engine.do(c.GetDiff(task.card.id))).files] == ["a.txt"]
            await bench.until(again, lambda now: refs(repository) == "")
            assert again.card.rejection_count == 0
            told = [state["state"] for state in await states(bench, again)]
            assert told[told.index("resolving") :].count("resolved") == 1
            if strategy is MergeStrategy.MERGE:
                again = await rejected_and_set_back(bench, again, server.environment)
            outcome = await bench.engine.do(c.Approve(task.card.id, strategy=strategy))
            assert outcome.result is ApproveResult.MERGED
            tree = git(repository, "rev-parse", "main^{tree}")
            assert tree == git(repository, "rev-parse", f"{again.snapshot}^{{tree}}")
            assert git(repository, "status", "--porcelain") == ""
            assert (await bench.engine.do(c.VerifyAudit())).ok
            undone = await bench.engine.do(c.Undo(task.card.id))
            assert git(repository, "rev-parse", "main") == target and undone.card.column is Column.WAITING_APPROVAL
            assert (await bench.engine.do(c.Approve(task.card.id, strategy=strategy))).result is ApproveResult.MERGED


async def rejected_and_set_back(bench: Bench, task: Task, environment: Mapping[str, str]) -> Task:
    """The card after it was rejected, set back to what its resolution had left, and finished."""
    sent_back = await bench.engine.do(c.Reject(task.card.id, "Say which.", environment=environment))
    paused = await bench.until(sent_back, lambda now: now.runs[-1].status is RunStatus.PAUSED)
    before, since = await bench.engine.do(c.ListTurns(task.card.id))
    with pytest.raises(AgentPaneError) as too_early:
        await bench.engine.do(c.ResetWorktree(task.card.id, before.sha))
    assert too_early.value.code is ErrorCode.VALIDATION_ERROR and "main" in too_early.value.message
    (place(paused) / "a.txt").write_text("no\n")
    await bench.engine.do(c.ResetWorktree(task.card.id, since.sha))
    assert (place(paused) / "a.txt").read_text() == "both\ntwo\n"
    return await bench.engine.do(c.ResumeRun(task.card.id, finish=True, environment=environment))


async def test_what_the_agent_leaves_undecided_comes_back_to_it_with_its_lines(data: Path, repository: Path) -> None:
    half = [use("Bash", command="cat a.txt; rm bin~main")]
    rest = [use("Bash", command="echo both > a.txt")]
    with scripted(CARD, DONE, half, DONE, DONE, rest, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            failed = await bench.settled(await bench.engine.do(c.HandOverConflict(task.card.id, server.environment)))
            error = failed.runs[-1].error
            assert failed.runs[-1].status is RunStatus.ERROR and error is not None
            assert "a.txt:1,3,5,7" in json.dumps(server.requests[-1].messages[-1])  # it was told once, at once
            assert (error.code, failed.card.column) == (ErrorCode.MERGE_CONFLICT.value, Column.IN_PROGRESS)
            assert "a.txt:1,3,5,7" in error.message and "bin" not in error.message
            assert failed.card.resolving is not None and (place(failed) / "a.txt").read_text() == MARKED
            with pytest.raises(AgentPaneError) as locked:
                await bench.engine.do(c.ResumeRun(task.card.id, afresh=True, environment=server.environment))
            assert locked.value.code is ErrorCode.RESOURCE_LOCKED
            resumed = c.ResumeRun(task.card.id, environment=server.environment)
            again = await bench.reviewed(await bench.engine.do(resumed))
            assert "a.txt:1,3,5,7" in json.dumps(server.requests[-2].body)
            assert (await bench.engine.do(c.Approve(again.card.id))).result is ApproveResult.MERGED
            assert (repository / "a.txt").read_text() == "both\n"


async def test_a_person_resolves_it_in_the_worktree_and_keeps_what_was_there(data: Path, repository: Path) -> None:
    with scripted(CARD, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            target = git(repository, "rev-parse", "main")
            (place(task) / "a.txt").write_text("my own, not committed\n")
            written = await bench.engine.do(c.WriteConflict(task.card.id))
            assert (written.card.column, written.snapshot) == (Column.WAITING_APPROVAL, task.snapshot)
            assert written.card.resolving is not None and written.card.resolving.stage is Stage.WRITTEN
            assert (place(task) / "a.txt").read_text() == MARKED
            kept = await bench.engine.do(c.ListRecoveries(None))
            assert git(repository, "show", f"{kept[0].ref}:a.txt") == "my own, not committed" and len(kept) == 1
            with pytest.raises(AgentPaneError) as refused:
                await bench.engine.do(c.TakeResolution(task.card.id))
            assert refused.value.code is ErrorCode.MERGE_CONFLICT
            assert refused.value.details["paths"] == ["a.txt", "bin~main"]
            assert (await bench.engine.do(c.WriteConflict(task.card.id))).card.resolving == written.card.resolving
            (place(task) / "a.txt").write_text("mine\ntwo\n")
            (place(task) / "bin~main").unlink()
            move_on(repository, "main, once more")  # the resolution stays one with the main that was
            taken = await bench.engine.do(c.TakeResolution(task.card.id))
            assert parents(repository, taken.snapshot) == [task.snapshot, target]
            assert (taken.card.column, taken.card.resolving, taken.base_sha) == (Column.WAITING_APPROVAL, None, target)
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.CONFLICTED
            await bench.engine.do(c.WriteConflict(task.card.id))
            (place(task) / "a.txt").write_text("mine again\ntwo\n")
            (place(task) / "bin~main").rename(place(task) / "bin")
            final = await bench.engine.do(c.TakeResolution(task.card.id))
            assert parents(repository, final.snapshot)[0] == taken.snapshot
            assert (await bench.engine.do(c.Approve(task.card.id, sha=final.snapshot))).result is ApproveResult.MERGED
            assert (repository / "a.txt").read_text() == "mine again\ntwo\n"
            assert (repository / "bin").read_bytes() == b"\0main, once more"
            assert len(await bench.engine.do(c.ListRecoveries(None))) == 1  # nothing else was anybody's
            tools = [entry.record.tool for entry in await bench.engine.do(c.ListAudit(task.card.project_id))]
            assert tools.count("conflict.write") == tools.count("conflict.resolve") == 2


async def test_a_resolution_by_hand_that_is_abandoned_leaves_the_card_as_it_was(data: Path, repository: Path) -> None:
    with scripted(CARD, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            await bench.engine.do(c.WriteConflict(task.card.id))
            (place(task) / "a.txt").write_text("half\n")
            (place(task) / "new.txt").write_text("new\n")
            (place(task) / "my.txt").write_text("committed by hand\n")
            git(place(task), "add", "my.txt")
            git(place(task), "commit", "-q", "-m", "by hand", "--only", "my.txt")
            by_hand = git(place(task), "rev-parse", "HEAD")
            back = await bench.engine.do(c.AbandonResolution(task.card.id))
            assert git(repository, "rev-parse", task.branch or "") == task.snapshot
            assert (back.card.resolving, back.snapshot, back.card.code) == (None, task.snapshot, task.card.code)
            assert git(place(task), "status", "--porcelain") == "" and refs(repository) == ""
            assert (place(task) / "a.txt").read_text() == "card\ntwo\n"
            ref = (await bench.engine.do(c.ListRecoveries(None)))[0].ref
            assert git(repository, "show", f"{ref}:a.txt") == "half" and git(repository, "show", f"{ref}:new.txt")
            assert git(repository, "merge-base", "--is-ancestor", by_hand, ref) == ""
            for nothing in (c.AbandonResolution(task.card.id), c.TakeResolution(task.card.id)):
                with pytest.raises(AgentPaneError) as refused:
                    await bench.engine.do(nothing)
                assert refused.value.code is ErrorCode.TASK_INVALID_TRANSITION
            await bench.engine.do(c.WriteConflict(task.card.id))
            laid = (place(task) / "a.txt").read_bytes()
            (place(task) / "a.txt").write_text("staged alone\n")
            git(place(task), "add", "a.txt")
            (place(task) / "a.txt").write_bytes(laid)
            await bench.engine.do(c.AbandonResolution(task.card.id))
            kept = next(each for each in await bench.engine.do(c.ListRecoveries(None)) if each.ref != ref)
            assert git(repository, "show", f"{kept.sha}^{kept.beside.staged}:a.txt") == "staged alone"
            git(repository, "reset", "-q", "--hard", "HEAD~1")
            for none in (c.WriteConflict(task.card.id), c.HandOverConflict(task.card.id, server.environment)):
                with pytest.raises(AgentPaneError) as clean:
                    await bench.engine.do(none)
                assert clean.value.code is ErrorCode.TASK_INVALID_TRANSITION and refs(repository) == ""
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED


async def test_rejecting_while_a_person_resolves_gives_the_agent_what_was_reviewed(
    data: Path, repository: Path
) -> None:
    with scripted(CARD, DONE, [use("Bash", command="ls > listing; cat a.txt >> listing")], DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            await bench.engine.do(c.WriteConflict(task.card.id))
            (place(task) / "a.txt").write_text("half\n")
            reject = c.Reject(task.card.id, "Say it in other words.", environment=server.environment)
            again = await bench.reviewed(await bench.engine.do(reject))
            assert again.card.resolving is None and parents(repository, again.snapshot) == [task.snapshot]
            assert (place(again) / "listing").read_text() == "README.md\na.txt\nbin\nlisting\ncard\ntwo\n"
            told = [state["state"] for state in await states(bench, again)]
            assert "resolution_abandoned" in told and "worktree_kept" in told
            (kept,) = await bench.engine.do(c.ListRecoveries(None))
            assert git(repository, "show", f"{kept.ref}:a.txt") == "half"

            await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            git(repository, "update-ref", "-d", f"refs/heads/{again.branch}")
            target = git(repository, "rev-parse", "main")
            git(repository, "reset", "-q", "--hard", "HEAD~1")  # main goes back, and what was merged is not the card's
            restored = await bench.engine.do(c.RestoreRecovery(kept.id))
            assert restored.task_id is None and restored.branch.startswith("agentpane/recovered")
            assert git(repository, "rev-parse", restored.branch) == target == kept.parent == kept.base_sha
            changed = git(Path(restored.path), "status", "--porcelain").splitlines()
            assert changed == ["M a.txt", " M bin", "?? bin~main"] and kept.files == 3


@pytest.mark.parametrize("act", ["cancel", *(pytest.param(act, marks=pytest.mark.long) for act in ("approve", "stop"))])
async def test_what_ends_a_card_that_is_being_resolved_keeps_the_resolution_in_the_bin(
    data: Path, repository: Path, act: str
) -> None:
    with scripted(CARD, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            await bench.engine.do(c.WriteConflict(task.card.id))
            (place(task) / "a.txt").write_text("half\n")
            if act == "stop":
                handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
                assert handed.card.column is Column.IN_PROGRESS
                ended = await bench.engine.do(c.CancelTask(task.card.id))
            elif act == "approve":
                git(repository, "reset", "-q", "--hard", "HEAD~1")
                assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED
                ended = await bench.engine.do(c.GetTask(task.card.id))
            else:
                with pytest.raises(AgentPaneError) as no_key:
                    await bench.engine.do(c.HandOverConflict(task.card.id, {}))
                assert no_key.value.code is ErrorCode.BACKEND_AUTH
                ended = await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            assert (ended.card.resolving, ended.worktree) == (None, None)
            ref = (await bench.engine.do(c.ListRecoveries(None)))[0].ref
            assert git(repository, "show", f"{ref}:a.txt") == "half" and refs(repository) == ""
            if act != "approve":
                assert git(repository, "rev-parse", str(task.branch)) == task.snapshot


async def test_what_a_person_began_is_handed_over_as_it_lies_and_taken_back(data: Path, repository: Path) -> None:
    asks = [use("AskUser", question="Which?")]
    with scripted(CARD, DONE, asks, asks) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            await bench.engine.do(c.WriteConflict(task.card.id))
            (place(task) / "a.txt").write_text("half\n")
            handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
            paused = await bench.until(handed, lambda now: now.runs[-1].status is RunStatus.PAUSED)
            assert (place(paused) / "a.txt").read_text() == "half\n" and len(paused.runs) == 2
            with pytest.raises(AgentPaneError) as undecided:
                await bench.engine.do(c.ResumeRun(task.card.id, finish=True, environment=server.environment))
            assert undecided.value.details["paths"] == ["bin~main"]
            # A run that is at rest leaves the conflict to the person, as it lies, who hands it over once more.
            with pytest.raises(AgentPaneError) as open_still:
                await bench.engine.do(c.TakeResolution(task.card.id))
            assert open_still.value.details["paths"] == ["bin~main"]
            mine = await bench.engine.do(c.WriteConflict(task.card.id))
            assert (mine.card.column, mine.snapshot) == (Column.WAITING_APPROVAL, task.snapshot)
            assert mine.card.resolving is not None and mine.card.resolving.by_hand
            assert mine.runs[-1].status is RunStatus.CANCELLED and (place(mine) / "a.txt").read_text() == "half\n"
            handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
            paused = await bench.until(handed, lambda now: now.runs[-1].status is RunStatus.PAUSED)
            back = await bench.engine.do(c.AbandonResolution(task.card.id))
            assert (back.card.column, back.snapshot, back.card.resolving) == (
                Column.WAITING_APPROVAL,
                task.snapshot,
                None,
            )
            assert back.runs[-1].status is RunStatus.CANCELLED and back.card.files_changed == task.card.files_changed
            assert git(place(back), "status", "--porcelain") == ""
            kept = (await bench.engine.do(c.ListRecoveries(None)))[0]
            assert git(repository, "show", f"{kept.ref}:a.txt") == "half"
            assert kept.beside.commits == 0  # the branch holds the card's own
            git(repository, "reset", "-q", "--hard", "HEAD~1")
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED


@pytest.mark.long
async def test_when_the_agent_takes_the_targets_side_alone_nothing_is_left_and_the_card_can_come_back(
    data: Path, repository: Path
) -> None:
    theirs = [use("Bash", command="printf 'main\\ntwo\\n' > a.txt; mv bin~main bin")]
    with scripted(CARD, DONE, theirs, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
            nothing = await bench.until(handed, lambda now: now.card.code == ErrorCode.TASK_NO_DIFF)
            assert nothing.card.resolving is not None and nothing.card.column is Column.IN_PROGRESS
            back = await bench.engine.do(c.AbandonResolution(task.card.id))
            assert (back.card.column, back.snapshot) == (Column.WAITING_APPROVAL, task.snapshot)
            assert (place(back) / "a.txt").read_text() == "card\ntwo\n"


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("before the files", marks=pytest.mark.long),
        pytest.param("before the agent", marks=pytest.mark.long),
        "while they are written",
        pytest.param("while it is set back", marks=pytest.mark.long),
    ],
)
async def test_an_engine_that_ends_on_the_way_leaves_what_the_next_one_finishes(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    whole = Worktrees.set_back

    async def cut_off(*given: object) -> int:
        if not moment.startswith("before"):
            await whole(*given)  # type: ignore[arg-type]
        raise KeyError("the engine ends here")

    with scripted(CARD, DONE, SOLVE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            if moment == "while it is set back":
                await bench.engine.do(c.WriteConflict(task.card.id))
                (place(task) / "a.txt").write_text("half\n")
            monkeypatch.setattr(Worktrees, "set_back", cut_off)
            if moment == "before the agent":
                await bench.settled(await bench.engine.do(c.HandOverConflict(task.card.id, server.environment)))
            else:
                act = c.AbandonResolution if moment == "while it is set back" else c.WriteConflict
                with pytest.raises(Exception, match="engine"):
                    await bench.engine.do(act(task.card.id))
            monkeypatch.undo()
        async with running(data, server.environment) as bench:
            if moment == "before the agent":
                assert (place(task) / "a.txt").read_text() == "card\ntwo\n"
                resumed = c.ResumeRun(task.card.id, environment=server.environment)
                again = await bench.reviewed(await bench.engine.do(resumed))
                assert parents(repository, again.snapshot) == [task.snapshot, git(repository, "rev-parse", "main")]
                return
            over = moment == "while it is set back"
            await bench.until(
                task,
                lambda now: (
                    now.card.resolving is None
                    if over
                    else now.card.resolving is not None and now.card.resolving.stage is Stage.WRITTEN
                ),
            )
            assert (place(task) / "a.txt").read_text() == ("card\ntwo\n" if over else MARKED)
            kept = await bench.engine.do(c.ListRecoveries(None))
            assert [git(repository, "show", f"{each.ref}:a.txt") for each in kept] == (["half"] if over else [])
            if moment == "while they are written":
                await half_done_stays_half_done(bench, repository, task)


async def half_done_stays_half_done(bench: Bench, repository: Path, task: Task) -> None:
    """A pin that is gone does not stand for the person's word that all is decided."""
    (place(task) / "a.txt").write_text("half way\n")
    (place(task) / "bin~main").unlink()
    pin = reviewed_ref(task.runs[-1].id)
    git(repository, "update-ref", "-d", pin)
    await bench.engine.services.resolving.settle_left()
    now = await bench.engine.do(c.GetTask(task.card.id))
    assert now.card.resolving is not None and now.snapshot == task.snapshot == git(repository, "rev-parse", pin)


@pytest.mark.long
async def test_a_resolution_that_was_committed_and_never_written_down_is_found_by_the_next_engine(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Worktrees.snapshot

    async def cut_off(*given: object) -> object:
        await whole(*given)  # type: ignore[arg-type]
        raise KeyError("the engine ends here")

    with scripted(CARD, DONE, SOLVE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            target = git(repository, "rev-parse", "main")
            await bench.engine.do(c.WriteConflict(task.card.id))
            (place(task) / "a.txt").write_text("mine\n")
            (place(task) / "bin~main").unlink()
            monkeypatch.setattr(Worktrees, "snapshot", cut_off)
            with pytest.raises(Exception, match="engine"):
                await bench.engine.do(c.TakeResolution(task.card.id))
            monkeypatch.undo()
        async with running(data, server.environment) as bench:
            taken = await bench.until(task, lambda now: now.card.resolving is None and refs(repository) == "")
            assert parents(repository, taken.snapshot) == [task.snapshot, target]
            assert taken.card.lines_added == 1
            move_on(repository, "main, once more")
            monkeypatch.setattr(Worktrees, "snapshot", cut_off)
            handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
            failed = await bench.settled(handed)
            monkeypatch.undo()
            assert failed.runs[-1].status is RunStatus.ERROR
            unseen = git(repository, "rev-parse", str(task.branch))
            back = await bench.engine.do(c.AbandonResolution(task.card.id))
            assert (back.card.column, back.snapshot) == (Column.WAITING_APPROVAL, taken.snapshot)
            assert git(repository, "rev-parse", str(task.branch)) == taken.snapshot != unseen
            assert git(place(back), "diff", "--name-only", str(taken.snapshot)) == ""
            kept = git(repository, "rev-parse", f"refs/agentpane/run/{back.runs[-1].id}/commits/{unseen}")
            assert kept == unseen and parents(repository, unseen)[0] == taken.snapshot
            git(repository, "reset", "-q", "--hard", "HEAD~1")
            assert (await bench.engine.do(c.Approve(task.card.id))).result is ApproveResult.MERGED


@pytest.mark.long
async def test_a_worktree_that_is_gone_is_made_again_with_the_conflict_in_it(data: Path, repository: Path) -> None:
    with scripted(CARD, DONE, SOLVE, DONE) as server:
        async with running(data, server.environment) as bench:
            task = await conflicted(bench, repository)
            await bench.engine.do(c.WriteConflict(task.card.id))
            git(repository, "worktree", "remove", "--force", str(place(task)))
            row = await bench.engine.services.core.db.read(worktrees.for_task, task.card.id)
            assert row is not None and row.merging is not None
            handed = await bench.engine.do(c.HandOverConflict(task.card.id, server.environment))
            again = await bench.reviewed(handed)
            assert parents(repository, again.snapshot) == [task.snapshot, git(repository, "rev-parse", "main")]
