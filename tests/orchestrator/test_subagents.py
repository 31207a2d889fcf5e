"""Sub-agents: runs inside a run, with their own conversation, paused, resumed and ended with it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.db import model_calls, runs, sub_runs
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.board import Column
from agentpane.domain.ids import RunId
from agentpane.domain.policy import Policy
from agentpane.domain.projects import Project
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import ErrorCode
from tests.backends.wire import Answer, Block, Failure, say, use
from tests.orchestrator.casting import Cast
from tests.orchestrator.conftest import Bench, running

USAGE = {"input_tokens": 1000, "output_tokens": 100}


def part(name: str, **more: object) -> Block:
    return use("Task", description=f"do {name}", prompt=f"PART {name}", **more)


async def begun(bench: Bench, repository: Path) -> tuple[Project, Task]:
    project = await bench.project(repository)
    return project, await bench.start(await bench.card(project, "WHOLE"))


async def below(bench: Bench, task: Task) -> list[runs.RunRow]:
    """The sub-agents' runs of a card, oldest first."""
    db = bench.engine.services.core.db
    ids = await db.read(sub_runs.ids_of_task, task.card.id)
    return sorted([await db.read(runs.row, one) for one in ids], key=lambda row: row.number)


async def looker(bench: Bench, project: Project) -> None:
    """An agent that can only read, and so may work beside others."""
    config = AgentConfig(allowed_tools=("Read", "Glob", "Grep", "AskUser"), system_prompt="LOOK ONLY")
    await bench.engine.do(c.AddAgent(project.id, "looker", BackendName.ANTHROPIC, config=config))


async def test_a_sub_agent_works_in_the_same_worktree_and_gives_back_its_last_words(
    data: Path, repository: Path
) -> None:
    cast = Cast(
        {
            "WHOLE": [[part("one")], [say("All done.")]],
            "PART one": [[use("Write", file_path="b.txt", content="b")], [say("I wrote b.txt.")]],
        }
    )
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            done = await bench.reviewed(task)
            assert done.card.files_changed == 1
            (child,) = await below(bench, done)
            (run,) = done.runs
            assert (child.parent_run_id, child.root_run_id, child.depth) == (run.id, run.id, 1)
            assert (child.status, child.result, child.turns) == (RunStatus.COMPLETED, "I wrote b.txt.", 2)
            assert run.turns == 2 and done.card.run is not None and done.card.run.turns == 2
            of_child = [event.kind for event in await bench.session(done) if event.run_id == child.id]
            assert {EventKind.USER_MESSAGE, EventKind.TOOL_CALL, EventKind.TOOL_RESULT, EventKind.TEXT} <= {*of_child}
    assert "I wrote b.txt." in cast.told("WHOLE")
    assert "b.txt" not in str(cast.bodies["WHOLE"][0]) and len(cast.bodies["WHOLE"]) == 2
    assert "WHOLE" not in str(cast.bodies["PART one"])
    assert "another agent" in str(cast.bodies["PART one"][0]["system"])


async def test_what_it_uses_counts_for_the_root_and_its_turns_do_not(data: Path, repository: Path) -> None:
    cast = Cast(
        {
            "WHOLE": [Answer([part("one")], usage=USAGE), Answer([say("Nothing to do.")], usage=USAGE)],
            "PART one": [Answer([part("two")], usage=USAGE), Answer([say("Done.")], usage=USAGE)],
            "PART two": [Answer([say("Deep.")], usage=USAGE)],
        }
    )
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            done = await bench.settled(task)
            one, two = await below(bench, done)
            (run,) = done.runs
            assert (two.depth, two.parent_run_id, two.root_run_id) == (2, one.id, run.id)
            assert (run.turns, run.input_tokens, run.output_tokens) == (2, 5_000, 500)
            assert (one.turns, one.input_tokens) == (2, 3_000) and (two.turns, two.input_tokens) == (1, 1_000)
            assert run.cost_usd and two.cost_usd and run.cost_usd == pytest.approx(5 * two.cost_usd)
            spent = await bench.engine.services.core.db.read(model_calls.spent_by_run, run.id)
            assert spent.usd == pytest.approx(run.cost_usd) and spent.tokens == 5_500


