"""What may go wrong between us and a model's server, each provoked on a real wire."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Brief,
    Ended,
    Endpoint,
    Retrying,
    TextBlock,
    ThinkingBlock,
    ThinkingDelta,
    ToolCalled,
    ToolFinished,
    ToolStarted,
    TurnDiscarded,
    TurnFinished,
    TurnStarted,
)
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend
from agentpane.orchestrator.backends.recorded.wire import sse
from tests.backends.rig import Hurry, Look, Mark, TestHost, box, make_brief, marks, of_kind, play, play_into
from tests.backends.wire import (
    Answer,
    Failure,
    Reply,
    ScriptedServer,
    Stream,
    Whole,
    in_order,
    say,
    think,
    use,
    use_raw,
)

DONE = Answer([say("All done.")])
MARK = Answer([say("I write."), use("Mark", line="one")])


@dataclass
class Wire:
    """A backend and the server that it talks to."""

    folder: Path
    hurry: Hurry = field(default_factory=Hurry)
    look: Look = field(default_factory=Look)
    stack: ExitStack = field(default_factory=ExitStack)
    backends: list[MessagesApiBackend] = field(default_factory=list)

    def serve(self, *replies: Reply, key: str = "test-key") -> ScriptedServer:
        return self.stack.enter_context(ScriptedServer(script=in_order(*replies), key=key))

    def backend(self, **patience: Any) -> MessagesApiBackend:
        made = MessagesApiBackend(self.hurry.patience(**patience), box(self.look, Mark()))
        self.backends.append(made)
        return made

    def brief(self, server: ScriptedServer, **changes: Any) -> Brief:
        return make_brief(self.folder, Endpoint(server.url, api_key="test-key"), **changes)

    async def play(self, *replies: Reply, **patience: Any) -> list[BackendEvent]:
        self.server = self.serve(*replies)
        return await play(self.backend(**patience), self.brief(self.server))

    async def fail(self, *replies: Reply, **patience: Any) -> AgentPaneError:
        with pytest.raises(AgentPaneError) as caught:
            await self.play(*replies, **patience)
        return caught.value

    @property
    def last_message(self) -> list[dict[str, Any]]:
        """The content of the last message that the server was sent."""
        content = self.server.requests[-1].messages[-1]["content"]
        assert isinstance(content, list)
        return content


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    made = Wire(tmp_path)
    yield made
    for backend in made.backends:
        await backend.close()
    made.stack.close()


# Faults that pass


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(429, "rate_limit_error", "slow down"), ErrorCode.BACKEND_RATE_LIMITED),
        (Failure(529, "overloaded_error", "overloaded"), ErrorCode.BACKEND_UNAVAILABLE),
        (Failure(500), ErrorCode.BACKEND_UNAVAILABLE),
        (Failure(503), ErrorCode.BACKEND_UNAVAILABLE),
        (Failure(408), ErrorCode.BACKEND_UNAVAILABLE),
    ],
)
async def test_a_fault_that_passes_is_tried_again(wire: Wire, failure: Failure, code: ErrorCode) -> None:
    events = await wire.play(failure, failure, DONE)
    retries = of_kind(events, Retrying)
    assert [(retry.attempt, retry.of, retry.code) for retry in retries] == [(2, 10, code), (3, 10, code)]
    assert failure.message in retries[0].reason
    assert [retry.wait_s for retry in retries] == wire.hurry.waits
    assert not of_kind(events, TurnDiscarded)  # nothing had been shown
    assert [event.turn for event in of_kind(events, TurnStarted)] == [1]
    assert events[-1] == Ended("All done.")


async def test_waits_grow_and_the_tenth_failure_is_the_last(wire: Wire) -> None:
    error = await wire.fail(Failure(529, "overloaded_error", "overloaded"))
    assert error.code is ErrorCode.BACKEND_UNAVAILABLE
    assert "10 times" in error.message
    assert len(wire.server.requests) == 10
    assert wire.hurry.waits == sorted(wire.hurry.waits)
    assert len(wire.hurry.waits) == 9
    assert wire.hurry.waits[0] < 1 < wire.hurry.waits[-1] <= 30


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "7"}, 7, 8),
        ({"retry-after-ms": "2500"}, 2.5, 3.5),
        ({"retry-after": formatdate(time() + 3600, usegmt=True)}, 290, 301),  # never for hours
        ({"retry-after": "nonsense"}, 0, 1),
    ],
)
async def test_the_server_may_say_how_long_to_wait(
    wire: Wire, headers: dict[str, str], least: float, most: float
) -> None:
    await wire.play(Failure(429, "rate_limit_error", headers=headers), DONE)
    assert least <= wire.hurry.waits[0] <= most


@pytest.mark.parametrize("end", ["cut", "reset", "close"])
async def test_a_stream_that_ends_too_early_is_discarded_and_asked_for_again(wire: Wire, end: Any) -> None:
    part = b"".join(MARK.events()[:-1])  # everything but the closing event: the call is whole
    events = await wire.play(Stream(part, end=end), MARK, DONE)
    if end != "reset":  # what a reset overtakes has never been seen
        assert len(of_kind(events, TurnDiscarded)) == 1
    assert len(of_kind(events, Retrying)) == 1
    assert marks(wire.folder) == ["one"]  # once: the cut call was not run
    assert events[-1] == Ended("All done.")


async def test_an_answer_that_is_whole_counts_even_if_its_last_chunk_is_missing(wire: Wire) -> None:
    events = await wire.play(Stream(DONE.stream(), end="cut"))
    assert not of_kind(events, Retrying)
    assert events[-1] == Ended("All done.")


async def test_an_error_inside_the_stream_is_tried_again(wire: Wire) -> None:
    error = sse({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}})
    events = await wire.play(Stream(b"".join(DONE.events()[:3]) + error), DONE)
    assert len(of_kind(events, TurnDiscarded)) == 1
    assert of_kind(events, Retrying)[0].code is ErrorCode.BACKEND_UNAVAILABLE
    assert events[-1] == Ended("All done.")


GARBAGE: dict[str, Reply] = {
    "html with 200": Stream(b"<html><body>Sign in to the hotel's network</body></html>", content_type="text/html"),
    "no stream but JSON": Whole(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"),
    "broken event JSON": Stream(b'event: message_start\ndata: {"type": "mess\n\n'),
    "an event that is a list": Stream(b"event: message_start\ndata: []\n\n"),
    "an event that is null": Stream(b"event: message_start\ndata: null\n\n"),
    "bytes that are no text": Stream(b"event: message_start\ndata: \xff\xfe\xff\n\n"),
    "a message without a message": Stream(b'event: message_start\ndata: {"type": "message_start"}\n\n'),
    "a piece for no block": Stream(
        DONE.events()[0]
        + sse({"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta", "text": "x"}})
    ),
    "a piece of the wrong kind": Stream(
        b"".join(DONE.events()[:2])
        + sse({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}})
    ),
    "a block without its end": Stream(b"".join(event for event in DONE.events() if b"block_stop" not in event)),
    "a text that is a number": Stream(
        b"".join(DONE.events()[:2])
        + sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 7}})
    ),
    "nothing": Stream(b""),
    "no reason for its end": Answer([say("x")], no_reason=True),
    "a tool call announced and not there": Answer([say("x")], stop_reason="tool_use"),
    "two calls of one name tag": Answer([{**use("Mark", line="a"), "id": "t"}, {**use("Mark", line="b"), "id": "t"}]),
    "no HTTP at all": Whole(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_a_fault_of_the_network(wire: Wire, garbage: Reply) -> None:
    events = await wire.play(garbage, MARK, DONE)
    assert len(of_kind(events, Retrying)) == 1
    assert marks(wire.folder) == ["one"]
    assert events[-1] == Ended("All done.")


async def test_garbage_that_stays_is_a_breach_of_the_protocol(wire: Wire) -> None:
    error = await wire.fail(GARBAGE["html with 200"], tries=3)
    assert error.code is ErrorCode.BACKEND_PROTOCOL
    assert wire.server.url in error.hint


@pytest.mark.parametrize("end", ["hang", "ping"])
async def test_silence_and_endless_pings_are_given_up(wire: Wire, end: Any) -> None:
    part = b"".join(DONE.events()[:3])
    events = await wire.play(Stream(part, end=end), DONE, silence_s=0.3)
    assert len(of_kind(events, TurnDiscarded)) == 1
    assert "said nothing for 0.3 seconds" in of_kind(events, Retrying)[0].reason
    assert events[-1] == Ended("All done.")


async def test_a_server_that_never_answers_is_given_up(wire: Wire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = Endpoint(f"http://127.0.0.1:{deaf.getsockname()[1]}", api_key="k")
        with pytest.raises(AgentPaneError) as caught:
            await play(wire.backend(silence_s=0.2, tries=2), make_brief(wire.folder, endpoint))
    assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE


async def test_a_refused_connection_is_told_soon(wire: Wire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AgentPaneError) as caught:
        await play(wire.backend(), make_brief(wire.folder, Endpoint(f"http://127.0.0.1:{port}", api_key="k")))
    assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE
    assert f"http://127.0.0.1:{port}" in caught.value.message
    assert len(wire.hurry.waits) == 2


@pytest.mark.parametrize("address", ["not an address", "ftp://127.0.0.1/", "http://[::1", "http://"])
async def test_an_address_that_is_none_is_refused_at_once(wire: Wire, address: str) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await play(wire.backend(), make_brief(wire.folder, Endpoint(address, api_key="k")))
    assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE
    assert wire.hurry.waits == []


# Faults that do not pass


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(401, "authentication_error", "invalid x-api-key"), ErrorCode.BACKEND_AUTH),
        (Failure(403, "permission_error", "not for you"), ErrorCode.BACKEND_AUTH),
        (Failure(400, "invalid_request_error", "model: unheard of"), ErrorCode.BACKEND_REFUSED),
        (Failure(404, "not_found_error", "model: zork-1"), ErrorCode.BACKEND_REFUSED),
        (Failure(400, "invalid_request_error", "prompt is too long: 210000 tokens"), ErrorCode.BACKEND_CONTEXT_FULL),
        (Failure(413, "request_too_large", "too large"), ErrorCode.BACKEND_CONTEXT_FULL),
        (Failure(422, "invalid_request_error", "it differs"), ErrorCode.BACKEND_PROTOCOL),
    ],
)
async def test_a_fault_that_stays_is_told_in_the_servers_own_words(
    wire: Wire, failure: Failure, code: ErrorCode
) -> None:
    error = await wire.fail(failure)
    assert error.code is code
    assert failure.message in error.message
    assert error.hint
    assert len(wire.server.requests) == 1
    assert "spend_limit" not in error.details


@pytest.mark.parametrize(
    "failure",
    [
        Failure(429, "rate_limit_error", "limit", details={"error_code": "enforced_spend_limit_reached"}),
        Failure(402, "billing_error", "pay first"),
        Failure(400, "invalid_request_error", "Your credit balance is too low to access the API."),
    ],
)
async def test_a_spend_limit_is_no_matter_of_waiting(wire: Wire, failure: Failure) -> None:
    error = await wire.fail(failure)
    assert error.code is ErrorCode.BACKEND_RATE_LIMITED
    assert error.details == {"spend_limit": True}
    assert len(wire.server.requests) == 1


async def test_a_missing_key_is_said_before_anything_is_sent(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-the-engine")
    server = wire.serve(DONE)
    with pytest.raises(AgentPaneError) as caught:
        await play(wire.backend(), make_brief(wire.folder, Endpoint(server.url)))
    assert caught.value.code is ErrorCode.BACKEND_AUTH
    assert server.requests == []


async def test_a_redirect_is_not_followed(wire: Wire) -> None:
    other = wire.serve(DONE)
    away = f"HTTP/1.1 307 Away\r\nlocation: {other.url}/v1/messages\r\ncontent-length: 0\r\n\r\n".encode()
    error = await wire.fail(Whole(away))
    assert error.code is ErrorCode.BACKEND_PROTOCOL
    assert "307" in error.message
    assert other.requests == []


# Answers that are odd


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ('{"line": "on', "max_tokens"),
        ("", "max_tokens"),
        ('{"line": "one"}', "max_tokens"),
        ('{"line": "one"}', "end_turn"),
        ('{"line": "on', "tool_use"),
        ("[]", "tool_use"),
        ("", "tool_use"),
        ("{}", "tool_use"),
        ('{"line": 7}', "tool_use"),
        ('{"line": "one", "times": 0}', "tool_use"),
    ],
)
async def test_a_call_that_is_not_whole_is_never_run(wire: Wire, raw: str, reason: str) -> None:
    events = await wire.play(Answer([use_raw("Mark", raw)], stop_reason=reason), DONE)
    assert marks(wire.folder) == []
    assert not of_kind(events, ToolStarted)
    (finished,) = of_kind(events, ToolFinished)
    assert finished.result.is_error
    (result,) = wire.last_message
    assert (result["type"], result["is_error"]) == ("tool_result", True)
    assert result["tool_use_id"] == of_kind(events, ToolCalled)[0].call.id
    assert events[-1] == Ended("All done.")


async def test_an_unknown_tool_gets_an_answer_that_names_the_real_ones(wire: Wire) -> None:
    events = await wire.play(Answer([use("Teleport", to="Mars")]), DONE)
    (finished,) = of_kind(events, ToolFinished)
    assert "Look, Mark" in finished.result.content
    assert events[-1] == Ended("All done.")


async def test_asking_for_what_is_not_there_again_and_again_ends_the_run(wire: Wire) -> None:
    server = wire.stack.enter_context(ScriptedServer(script=lambda number, body: Answer([use("Teleport")])))
    with pytest.raises(AgentPaneError) as caught:
        await play(wire.backend(), wire.brief(server))
    assert caught.value.code is ErrorCode.BACKEND_PROTOCOL
    assert len(server.requests) == 5


async def test_a_cut_text_goes_on(wire: Wire) -> None:
    events = await wire.play(Answer([say("The first half")], stop_reason="max_tokens"), DONE)
    assert [block["text"] for block in wire.last_message] == [
        "Your answer was cut off at its longest length. Go on exactly where it stopped."
    ]
    assert [event.turn for event in of_kind(events, TurnStarted)] == [1, 2]
    assert events[-1] == Ended("All done.")


async def test_a_paused_turn_is_sent_again_as_it_is(wire: Wire) -> None:
    await wire.play(Answer([say("Searching.")], stop_reason="pause_turn"), DONE)
    assert wire.server.requests[-1].messages[-1]["role"] == "assistant"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("refusal", ErrorCode.BACKEND_REFUSED),
        ("model_context_window_exceeded", ErrorCode.BACKEND_CONTEXT_FULL),
        ("a_new_reason", ErrorCode.BACKEND_PROTOCOL),
    ],
)
async def test_an_end_that_a_person_must_look_at_is_an_error(wire: Wire, reason: str, code: ErrorCode) -> None:
    server = wire.serve(Answer([say("Well."), use("Mark", line="one")], stop_reason=reason))
    events: list[BackendEvent] = []
    with pytest.raises(AgentPaneError) as caught:
        await play_into(events, wire.backend(), wire.brief(server))
    assert caught.value.code is code
    assert of_kind(events, TurnFinished)[0].stop_reason == reason
    assert of_kind(events, ToolFinished)[0].result.is_error  # no call is left open
    assert marks(wire.folder) == []


async def test_an_empty_answer_is_asked_about_once(wire: Wire) -> None:
    events = await wire.play(Answer([]), Answer([]))
    assert len(wire.server.requests) == 2
    assert len(wire.server.requests[-1].messages) == 1  # still one message of the person's, now with our question
    assert events[-1] == Ended("")


async def test_blank_text_is_not_kept(wire: Wire) -> None:
    events = await wire.play(Answer([say("\n"), use("Look", at="a")]), DONE)
    assert [block.text for block in of_kind(events, TextBlock)] == ["All done."]
    answer = wire.server.requests[-1].messages[1]["content"]
    assert isinstance(answer, list)
    assert [block["type"] for block in answer] == ["tool_use"]


async def test_thoughts_are_shown_and_sent_back_with_their_signature(wire: Wire) -> None:
    hidden = {"type": "redacted_thinking", "data": "c2VjcmV0"}
    events = await wire.play(Answer([think("Hmm.", "signed"), hidden, use("Look", at="a")]), DONE)
    assert of_kind(events, ThinkingDelta)
    assert of_kind(events, ThinkingBlock) == [
        ThinkingBlock(1, "Hmm.", "signed"),
        ThinkingBlock(1, "", "", "c2VjcmV0"),
    ]
    answer = wire.server.requests[-1].messages[1]["content"]
    assert isinstance(answer, list)
    assert answer[:2] == [{"type": "thinking", "thinking": "Hmm.", "signature": "signed"}, hidden]


# What is asked


async def test_read_only_calls_run_side_by_side_and_writing_ones_in_order(wire: Wire) -> None:
    wire.look.together = 2  # each look waits for the other: one after the other they would never end
    calls = [use("Mark", line="1"), use("Look", at="a"), use("Look", at="b"), use("Mark", line="2")]
    events = await wire.play(Answer(calls), DONE)
    kinds = [type(event).__name__[4:] for event in events if isinstance(event, ToolStarted | ToolFinished)]
    assert kinds == ["Started", "Finished", "Started", "Started", "Finished", "Finished", "Started", "Finished"]
    assert marks(wire.folder) == ["1", "2"]
    assert [block["tool_use_id"] for block in wire.last_message] == [call["id"] for call in calls]


async def test_the_stable_part_of_a_request_is_marked_for_the_cache(wire: Wire) -> None:
    await wire.play(MARK, DONE)
    first, second = (seen.body for seen in wire.server.requests)
    mark = {"type": "ephemeral"}
    for body in (first, second):
        system, tools, messages = body["system"], body["tools"], body["messages"]
        assert isinstance(system, list) and isinstance(tools, list) and isinstance(messages, list)
        assert system[-1]["cache_control"] == mark
        assert [tool.get("cache_control") for tool in tools] == [None, mark]
        assert messages[-1]["content"][-1]["cache_control"] == mark
    assert [json.dumps(body).count('"cache_control"') for body in (first, second)] == [3, 4]  # four are allowed
    assert (first["system"], first["tools"]) == (second["system"], second["tools"])
    for setting in ("temperature", "top_p", "thinking", "metadata"):
        assert setting not in first


async def test_the_persons_words_follow_the_results(wire: Wire) -> None:
    server = wire.serve(MARK, DONE)
    await play(wire.backend(), wire.brief(server), TestHost(says={2: ("Be brief.",)}))
    content = server.requests[-1].messages[-1]["content"]
    assert isinstance(content, list)
    assert [block["type"] for block in content] == ["tool_result", "text"]
    assert content[-1]["text"] == "Be brief."


async def test_tokens_of_the_cache_are_counted_and_priced(wire: Wire) -> None:
    usage = {
        "input_tokens": 1_000,
        "output_tokens": 100,
        "cache_read_input_tokens": 5_000,
        "cache_creation_input_tokens": 200,
    }
    events = await wire.play(Answer([say("Done.")], usage=usage, model="claude-haiku-4-5"))
    (finished,) = of_kind(events, TurnFinished)
    assert (finished.usage.input, finished.usage.output) == (1_000, 100)
    assert (finished.usage.cache_read, finished.usage.cache_write) == (5_000, 200)
    assert finished.usage.total_input == 6_200
    assert finished.cost_usd == pytest.approx(0.00225)  # 1,000 at $1, 100 at $5, 5,000 at $0.10, 200 at $1.25
    assert finished.model == "claude-haiku-4-5"


async def test_the_price_of_an_unknown_model_is_unknown(wire: Wire) -> None:
    events = await wire.play(Answer([say("Done.")], model="qwen3-coder:30b"))
    assert of_kind(events, TurnFinished)[0].cost_usd is None


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_address_may_be_given_with_or_without_its_version(wire: Wire, suffix: str) -> None:
    server = wire.serve(DONE)
    events = await play(wire.backend(), make_brief(wire.folder, Endpoint(server.url + suffix, api_key="test-key")))
    assert server.requests[0].path == "/v1/messages"
    assert events[-1] == Ended("All done.")


async def test_a_token_serves_in_place_of_a_key(wire: Wire) -> None:
    server = wire.serve(DONE)
    events = await play(wire.backend(), make_brief(wire.folder, Endpoint(server.url, auth_token="test-key")))
    assert server.requests[0].headers["authorization"] == "Bearer test-key"
    assert "x-api-key" not in server.requests[0].headers
    assert events[-1] == Ended("All done.")


async def test_nothing_of_the_engines_own_environment_reaches_the_server(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "engine-key")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "engine-token")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-engine: yes")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    events = await wire.play(DONE)
    assert events[-1] == Ended("All done.")
    assert "engine" not in json.dumps(dict(wire.server.requests[0].headers))


async def test_the_key_appears_in_no_error_and_no_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "sk-very-secret-4711"
    server = wire.serve(Failure(401, "authentication_error", f"bad key {secret}"), key=secret)
    endpoint = Endpoint(server.url, api_key=secret)
    brief = make_brief(wire.folder, endpoint)
    with pytest.raises(AgentPaneError) as caught:
        await play(wire.backend(), brief)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(brief) + caplog.text
    assert "bad key [key]" in caught.value.message
    assert secret not in shown


# Cuts at random


@pytest.mark.parametrize("seed", range(25))
async def test_a_connection_cut_anywhere_is_survived(wire: Wire, seed: int) -> None:
    chance = random.Random(seed)
    whole = Answer([say("I write both."), use("Mark", line="a" * 40), use("Mark", line="b" * 40)])
    data = whole.stream()
    cuts: list[Reply] = [
        Stream(data[: chance.randrange(len(data))], end=chance.choice(["cut", "reset", "close"]))
        for _ in range(chance.randrange(1, 6))
    ]
    # A cut that left nothing but the end of the line after the closing event is a whole answer.
    cuts = [cut for cut in cuts if isinstance(cut, Stream) and b"message_stop" not in cut.data]
    async with asyncio.timeout(30):
        events = await wire.play(*cuts, whole, DONE)
    assert len(of_kind(events, Retrying)) == len(cuts)
    assert marks(wire.folder) == ["a" * 40, "b" * 40]
    assert len(of_kind(events, ToolStarted)) == 2
    assert events[-1] == Ended("All done.")
