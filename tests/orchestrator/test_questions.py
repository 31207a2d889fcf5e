"""What an agent keeps over a pause and a restart: its question, its list, the files it saw, its long outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from agentpane.api import commands as c
from agentpane.cli import words
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task, Todo, TodoState
from tests.backends.wire import Block, Failure, Reply, ScriptedServer, say, use
from tests.orchestrator.conftest import Bench, running, scripted


async def begun(bench: Bench, repository: Path, **fields: object) -> Task:
    return await bench.start(await bench.card(await bench.project(repository)), **fields)


def last_words(server: ScriptedServer) -> str:
    return json.dumps(server.requests[-1].messages[-1], ensure_ascii=False)


async def test_a_question_waits_for_its_answer_over_a_restart(data: Path, repository: Path) -> None:
    asked = use("AskUser", question="Tabs or spaces?", options=["tabs", "spaces"])
    turns: list[Sequence[Block]] = [[asked], [use("Write", file_path="b.txt", content="x")], [say("Done.")]]
    with scripted(*turns) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            run = task.runs[-1]
            assert (run.status, run.pause_reason) == (RunStatus.PAUSED, PauseReason.QUESTION)
            (question,) = [event for event in await bench.session(task) if event.kind is EventKind.QUESTION]
            assert question.data["question"] == "Tabs or spaces?" and question.data["options"] == ["tabs", "spaces"]
            assert task.card.run is not None and task.card.run.question == "Tabs or spaces?"
            assert len(server.requests) == 1
        async with running(data, server.environment) as bench:
            await bench.engine.do(c.Answer(task.card.id, "spaces, please", environment=server.environment))
            done = await bench.reviewed(task)
            (answer,) = [event for event in await bench.session(task) if event.kind is EventKind.ANSWER]
            assert answer.data["call_id"] == asked["id"]
            questions = [event for event in await bench.session(task) if event.kind is EventKind.QUESTION]
            assert len(questions) == 1 and len(done.runs) == 1
    result = server.requests[1].messages[-1]["content"]
    assert isinstance(result, list)
    assert [block["type"] for block in result] == ["tool_result"]  # and not once more as a message
    assert "The person answers: spaces, please" in json.dumps(result)


async def test_two_questions_of_one_turn_are_asked_and_answered_in_order(data: Path, repository: Path) -> None:
    questions = [use("AskUser", question="First?"), use("AskUser", question="Second?")]
    with scripted(questions, [say("Nothing to do.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            await bench.engine.do(c.Answer(task.card.id, "one"))
            task = await bench.settled(task)
            assert task.runs[-1].pause_reason is PauseReason.QUESTION and len(server.requests) == 1
            await bench.engine.do(c.Answer(task.card.id, "two"))
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
    told = last_words(server)
    assert told.index("answers: one") < told.index("answers: two")


async def test_a_message_to_an_agent_that_waits_for_nothing_is_a_message(data: Path, repository: Path) -> None:
    turns = [[use("AskUser", question="Which?")], [say("Nothing to do.")], [say("Still nothing.")]]
    with scripted(*turns) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            await bench.engine.do(c.Answer(task.card.id, "this one"))
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
            await bench.engine.do(c.Answer(task.card.id, "look again", environment=server.environment))
            await bench.until(task, lambda now: len(now.runs) == 2 and now.runs[-1].status is RunStatus.COMPLETED)
    assert "look again" in last_words(server)
    assert "this one" not in last_words(server)


async def test_the_list_is_on_the_card(data: Path, repository: Path) -> None:
    todos = [{"content": "look", "status": "completed"}, {"content": "mend", "status": "pending"}]
    with scripted([use("TodoWrite", todos=todos)], [say("Nothing to do.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            expected = (Todo("look", TodoState.COMPLETED), Todo("mend", TodoState.PENDING))
            assert task.card.todos == expected
        async with running(data, server.environment) as bench:
            assert (await bench.engine.do(c.GetTask(task.card.id))).card.todos == expected


async def test_a_file_that_changed_during_a_pause_must_be_read_again(data: Path, repository: Path) -> None:
    edits = [
        use("Edit", file_path="a.txt", old_string="one", new_string="1"),
        use("Edit", file_path="README.md", old_string="Sample", new_string="Example"),
    ]
    turns = [[use("Read", file_path="a.txt"), use("Read", file_path="README.md")], [use("AskUser", question="Now?")]]
    with scripted(*turns, edits, [say("Done.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            assert task.worktree is not None
            (Path(task.worktree) / "a.txt").write_text("one and something of somebody's\n")
        async with running(data, server.environment) as bench:
            await bench.engine.do(c.Answer(task.card.id, "yes", environment=server.environment))
            await bench.reviewed(task)
            assert task.worktree is not None
            assert (Path(task.worktree) / "a.txt").read_text() == "one and something of somebody's\n"
            assert (Path(task.worktree) / "README.md").read_text() == "# Example\n"
    first, second = server.requests[-1].messages[-1]["content"]  # type: ignore[misc]
    assert first["is_error"] and "has changed since it was read" in first["content"]
    assert not second.get("is_error")


async def test_the_rest_of_a_long_output_and_a_picture_outlive_a_restart(data: Path, repository: Path) -> None:
    head = "\\211PNG\\r\\n\\032\\n\\0\\0\\0\\rIHDR\\0\\0\\0\\003\\0\\0\\0\\002"
    picture = f"printf '{head}' > p.png; head -c 90000 /dev/urandom >> p.png"
    turns: list[list[Block]] = [[use("Bash", command=f"seq 30000; {picture}")], [use("Read", file_path="p.png")]]
    with scripted(*turns, [use("AskUser", question="Go on?")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            shown = str(server.requests[1].messages[-1]["content"])
            name = next(word for word in shown.split() if word.startswith("output://"))
            sent = server.requests[2].messages[-1]["content"]
        server.turns += [[use("Read", file_path=name, offset=20_000, limit=1)], [say("Done.")]]
        async with running(data, server.environment) as bench:
            await bench.engine.do(c.Answer(task.card.id, "yes", environment=server.environment))
            await bench.reviewed(task)
    again = next(message for message in server.requests[-1].messages if "image" in json.dumps(message["content"]))
    assert _unmarked(again["content"]) == _unmarked(sent)
    assert "20000\\t20000" in last_words(server)


def _unmarked(content: object) -> object:
    """A message's blocks without the marks of what the server keeps."""
    assert isinstance(content, list)
    return [{name: value for name, value in block.items() if name != "cache_control"} for block in content]