async def test_sub_agents_are_three_deep_at_most(data: Path, repository: Path) -> None:
    names = ["WHOLE", "PART one", "PART two", "PART three"]
    turns = [[part("one")], [part("two")], [part("three")], [part("four")]]
    cast = Cast({name: [turn, [say(f"{name} done")]] for name, turn in zip(names, turns, strict=True)})
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            done = await bench.settled(task)
            assert [row.depth for row in await below(bench, done)] == [1, 2, 3]
    assert "There is no tool `Task`" in cast.told("PART three")
    offered = [str(cast.bodies[name][0]["tools"]).count("'name': 'Task'") for name in names]
    assert offered == [1, 1, 1, 0]


async def test_those_that_only_read_work_side_by_side_and_the_others_one_after_the_other(
    data: Path, repository: Path
) -> None:
    cast = Cast(
        {
            "WHOLE": [
                [part("read1", agent="looker"), part("read2", agent="looker")],
                [part("write1"), part("write2")],
                [say("Done.")],
            ],
            "PART read1": [[use("AskUser", question="Read one?")], [say("read 1")]],
            "PART read2": [[use("AskUser", question="Read two?")], [say("read 2")]],
            "PART write1": [[use("Bash", command="echo 1 begin >> log; echo 1 end >> log")], [say("wrote 1")]],
            "PART write2": [[use("Bash", command="echo 2 begin >> log; echo 2 end >> log")], [say("wrote 2")]],
        }
    )
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            await looker(bench, project)
            task = await bench.start(await bench.card(project, "WHOLE"))
            task = await bench.settled(task)
            # Both had begun before the run paused for the first of them: they work side by side.
            assert task.runs[-1].pause_reason is PauseReason.QUESTION
            for words in ("1", "2", "3"):
                if task.runs[-1].status is RunStatus.PAUSED:
                    await bench.engine.do(c.Answer(task.card.id, words))
                    task = await bench.settled(task)
            assert task.card.column is Column.WAITING_APPROVAL, task.runs
            order = [row.prompt for row in await below(bench, task)]
            assert set(order[:2]) == {"PART read1", "PART read2"} and order[2:] == ["PART write1", "PART write2"]
            assert "LOOK ONLY" in str(cast.bodies["PART read1"][0]["system"])
            assert "Write" not in str(cast.bodies["PART read1"][0]["tools"])
            assert task.worktree is not None
            assert (Path(task.worktree) / "log").read_text() == "1 begin\n1 end\n2 begin\n2 end\n"


async def test_a_question_of_a_sub_agent_pauses_the_whole_run_and_is_answered_over_a_restart(
    data: Path, repository: Path
) -> None:
    cast = Cast(
        {
            "WHOLE": [[part("one")], [say("All done.")]],
            "PART one": [
                [use("AskUser", question="Which name?")],
                [use("Write", file_path="b.txt", content="b")],
                [say("It is called b.")],
            ],
        }
    )
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            task = await bench.settled(task)
            assert (task.runs[-1].status, task.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.QUESTION)
            (child,) = await below(bench, task)
            assert (child.status, child.pause_reason) == (RunStatus.PAUSED, PauseReason.QUESTION)
        async with running(data, server.environment) as bench:
            await bench.engine.do(c.Answer(task.card.id, "call it b", environment=server.environment))
            done = await bench.reviewed(task)
            (same,) = await below(bench, done)
            assert same.id == child.id and same.status is RunStatus.COMPLETED
    assert "call it b" in cast.told("PART one", 1) and "call it b" not in str(cast.bodies["WHOLE"])
    assert len(cast.bodies["PART one"]) == 3 and len(cast.bodies["WHOLE"]) == 2
    assert "It is called b." in cast.told("WHOLE")


