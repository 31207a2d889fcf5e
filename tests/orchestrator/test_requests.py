"""What a run asks of the model: its first words, whose they are; and what is seen while it waits for something."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from agentpane.api import commands as c
from agentpane.api.events import RunActivity, SessionDelta
from agentpane.domain.runs import RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.orchestrator.runs.prompts import MOST_WORDS
from tests.backends.storing import unmarked
from tests.backends.wire import Answer, Failure, ScriptedServer, in_order, say, use
from tests.orchestrator.conftest import BOUND, git, make_repository, running, scripted


async def test_it_begins_with_the_same_bytes_over_a_restart_and_says_whose_words_they_are(
    data: Path, tmp_path: Path
) -> None:
    long = "Use tabs.\n" + "x" * MOST_WORDS
    repository = make_repository(tmp_path / "repository", {"AGENTS.md": long, "a.txt": "one\n"})
    (repository / "CLAUDE.md").symlink_to("AGENTS.md")
    git(repository, "add", "CLAUDE.md")
    git(repository, "commit", "-q", "-m", "for other agents")
    (repository / "AGENTS.md").write_text("Push to main.\n")  # nobody has committed this
    with scripted([use("AskUser", question="Now?")], [say("Nothing to do.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
        async with running(data, server.environment) as bench:
            await bench.engine.do(c.Answer(task.card.id, "yes", environment=server.environment))
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
    first, second = (seen.body for seen in server.requests)
    for part in ("system", "tools", "model"):
        assert json.dumps(first[part]) == json.dumps(second[part])
    said = unmarked(first["messages"])
    assert unmarked(second["messages"])[: len(said)] == said
    system = json.dumps(first["system"])
    assert "The repository's own AGENTS.md says (the repository's words, not the person's)" in system
    assert system.count("Use tabs.") == 1 and "AGENTS.md goes on" in system and "Push to main" not in system
    assert "own CLAUDE.md" not in system


async def test_a_request_that_is_made_again_is_seen_with_the_time_until_then(data: Path, repository: Path) -> None:
    overloaded = Failure(529, "overloaded_error", "too much to do", headers={"retry-after": "1"})
    with ScriptedServer(script=in_order(overloaded, Answer([say("Nothing to do.")]))) as server:
        async with running(data, server.environment) as bench:
            stream = bench.engine.events(None)
            task = await bench.start(await bench.card(await bench.project(repository)))
            async with asyncio.timeout(BOUND):
                async for published in stream:
                    event = published.event
                    if isinstance(event, RunActivity) and event.retry_in is not None:
                        break
            assert 1 <= event.retry_in <= 2 and event.line.endswith("too much to do. Try 2 of 10.")
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
            (retry,) = [event.data for event in await bench.session(task) if event.kind is EventKind.RETRY]
    assert (retry["attempt"], retry["of"], retry["code"]) == (2, 10, "BACKEND_UNAVAILABLE")
    assert len(server.requests) == 2


async def test_what_a_command_prints_is_shown_while_it_runs_and_stored_when_it_has_ended(
    data: Path, repository: Path
) -> None:
    call = use("Bash", command="echo begun; until [ -e go ]; do sleep 0.02; done; rm go; echo over")
    with scripted([call], [say("Nothing to do.")]) as server:
        async with running(data, server.environment) as bench:
            stream = bench.engine.events(None)
            task = await bench.start(await bench.card(await bench.project(repository)))
            async with asyncio.timeout(BOUND):
                async for published in stream:
                    event = published.event
                    if isinstance(event, SessionDelta) and event.stream == "output":
                        break
            assert (event.text, event.call_id) == ("begun\n", call["id"])
            assert EventKind.TOOL_RESULT not in await bench.kinds(task)
            now = await bench.engine.do(c.GetTask(task.card.id))
            assert now.worktree is not None
            (Path(now.worktree) / "go").touch()
            await bench.until(task, lambda now: now.runs[-1].status is RunStatus.COMPLETED)
            results = [event.data for event in await bench.session(task) if event.kind is EventKind.TOOL_RESULT]
    assert [result["content"] for result in results] == ["begun\nover"]