async def test_background_commands_end_with_the_pause_and_the_agent_is_told(data: Path, repository: Path) -> None:
    command = "trap '' TERM; echo $$ > pid; while :; do touch beat; sleep 0.05; done"
    wait = use("Bash", command="until [ -e beat ]; do sleep 0.01; done")
    turns = [[use("Bash", command=command, run_in_background=True)], [wait], [use("AskUser", question="Go on?")]]
    with scripted(*turns, [use("BashOutput", bash_id="bash_1")], [say("Done.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            assert task.worktree is not None
            assert not _lives(Path(task.worktree))
            ends = [event for event in await bench.session(task) if event.kind is EventKind.TERMINAL_OUTPUT]
            assert [(end.data["shell_id"], end.data["by"]) for end in ends] == [("bash_1", "run")]
            await bench.engine.do(c.Answer(task.card.id, "yes"))
            await bench.reviewed(task)
    told = json.dumps(server.requests[3].messages[-1])
    assert "The person answers: yes" in told and "background commands were ended: bash_1" in told
    assert "There is no background command bash_1" in last_words(server)


async def test_background_commands_that_end_with_the_run_are_told_of_once_in_the_session(
    data: Path, repository: Path
) -> None:
    started = use("Bash", command="touch beat; sleep 600", run_in_background=True)
    nest = use(
        "Bash", command="until [ -e beat ]; do sleep 0.01; done; mkdir inner && cd inner && git init -q . && touch x"
    )
    mend = use("Bash", command="rm -rf inner")
    turns = [[started], [nest], [say("Done.")], [mend], [say("Done again.")]]
    with scripted(*turns) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            assert task.runs[-1].error is not None
            await bench.engine.do(c.ResumeRun(task.card.id, environment=server.environment))
            task = await bench.reviewed(task)
            notes = [event for event in await bench.session(task) if event.data.get("state") == "background_ended"]
    (note,) = notes
    assert "shells" in note.data and "bash_1" in (words.event(note) or "")
    told = json.dumps(server.requests[3].messages[-1])
    assert "background commands were ended: bash_1" in told and "could not be taken" in told


async def test_an_approved_plan_counts_no_more_when_the_run_begins_anew(data: Path, repository: Path) -> None:
    turns: list[list[Block] | Reply] = [
        [use("ExitPlanMode", plan="1. Write b.txt")],
        Failure(400, "invalid_request_error"),
    ]
    with scripted(*turns) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository, plan=True))
            (asked,) = await bench.engine.do(c.ListApprovals(task.card.id))
            await bench.engine.do(c.DecideApproval(asked.id, allow=True, environment=server.environment))
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.ERROR)
            await bench.engine.do(c.ResumeRun(task.card.id, afresh=True, environment=server.environment))
            again = await bench.until(task, lambda now: now.runs[-1].status is RunStatus.PAUSED)
            assert again.runs[-1].pause_reason is PauseReason.PLAN and len(again.runs) == 1
            (anew,) = await bench.engine.do(c.ListApprovals(task.card.id))
            assert anew.id != asked.id  # the scripted call has the same name each time, and is another all the same
    first, second, third = server.requests
    assert "Until the plan is approved" not in str(second.body["system"])
    assert (third.body["system"], third.messages) == (first.body["system"], first.messages)


async def test_work_that_changed_nothing_can_begin_anew_too(data: Path, repository: Path) -> None:
    with scripted([say("Nothing to do.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await begun(bench, repository))
            await bench.engine.do(c.ResumeRun(task.card.id, afresh=True, environment=server.environment))
            await bench.until(task, lambda now: len(now.runs) == 2 and now.runs[-1].status is RunStatus.COMPLETED)
    first, second = server.requests
    assert second.messages == first.messages


def _lives(worktree: Path) -> bool:
    """Does any process work in the worktree?"""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if Path(os.readlink(process / "cwd")).is_relative_to(worktree):
                    return True
            except OSError:
                continue
    return False