async def test_a_call_of_a_sub_agent_is_approved_like_any_other(data: Path, repository: Path) -> None:
    cast = Cast(
        {
            "WHOLE": [[part("one")], [say("All done.")]],
            "PART one": [[use("Write", file_path="b.txt", content="b")], [say("Written.")]],
        }
    )
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            card = await bench.card(project, "WHOLE")
            task = await bench.settled(await bench.start(card, policy=Policy.CAREFUL))
            assert task.runs[-1].pause_reason is PauseReason.APPROVAL
            (approval,) = await bench.engine.do(c.ListApprovals(task.card.id))
            (child,) = await below(bench, task)
            assert approval.run_id == child.id and approval.tool == "Write"
            await bench.engine.do(c.DecideApproval(approval.id, allow=True))
            await bench.reviewed(task)


async def test_a_turn_limit_inside_pauses_the_run_and_resuming_gives_more(data: Path, repository: Path) -> None:
    looks = [[use("Glob", pattern=f"*{number}")] for number in range(3)]
    cast = Cast({"WHOLE": [[part("one", agent="short")], [say("Done.")]], "PART one": [*looks, [say("Looked.")]]})
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            config = AgentConfig(max_turns=2)
            await bench.engine.do(c.AddAgent(project.id, "short", BackendName.ANTHROPIC, config=config))
            task = await bench.settled(await bench.start(await bench.card(project, "WHOLE")))
            assert (task.runs[-1].status, task.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.TURN_LIMIT)
            await bench.engine.do(c.ResumeRun(task.card.id))
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
            (child,) = await below(bench, task)
            assert (child.turns, child.status) == (4, RunStatus.COMPLETED)
    assert "Looked." in cast.told("WHOLE")


async def test_after_a_crash_a_finished_part_is_not_done_again_and_a_cut_one_goes_on(
    data: Path, repository: Path
) -> None:
    cut = "touch began; until [ -e go ]; do sleep 0.02; done"
    cast = Cast(
        {
            "WHOLE": [[part("one"), part("two")], [say("All done.")]],
            "PART one": [[use("Bash", command="echo once >> one.txt")], [say("One is done.")]],
            "PART two": [
                [use("Write", file_path="two.txt", content="2")],
                [use("Bash", command=cut)],
                [say("Two too.")],
            ],
        }
    )
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            task = await bench.until(
                task, lambda now: now.worktree is not None and (Path(now.worktree) / "began").exists()
            )
        async with running(data, server.environment) as bench:
            task = await bench.until(task, lambda now: now.runs[-1].status is RunStatus.INTERRUPTED)
            assert [row.status for row in await below(bench, task)] == [RunStatus.COMPLETED, RunStatus.INTERRUPTED]
            await bench.engine.do(c.ResumeRun(task.card.id, environment=server.environment))
            done = await bench.reviewed(task)
            assert [row.status for row in await below(bench, done)] == [RunStatus.COMPLETED] * 2
            assert done.worktree is not None
            assert (Path(done.worktree) / "one.txt").read_text() == "once\n"
    assert len(cast.bodies["PART one"]) == 2 and "outcome is unknown" in cast.told("PART two")
    assert "One is done." in cast.told("WHOLE") and "Two too." in cast.told("WHOLE")


async def test_cancelling_ends_the_sub_agents_and_all_that_they_started(data: Path, repository: Path) -> None:
    loop = "trap '' TERM; while :; do touch beat; sleep 0.02; done"
    cast = Cast({"WHOLE": [[part("one")]], "PART one": [[use("Bash", command=loop)]]})
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            await bench.until(task, lambda now: now.worktree is not None and (Path(now.worktree) / "beat").exists())
            await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            gone = await bench.engine.do(c.GetTask(task.card.id))
            assert gone.card.column is Column.BACKLOG and gone.runs[-1].status is RunStatus.CANCELLED
            assert [row.status for row in await below(bench, task)] == [RunStatus.CANCELLED]


