"""Checks run on the merged tree, in the sandbox, and what they say decides about the merge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.domain.board import Column
from agentpane.domain.checks import Check, CheckResult, CheckState
from agentpane.domain.projects import Project
from agentpane.domain.review import ApproveOutcome, ApproveResult
from agentpane.domain.sandbox import Tier
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.sandbox import BareSandbox, Sandbox, detect
from tests.backends.wire import say, use
from tests.orchestrator.conftest import Bench, git, running, scripted

WRITE = [use("Write", file_path="new.txt", content="hello\n")]
READ = [use("Read", file_path="a.txt")]
EDIT = [use("Edit", file_path="a.txt", old_string="one", new_string="agent")]
DONE = [say("Done.")]
PASSED, FAILED = CheckState.PASSED, CheckState.FAILED


@dataclass
class Stage:
    """A card that waits for approval, in a project with checks."""

    bench: Bench
    project: Project
    repository: Path
    task: Task

    async def configure(self, *checks: Check, **config: object) -> None:
        changed = replace(self.project.config, checks=checks, **config)  # type: ignore[arg-type]
        self.project = await self.bench.engine.do(c.EditProject(self.project.id, config=changed))

    async def run(self) -> tuple[CheckResult, ...]:
        return await self.bench.engine.do(c.RunChecks(self.task.card.id))

    async def approve(self) -> tuple[ApproveResult, str | None, str]:
        head = self.head
        outcome = await self.bench.engine.do(c.Approve(self.task.card.id))
        merged = outcome.result is ApproveResult.MERGED
        assert (self.head != head) == merged or self.moved(head)
        return outcome.result, outcome.code, outcome.message

    def moved(self, head: str) -> bool:
        """Whether the person, and not the engine, has moved the branch."""
        return git(self.repository, "log", "-1", "--format=%s", "main") == "person" != head

    @property
    def head(self) -> str:
        return git(self.repository, "rev-parse", "main")

    async def card(self) -> TaskCard:
        return (await self.bench.engine.do(c.GetTask(self.task.card.id))).card

    async def ask(self, command: c.RunChecks | c.Approve) -> str | None:
        """Give a command, and say with which code it was refused."""
        try:
            outcome = await self.bench.engine.do(command)
        except AgentPaneError as error:
            return error.code
        assert isinstance(outcome, ApproveOutcome)
        return outcome.code

    async def shown(self) -> list[tuple[str, CheckState]]:
        return [(check.name, check.state) for check in (await self.card()).checks]

    async def until_shown(self, condition: Callable[[list[tuple[str, CheckState]]], bool]) -> None:
        await self.bench.until(
            self.task, lambda now: condition([(check.name, check.state) for check in now.card.checks])
        )

    async def outputs(self, data: Path) -> list[tuple[str, str]]:
        events = [event for event in await self.bench.session(self.task) if event.kind is EventKind.TERMINAL_OUTPUT]
        whole = [BlobStore(data / "blobs").whole(event.data) for event in events]
        return [(str(one["step"]), str(one["output"])) for one in whole]

    def commit(self, name: str, text: str) -> None:
        """What the person commits to the base branch meanwhile."""
        (self.repository / name).parent.mkdir(exist_ok=True)
        (self.repository / name).write_text(text)
        git(self.repository, "add", "-A")
        git(self.repository, "commit", "-qm", "person")


@asynccontextmanager
async def waiting(
    data: Path,
    repository: Path,
    *checks: Check,
    sandbox: Sandbox | None = None,
    confined: bool = False,
    **config: object,
) -> AsyncIterator[Stage]:
    """A card whose agent has added new.txt and edited a.txt."""
    with scripted(READ, [*WRITE, *EDIT], DONE) as server:
        async with running(data, server.environment, sandbox) as bench:
            project = await bench.project(repository)
            policy = "balanced" if confined else "free"
            changed = replace(project.config, checks=checks, policy=policy, unconfined=True, **config)  # type: ignore[arg-type]
            project = await bench.engine.do(c.EditProject(project.id, config=changed))
            task = await bench.reviewed(await bench.start(await bench.card(project)))
            yield Stage(bench, project, repository, task)


def states(results: tuple[CheckResult, ...]) -> list[tuple[str, CheckState, int | None]]:
    return [(result.name, result.state, result.exit_code) for result in results]


async def test_checks_run_by_themselves_on_the_merged_tree_and_an_approval_rests_on_them(
    data: Path, repository: Path
) -> None:
    (repository / ".git/info/exclude").write_text(".env\ninstalled\n.worktrees\n")
    (repository / ".env").write_text("KEY=1\n")
    look = "cat new.txt .env installed && test ! -e ran && touch ran && git status --porcelain --untracked-files=all"
    fix = "echo fixed > a.txt && rm new.txt && git add a.txt"
    log = "test -e ran && git status --porcelain && git log --format=%s -n 3 && git diff --stat HEAD^1"
    checks = (Check("look", f"{look} && {fix}"), Check("log", log, False))
    install = "echo set > installed && echo locked >> a.txt"
    async with waiting(data, repository, *checks, env_file=".env", install_command=install) as stage:
        await stage.until_shown(lambda shown: shown == [("look", PASSED), ("log", PASSED)])
        outputs = await stage.outputs(data)
        assert [step for step, _ in outputs[1:]] == [
            "install",
            "check look",
            "check log",
        ]  # the first was the worktree's
        assert outputs[2][1] == "hello\nKEY=1\nset\n?? ran\n"
        # What the one before it has changed of the merge is changed back; what it has made is there.
        assert outputs[3][1].startswith("?? ran\nWhat the merge would make\n")
        assert "first" in outputs[3][1] and "2 files changed, 3 insertions(+), 1 deletion(-)" in outputs[3][1]
        result, _, message = await stage.approve()
        assert (result, message) == (ApproveResult.MERGED, f"Merged into main as {stage.head[:10]}.")
        assert await stage.outputs(data) == outputs  # what was known was not run again
        told = await stage.bench.engine.do(c.ListAudit(stage.project.id))
        assert [entry.record.input["name"] for entry in told if entry.record.tool == "check"] == ["look", "log"]
        assert await stage.shown() == [("look", PASSED), ("log", PASSED)]
    assert str(data) not in git(repository, "worktree", "list", "--porcelain")
    assert list((data / "scratch").iterdir()) == []


async def test_a_required_check_that_fails_keeps_the_merge_away_until_it_passes(data: Path, repository: Path) -> None:
    async with waiting(data, repository, sandbox=detect(Tier.LANDLOCK)) as stage:
        lint = Check("lint", "exit 1", required=False)
        await stage.configure(Check("tests", "echo some words; echo the last line; exit 3"), lint)
        result, code, message = await stage.approve()
        assert (result, code) == (ApproveResult.REFUSED, ErrorCode.MERGE_CHECKS_FAILED)
        assert "tests ended with status 3" in message and "the last line" in message and "lint" not in message
        card = await stage.card()
        assert (card.column, card.code) == (Column.WAITING_APPROVAL, ErrorCode.MERGE_CHECKS_FAILED)
        assert states(card.checks) == [("tests", FAILED, 3), ("lint", FAILED, 1)]
        assert [check.output for check in card.checks] == ["some words\nthe last line", ""]
        assert (await stage.approve())[1] == ErrorCode.MERGE_CHECKS_FAILED
        assert len(await stage.outputs(data)) == 2  # it says the same again, and nothing was run
        assert states(await stage.run()) == [("tests", FAILED, 3), ("lint", FAILED, 1)]
        assert len(await stage.outputs(data)) == 4  # what a person asks for is run again

        await stage.configure(Check("tests", "test -e new.txt"), lint)
        assert states(await stage.run()) == [("tests", PASSED, 0), ("lint", FAILED, 1)]
        assert (await stage.card()).code is None
        result, code, message = await stage.approve()
        assert (result, code) == (ApproveResult.MERGED, None)
        assert message.endswith("Checks that are not required: lint ended with status 1.")


async def test_a_merge_makes_the_tree_that_was_checked_however_the_base_moves(
    data: Path, repository: Path, tmp_path: Path
) -> None:
    left, mover = tmp_path / "left", tmp_path / "move"
    mover.write_text(
        f"cd {repository} && test $(cat {left}) -gt 0 && echo $(($(cat {left}) - 1)) > {left} && "
        "date +%N >> moved.txt && git add moved.txt && git -c user.name=P -c user.email=p@x commit -qm person; true\n"
    )
    async with waiting(data, repository, Check("tests", "test ! -e theirs.txt"), sandbox=BareSandbox()) as stage:
        await stage.until_shown(lambda shown: shown == [("tests", PASSED)])
        stage.commit("theirs.txt", "x\n")
        await stage.until_shown(lambda shown: shown == [("tests", CheckState.PENDING)])
        assert len(await stage.outputs(data)) == 1  # another tree is not checked before anybody wants it
        assert (await stage.approve())[1] == ErrorCode.MERGE_CHECKS_FAILED

        # A conflict is not checked.
        stage.commit("a.txt", "person\ntwo\n")
        before = await stage.outputs(data)
        assert (await stage.approve())[:2] == (ApproveResult.CONFLICTED, ErrorCode.MERGE_CONFLICT)
        with pytest.raises(AgentPaneError) as refused:
            await stage.run()
        assert refused.value.code is ErrorCode.MERGE_CONFLICT and refused.value.details["paths"] == ["a.txt"]
        assert await stage.outputs(data) == before
        git(repository, "reset", "-q", "--hard", "HEAD~1")

        # The check itself is the moment at which the base moves, as a person commits in the middle of it.
        await stage.configure(Check("tests", f"test -e new.txt && bash {mover}"))
        left.write_text("9\n")
        result, code, message = await stage.approve()
        assert (result, code) == (ApproveResult.REFUSED, ErrorCode.MERGE_BASE_MOVED) and "3 times" in message
        assert left.read_text() == "6\n" and git(repository, "status", "--porcelain") == ""

        # A check that comes to hold while those of an approval run is asked for as well.
        slow = Check("tests", f"until test -e {tmp_path / 'go'}; do sleep 0.02; done")
        await stage.configure(slow)
        approving = asyncio.create_task(stage.approve())
        await stage.until_shown(lambda shown: shown == [("tests", CheckState.RUNNING)])
        await stage.configure(slow, Check("lint", "exit 4"))
        (tmp_path / "go").touch()
        result, code, message = await approving
        assert (result, code) == (ApproveResult.REFUSED, ErrorCode.MERGE_CHECKS_FAILED), message
        assert "lint ended with status 4" in message

        await stage.configure(Check("tests", f"test -e new.txt && bash {mover}"))
        left.write_text("1\n")
        assert (await stage.approve())[0] is ApproveResult.MERGED
        assert [check.tree for check in (await stage.card()).checks] == [git(repository, "rev-parse", "main^{tree}")]


async def test_a_required_check_that_could_not_run_keeps_the_merge_away(data: Path, repository: Path) -> None:
    async with waiting(data, repository) as stage:
        await stage.configure(Check("tests", "sleep 60", timeout_s=1))
        _, code, message = await stage.approve()
        assert code == ErrorCode.MERGE_CHECKS_FAILED and "tests took longer than 1 s" in message
        assert states((await stage.card()).checks) == [("tests", CheckState.TIMED_OUT, None)]

        await stage.configure(Check("tests", "true"), install_command="echo no network; exit 7")
        _, code, message = await stage.approve()
        assert code == ErrorCode.MERGE_CHECKS_FAILED and "tests could not be run" in message
        assert "The install command ended with status 7. no network" in message
        assert states((await stage.card()).checks) == [("tests", CheckState.NOT_RUN, None)]

        await stage.configure(Check("tests", "true"), install_command=None)
        (data / "scratch").rmdir()
        (data / "scratch").write_text("")
        _, code, message = await stage.approve()
        assert code == ErrorCode.MERGE_CHECKS_FAILED and "scratch" in message
        (data / "scratch").unlink()
        assert (await stage.approve())[0] is ApproveResult.MERGED  # what did not run is tried again


async def test_the_repositorys_own_checks_hold_once_they_are_trusted_and_a_diff_cannot_change_them(
    data: Path, repository: Path
) -> None:
    (repository / ".agentpane").mkdir()
    own = repository / ".agentpane/config.toml"
    own.write_text('[[checks]]\nname = "own"\nrun = "test ! -e new.txt"\n')
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    weaker = [use("Write", file_path=".agentpane/config.toml", content="")]
    with scripted([*WRITE, *weaker], DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            task = await bench.reviewed(await bench.start(await bench.card(project)))
            stage = Stage(bench, project, repository, task)
            assert await stage.run() == ()
            waits = await bench.engine.do(c.GetProject(project.id))
            assert waits.trust_pending == ("check own, at most 600 s: test ! -e new.txt",)
            await bench.engine.do(c.TrustProject(project.id, waits.trust_digest or ""))
            assert (await stage.approve())[1] == ErrorCode.MERGE_CHECKS_FAILED
            assert await stage.shown() == [("own", FAILED)]
            await stage.configure(Check("mine", "true"))
            assert (await stage.approve())[1] == ErrorCode.MERGE_CHECKS_FAILED
            assert await stage.shown() == [("mine", PASSED), ("own", FAILED)]

            trusted = own.read_text()
            stage.commit(".agentpane/config.toml", "[[checks\n")
            for mine in ((Check("mine", "true"),), ()):  # whatever is set besides
                await stage.configure(*mine)
                result, code, message = await stage.approve()
                assert (result, code) == (ApproveResult.REFUSED, ErrorCode.PROJECT_CONFIG_INVALID)
                assert message.startswith("The repository's .agentpane/config.toml cannot be read")
            found = (await bench.engine.do(c.Doctor())).findings
            (broken,) = [each for each in found if each.code == ErrorCode.PROJECT_CONFIG_INVALID]
            assert broken.where == str(repository) and not broken.notice

            stage.commit(".agentpane/config.toml", trusted)
            await stage.configure(Check("own", "test -e new.txt"))  # one of the same name takes its place
            assert (await stage.approve())[0] is ApproveResult.MERGED
            assert await stage.shown() == [("own", PASSED)]


async def test_where_commands_are_asked_for_checks_wait_for_the_person_and_untrusted_ones_are_told_of(
    data: Path, repository: Path
) -> None:
    async with waiting(data, repository, Check("tests", "true"), sandbox=BareSandbox(), confined=True) as stage:
        await stage.until_shown(lambda shown: shown == [("tests", CheckState.PENDING)])
        assert await stage.outputs(data) == []
        assert states(await stage.run()) == [("tests", PASSED, 0)]
        await stage.configure()
        stage.commit(".agentpane/config.toml", '[[checks]]\nname = "own"\nrun = "false"\n')
        result, _, message = await stage.approve()
        assert result is ApproveResult.MERGED
        assert message.endswith("The repository's own checks wait for trust and were not run.")


ENDLESS = (Check("first", "true"), Check("endless", "exec sleep 600"), Check("last", "test -e new.txt"))
UNDER_WAY = [("first", PASSED), ("endless", CheckState.RUNNING), ("last", CheckState.PENDING)]


async def test_checks_are_stopped_by_the_person_and_end_when_their_card_waits_no_more(
    data: Path, repository: Path
) -> None:
    async with waiting(data, repository) as stage:
        await stage.configure(*ENDLESS)
        for command in (c.RunChecks(stage.task.card.id), c.Approve(stage.task.card.id)):
            asked = asyncio.create_task(stage.ask(command))
            await stage.until_shown(lambda shown: shown == UNDER_WAY)
            await stage.bench.engine.do(c.StopChecks(stage.task.card.id))
            assert await asked == ErrorCode.MERGE_CHECKS_FAILED
            stopped = [("first", PASSED), ("endless", CheckState.NOT_RUN), ("last", CheckState.NOT_RUN)]
            assert await stage.shown() == stopped
            assert {check.how for check in (await stage.card()).checks} == {"passed", "was stopped"}
        assert [name for name, _ in await stage.outputs(data)] == ["check first"]  # what has ended stays known
        asked = asyncio.create_task(stage.ask(c.Approve(stage.task.card.id)))
        await stage.until_shown(lambda shown: shown == UNDER_WAY)
        await stage.bench.engine.do(c.CancelTask(stage.task.card.id, confirmed=True))
        assert await asked == ErrorCode.MERGE_CHECKS_FAILED
        assert await stage.shown() == []
    assert list((data / "scratch").iterdir()) == []


async def test_checks_that_end_with_the_engine_are_taken_up_by_the_next(data: Path, repository: Path) -> None:
    go = repository.parent / "go"
    async with waiting(data, repository, sandbox=BareSandbox()) as stage:
        await stage.configure(Check("first", "true"), Check("second", f"test -e {go} || exec sleep 600"))
        asked = asyncio.create_task(stage.ask(c.RunChecks(stage.task.card.id)))
        await stage.until_shown(lambda shown: shown == [("first", PASSED), ("second", CheckState.RUNNING)])
        await stage.bench.engine.pause_all()
        assert await asked == ErrorCode.MERGE_CHECKS_FAILED
        assert stage.bench.engine.alive_runs == 0
    assert list((data / "scratch").iterdir()) == []
    go.touch()
    async with running(data, {}, BareSandbox()) as bench:
        again = Stage(bench, stage.project, repository, stage.task)
        await again.until_shown(lambda shown: shown == [("first", PASSED), ("second", PASSED)])
        assert [name for name, _ in await again.outputs(data)] == ["check first", "check second"]
