"""A conversation that grows beyond the model's window is summarised, and each request begins as the last one did."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentpane.db import runs
from agentpane.domain.compaction import RESULT_LIMIT, SUMMARY_HEAD
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Compacted, Ended, Endpoint, Purpose, RunPaused, TurnFinished
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend
from agentpane.orchestrator.backends.messages_api.compacting import REQUEST
from agentpane.orchestrator.backends.recorded.wire import message_events, sse
from agentpane.orchestrator.tools import ToolContext, ToolResult
from tests.backends.rig import Hurry, Look, Mark, box, make_brief, marks, of_kind
from tests.backends.storing import Store, StoredHost, StoredRun, stored, unmarked
from tests.backends.wire import Answer, Failure, Reply, ScriptedServer, Stream, in_order, say, use

HAIKU = "claude-haiku-4-5"  # takes 200,000 tokens
WINDOW = 200_000
DONE = Answer([say("All done.")], model=HAIKU)
SUMMARY = Answer(
    [say("I marked one and two. Three remains.")], model=HAIKU, usage={"input_tokens": 9, "output_tokens": 7}
)
TOO_LONG = Failure(400, "invalid_request_error", "prompt is too long: 210000 tokens")


def mark(line: str, tokens: int = 1_000, words: str = "I write.") -> Answer:
    """A turn with one call, whose request held so many tokens."""
    usage = {"input_tokens": 10, "cache_read_input_tokens": tokens - 30, "output_tokens": 20}
    return Answer([say(words), use("Mark", line=line)], usage=usage, model=HAIKU)


@dataclass(frozen=True, slots=True)
class Flood(Mark):
    """Writes its line, and answers with far too much."""

    name: str = "Flood"

    async def run(self, input: Mapping[str, Any], context: ToolContext, on_output: Any) -> ToolResult:
        await Mark.run(self, input, context, on_output)
        return ToolResult("begin " + "x" * 600_000 + " end", is_error=False, summary="flooded")


@dataclass
class Table:
    """A stored run and the server that it talks to."""

    store: Store
    folder: Path
    stack: ExitStack
    backend: MessagesApiBackend
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def play(self, *replies: Reply, run: StoredRun | None = None, host: StoredHost | None = None) -> StoredRun:
        run = run or await self.store.begin("The task's own words", HAIKU)
        with ScriptedServer(script=in_order(*replies)) as server:
            brief = make_brief(
                self.folder, Endpoint(server.url, api_key=server.key), model=HAIKU, tools=("Look", "Mark", "Flood")
            )
            try:
                await run.play(self.backend, brief, host)
            finally:
                self.requests += [dict(seen.body) for seen in server.requests]
        return run

    @property
    def asked(self) -> list[list[dict[str, Any]]]:
        """The messages of each request, without their marks."""
        return [unmarked(body["messages"]) for body in self.requests]


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[Table]:
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    backend = MessagesApiBackend(Hurry().patience(), box(Look(), Mark(), Flood()))
    async with stored(tmp_path / "data") as store:
        with ExitStack() as stack:
            yield Table(store, worktree, stack, backend)
    await backend.close()


def texts(message: Mapping[str, Any]) -> list[str]:
    return [block["text"] for block in message["content"] if block["type"] == "text"]


def check_pairs(messages: Sequence[Mapping[str, Any]]) -> None:
    """Every call is followed by its result, and no result stands alone; roles take turns."""
    assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"] * (
        len(messages) % 2
    )
    for said, told in zip(messages[1::2], messages[2::2], strict=False):
        calls = [block["id"] for block in said["content"] if block["type"] == "tool_use"]
        assert [block["tool_use_id"] for block in told["content"] if block["type"] == "tool_result"] == calls
    assert not [block for block in messages[0]["content"] if block["type"] == "tool_result"]


# When, and what remains


async def test_at_four_fifths_of_the_window_a_summary_takes_the_place_of_the_older_turns(table: Table) -> None:
    full = round(0.81 * WINDOW)
    turns = [mark(str(number), words="w" * 400) for number in range(1, 10)]
    run = await table.play(*turns, mark("10", full), SUMMARY, mark("11"), DONE)
    (compacted,) = of_kind(run.events, Compacted)
    assert (compacted.turn, compacted.before) == (10, full)
    assert 10 - 4 < compacted.kept_from <= 10
    assert run.events[-1] == Ended("All done.")
    assert marks(table.folder) == [str(number) for number in range(1, 12)]
    called = [event.data["input"] for event in await run.session() if event.kind is EventKind.TOOL_CALL]
    assert called == [{"line": str(number)} for number in range(1, 12)]  # what was replaced is in the session still
    summary, after = table.asked[10], table.asked[11]
    assert texts(summary[-1])[-1] == REQUEST
    assert texts(after[0]) == ["The task's own words", SUMMARY_HEAD + "I marked one and two. Three remains."]
    assert after[1:] == [*table.asked[10][2 * compacted.kept_from - 1 : -1], without_request(summary[-1])]
    check_pairs(after)


def without_request(message: Mapping[str, Any]) -> dict[str, Any]:
    return {**message, "content": [block for block in message["content"] if block.get("text") != REQUEST]}


async def test_below_four_fifths_nothing_is_summarised(table: Table) -> None:
    turns = [mark(str(number), round(0.79 * WINDOW), words="w" * 400) for number in range(6)]
    run = await table.play(*turns, DONE)
    assert not of_kind(run.events, Compacted)


async def test_the_rebuilt_conversation_is_the_one_that_was_played(table: Table) -> None:
    turns = [mark(str(number), words="w" * 300) for number in range(1, 8)]
    pausing = StoredHost(says={8: ("Mind the tests.",), 10: ("And the docs.",)}, pause_at=11)
    with pytest.raises(RunPaused):
        await table.play(
            *turns[:-1],
            mark("7", 170_000),
            SUMMARY,
            mark("8"),
            mark("9"),
            mark("10"),
            run=(run := await table.store.begin("Words", HAIKU)),
            host=pausing,
        )
    played = table.asked[-1]
    resumed = await table.play(DONE, run=run)
    assert table.asked[-1][: len(played)] == played  # and then the last answer, with its result
    assert len(table.asked[-1]) == len(played) + 2
    assert [text for message in played for text in texts(message) if text.endswith((".", "s"))].count(
        "Mind the tests."
    ) == 1
    check_pairs(table.asked[-1])
    assert resumed.events[-1] == Ended("All done.")


async def test_a_second_summary_takes_the_place_of_the_first(table: Table) -> None:
    turns = [mark(str(number), words="w" * 300) for number in range(1, 6)]
    again = Answer([say("The second summary.")], model=HAIKU)
    run = await table.play(*turns, mark("6", 170_000), SUMMARY, *turns, mark("7", 170_000), again, DONE)
    assert len(of_kind(run.events, Compacted)) == 2
    assert texts(table.asked[-1][0]) == ["The task's own words", SUMMARY_HEAD + "The second summary."]
    assert await run.messages() == [*table.asked[-1], {"role": "assistant", "content": [say("All done.")]}]


# When the server says so


async def test_what_the_server_finds_too_long_is_summarised_and_asked_again(table: Table) -> None:
    turns = [mark(str(number), words="w" * 300) for number in range(1, 6)]
    run = await table.play(*turns, TOO_LONG, SUMMARY, DONE)
    assert run.events[-1] == Ended("All done.")
    assert len(of_kind(run.events, Compacted)) == 1
    check_pairs(table.asked[-1])
    assert await run.messages() == [*table.asked[-1], {"role": "assistant", "content": [say("All done.")]}]


async def test_a_result_that_is_too_long_by_itself_is_cut(table: Table) -> None:
    flood = Answer([use("Flood", line="one")], model=HAIKU)
    run = await table.play(flood, TOO_LONG, TOO_LONG, SUMMARY, DONE)
    assert marks(table.folder) == ["one"]  # once
    shorter, after = table.asked[3], table.asked[4]
    assert len(json.dumps(shorter)) < 10_000  # what is to be summarised is cut as well, when it does not fit
    assert len(json.dumps(after)) < 2 * RESULT_LIMIT
    results = [block for message in after for block in message["content"] if block["type"] == "tool_result"]
    assert all("left out here" in result["content"] for result in results)
    check_pairs(after)
    assert await run.messages() == [*after, {"role": "assistant", "content": [say("All done.")]}]


async def test_a_conversation_that_cannot_be_summarised_is_an_error_and_stays_as_it_is(table: Table) -> None:
    turns = [mark(str(number), words="w" * 300) for number in range(1, 4)]
    run = await table.store.begin("Words", HAIKU)
    with pytest.raises(AgentPaneError) as caught:
        await table.play(*turns, TOO_LONG, Answer([use("Mark", line="never")], model=HAIKU), run=run)
    assert caught.value.code is ErrorCode.BACKEND_CONTEXT_FULL
    assert marks(table.folder) == ["1", "2", "3"]  # a call in the place of a summary is not made
    assert not of_kind(run.events, Compacted)
    assert [body.get("tool_choice") for body in table.requests[-3:]] == [None, {"type": "none"}, {"type": "none"}]
    assert await run.messages() == table.asked[3]


async def test_the_first_request_being_too_long_is_an_error_at_once(table: Table) -> None:
    run = await table.store.begin("Words", HAIKU)
    with pytest.raises(AgentPaneError) as caught:
        await table.play(TOO_LONG, run=run)
    assert caught.value.code is ErrorCode.BACKEND_CONTEXT_FULL
    assert len(table.requests) == 1


# The cache


def prefix(body: Mapping[str, Any], marked: int) -> str:
    """A request up to its newest mark but `marked`, as it goes over the wire, the marks themselves left out."""
    messages = body["messages"]
    places = [
        (at, within)
        for at, message in enumerate(messages)
        for within, block in enumerate(message["content"])
        if "cache_control" in block
    ]
    at, within = places[-1 - marked]
    cut = [*messages[:at], {**messages[at], "content": messages[at]["content"][: within + 1]}]
    bare = json.dumps([body["tools"], body["system"], unmarked(cut)])
    return bare[:-4]  # without the brackets that close it


def whole(body: Mapping[str, Any]) -> str:
    return json.dumps([body["tools"], body["system"], unmarked(body["messages"])])


async def test_each_request_begins_with_what_the_one_before_left_in_the_cache(table: Table) -> None:
    turns = [mark(str(number), words="w" * 300) for number in range(1, 7)]
    run = await table.store.begin("Words", HAIKU)
    failing = Answer([use("Mark"), use("Teleport"), use("Look", at="x")], model=HAIKU)
    with pytest.raises(RunPaused):
        await table.play(*turns[:3], failing, *turns[4:], run=run, host=StoredHost(pause_at=6, says={3: ("Ho.",)}))
    await table.play(mark("6"), mark("7", 170_000), SUMMARY, mark("8"), mark("9"), DONE, run=run)
    broken = 0
    for before, after in zip(table.requests, table.requests[1:], strict=False):
        assert json.dumps(after).count('"cache_control"') <= 4
        if whole(after).startswith(prefix(before, 0)):
            # The mark before the newest stands exactly where the last request ended.
            assert prefix(after, 1) == prefix(before, 0) or texts(after["messages"][-1])[-1:] == [REQUEST]
        else:
            broken += 1
    assert broken == 1  # at the compaction, and never else: not even at the resume
    assert len(table.requests) == 11


# What it costs


async def calls(table: Table, run: StoredRun) -> list[Mapping[str, Any]]:
    def read(connection: runs.Connection) -> list[Mapping[str, Any]]:
        query = "SELECT * FROM model_calls WHERE run_id = ? ORDER BY at, rowid"
        return [dict(row) for row in connection.exec_driver_sql(query, (run.row.id,)).mappings()]

    return await table.store.core.db.read(read)


async def test_every_request_is_stored_also_the_summary_and_a_try_that_was_cut(table: Table) -> None:
    cut = Stream(b"".join(mark("1").events()[:4]), end="close")
    turns = [mark(str(number), words="w" * 300) for number in range(1, 5)]
    run = await table.play(cut, *turns, mark("5", 170_000), SUMMARY, DONE)
    entered = await calls(table, run)
    assert [call["stop_reason"] for call in entered] == [None, *["tool_use"] * 5, "end_turn", "end_turn"]
    summary = entered[6]
    assert (summary["model"], summary["input_tokens"], summary["output_tokens"]) == (HAIKU, 9, 7)
    assert summary["cost_usd"] == pytest.approx((9 * 1 + 7 * 5) / 1_000_000)
    assert entered[5]["cache_read_tokens"] == 170_000 - 30
    assert all(call["request_id"] == "req_scripted" and call["latency_ms"] >= 0 for call in entered)
    row = await table.store.core.db.read(runs.row, run.row.id)
    assert row.turns == 6  # a summary is no turn, nor is a cut try
    assert row.cost_usd == pytest.approx(sum(call["cost_usd"] for call in entered))
    purposes = [event.purpose for event in run.events if hasattr(event, "purpose")]
    assert purposes == [Purpose.FAILED_TRY, Purpose.SUMMARY]


async def test_a_model_without_a_price_costs_an_unknown_sum(table: Table) -> None:
    run = await table.play(Answer([say("Done.")], model="qwen3-coder:30b"))
    assert [call["cost_usd"] for call in await calls(table, run)] == [None]
    assert (await table.store.core.db.read(runs.row, run.row.id)).cost_usd is None


def uncounted(words: str) -> Stream:
    """An answer of a server that says nothing of what was used."""
    sent = []
    for event in message_events([say(words)], "end_turn", HAIKU, {}):
        message = event.get("message")
        bare = {key: value for key, value in event.items() if key != "usage"}
        if isinstance(message, dict):
            bare["message"] = {key: value for key, value in message.items() if key != "usage"}
        sent.append(sse(bare))
    return Stream(b"".join(sent))


async def test_a_server_that_does_not_count_leaves_usage_and_cost_unknown(table: Table) -> None:
    run = await table.play(uncounted("Done."))
    (finished,) = of_kind(run.events, TurnFinished)
    assert (finished.usage, finished.cost_usd, finished.context_used) == (None, None, None)
    assert [call["cost_usd"] for call in await calls(table, run)] == [None]


async def test_the_meter_shows_what_the_newest_request_held_of_what_the_model_takes(table: Table) -> None:
    run = await table.play(mark("1", 50_000), mark("2", 70_000), Answer([say("Done.")], model=HAIKU))
    finished = of_kind(run.events, TurnFinished)
    assert [(one.context_used, one.context_window) for one in finished] == [
        (50_000, WINDOW),
        (70_000, WINDOW),
        (120, WINDOW),
    ]
    row = await table.store.core.db.read(runs.row, run.row.id)
    assert (row.context_used, row.context_window) == (120, WINDOW)


async def test_the_window_of_an_unknown_model_is_unknown(table: Table) -> None:
    run = await table.store.begin("Words", "qwen3-coder:30b")
    with ScriptedServer(script=in_order(Answer([say("Done.")], model="qwen3-coder:30b"))) as server:
        endpoint = Endpoint(server.url, api_key=server.key)
        await run.play(table.backend, make_brief(table.folder, endpoint, model="qwen3-coder:30b"))
    (finished,) = of_kind(run.events, TurnFinished)
    assert (finished.context_used, finished.context_window) == (120, None)