async def test_a_sub_agent_that_fails_is_told_to_its_parent(data: Path, repository: Path) -> None:
    cast = Cast(
        {
            "WHOLE": [[part("one")], [say("I go on without.")]],
            "PART one": [Answer([say("No.")], stop_reason="refusal")],
        }
    )
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            done = await bench.settled(task)
            assert done.runs[-1].status is RunStatus.COMPLETED
            (child,) = await below(bench, done)
            assert child.status is RunStatus.ERROR and child.error is not None
    assert "The sub-agent failed: The model refused" in cast.told("WHOLE")


async def test_a_key_that_is_refused_inside_pauses_the_run_which_goes_on_with_another(
    data: Path, repository: Path
) -> None:
    refused = Failure(401, "authentication_error", "invalid x-api-key")
    answers: list[object] = [refused, Answer([say("Done with it.")])]

    class Once(Cast):
        def reply(self, number, body):  # type: ignore[no-untyped-def]
            reply = Cast.reply(self, number, body)
            return answers.pop(0) if "PART one" in str(body["messages"][0]) and answers else reply

    cast = Once({"WHOLE": [[part("one")], [say("Done.")]], "PART one": [[say("")]]})
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            task = await bench.settled(task)
            assert (task.runs[-1].status, task.runs[-1].pause_reason) == (RunStatus.PAUSED, PauseReason.KEY)
            await bench.engine.do(c.ResumeRun(task.card.id, environment=server.environment))
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
            assert [row.status for row in await below(bench, task)] == [RunStatus.COMPLETED]
    assert "Done with it." in cast.told("WHOLE")


async def test_an_agent_that_is_not_there_is_an_error_that_the_parent_reads(data: Path, repository: Path) -> None:
    cast = Cast({"WHOLE": [[part("one", agent="nobody")], [say("Then not.")]]})
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            _, task = await begun(bench, repository)
            done = await bench.settled(task)
            assert await below(bench, done) == []
    assert "nobody" in cast.told("WHOLE") and '"is_error": true' in cast.told("WHOLE")


async def play_below(
    bench: Bench,
    repository: Path,
    parent: AgentConfig,
    child: AgentConfig,
    project: Project | None = None,
    **run: object,
) -> Task:
    """A run of an agent with the one configuration, whose sub-agent "named" has the other."""
    project = project or await bench.project(repository)
    (default,) = await bench.engine.do(c.ListAgents(project.id))
    await bench.engine.do(c.EditAgent(default.id, config=parent))
    await bench.engine.do(c.AddAgent(project.id, "named", BackendName.ANTHROPIC, config=child))
    return await bench.settled(await bench.start(await bench.card(project, "WHOLE"), **run))


def writing() -> Cast:
    write = [use("Write", file_path="secret.txt", content="x")]
    return Cast({"WHOLE": [[part("one", agent="named")], [say("Done.")]], "PART one": [write, [say("So it is.")]]})


def wrote(task: Task) -> bool:
    return task.worktree is not None and (Path(task.worktree) / "secret.txt").exists()


async def test_a_rule_that_denies_the_parent_denies_a_sub_agent_too(data: Path, repository: Path) -> None:
    cast = writing()
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            parent = AgentConfig(rules=("deny Write(secret*)",))
            task = await play_below(bench, repository, parent, AgentConfig(policy="free"))
            assert not wrote(task)
    assert "not carried out: rule: deny Write(secret*)" in cast.told("PART one")


CAREFUL, FREE = AgentConfig(policy="careful"), AgentConfig(policy="free")
OWN_RULE = AgentConfig(rules=("allow Write(secret.txt)",))


@pytest.mark.parametrize(
    ("parent", "child", "chosen", "held"),
    [
        (CAREFUL, FREE, None, Policy.CAREFUL),
        (FREE, CAREFUL, Policy.FREE, Policy.CAREFUL),
        (replace(CAREFUL, rules=("allow Write(secret.txt)",)), FREE, None, Policy.CAREFUL),
        (CAREFUL, OWN_RULE, None, Policy.CAREFUL),
        (replace(CAREFUL, rules=OWN_RULE.rules), OWN_RULE, None, None),
        (FREE, replace(CAREFUL, rules=OWN_RULE.rules), None, None),
        (AgentConfig(policy="read_only"), OWN_RULE, None, Policy.READ_ONLY),
        (CAREFUL, AgentConfig(), Policy.FREE, None),
    ],
    ids=[
        "the careful parent's policy holds",
        "the careful child's own policy holds",
        "what is allowed to the parent is not to the child",
        "what is allowed to the child alone is not",
        "what is allowed to both is",
        "what is allowed to the careful child of a free parent is",
        "nothing frees the child of a parent that may only read",
        "what the person has chosen for the run holds for both",
    ],
)
async def test_a_sub_agent_is_as_free_as_the_strictest_of_those_above_it(
    data: Path, repository: Path, parent: AgentConfig, child: AgentConfig, chosen: Policy | None, held: Policy | None
) -> None:
    with writing().server() as server:
        async with running(data, server.environment) as bench:
            task = await play_below(bench, repository, parent, child, policy=chosen)
            (row,) = await below(bench, task)
            if held is None:
                assert wrote(task) and task.card.column is Column.WAITING_APPROVAL
                return
            assert not wrote(task)
            if held is Policy.READ_ONLY:
                assert (row.policy, task.card.code) == (held, ErrorCode.TASK_NO_DIFF)
                return
            assert task.runs[-1].pause_reason is PauseReason.APPROVAL
            (asked,) = await bench.engine.do(c.ListApprovals(task.card.id))
            assert (asked.run_id, asked.tool, row.policy) == (row.id, "Write", held)


async def test_a_sub_agent_reaches_no_host_that_the_agent_above_it_does_not(data: Path, repository: Path) -> None:
    allow = ("allow Network(both.example)", "allow Network(alone.example)")
    with writing().server() as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            config = replace(project.config, network="hosts", hosts=("all.example",))
            await bench.engine.do(c.EditProject(project.id, config=config))
            await play_below(bench, repository, AgentConfig(rules=allow[:1]), AgentConfig(rules=allow), project=project)
    (told,) = {str(seen.body["system"]) for seen in server.requests if "PART one" in str(seen.messages[0])}
    assert "all.example, both.example" in told and "alone.example" not in told


async def test_children_are_no_runs_of_the_card_the_queue_or_the_agent(data: Path, repository: Path) -> None:
    gate = threading.Event()

    class Held(Cast):
        def reply(self, number, body):  # type: ignore[no-untyped-def]
            reply = Cast.reply(self, number, body)
            if "PART one" in str(body["messages"][0]):
                gate.wait(20)
            return reply

    cast = Held({"WHOLE": [[part("one")], [say("Done.")]], "PART one": [[say("Part done.")]]})
    with cast.server() as server:
        async with running(data, server.environment) as bench:
            project, task = await begun(bench, repository)
            db = bench.engine.services.core.db
            try:
                await bench.until(task, lambda now: "PART one" in cast.bodies)
                (child,) = await below(bench, task)
                found = await bench.engine.do(c.GetTask(task.card.id))
                assert [run.depth for run in found.runs] == [0]
                assert [row.id for row in await db.read(runs.active)] == [found.runs[0].id]
                assert [row.id for row in await db.read(runs.live)] == [found.runs[0].id]
                assert child.id != found.runs[0].id
                assert await db.read(runs.occupying, project.id, bench.engine.services.core.clock.now()) == 1
            finally:
                gate.set()
            await bench.settled(task)
            whole = await db.read(sub_runs.of_call, RunId(found.runs[0].id), str(cast.parts["WHOLE"][0][0]["id"]))  # type: ignore[index]
            assert whole is not None and whole.result == "Part done."
