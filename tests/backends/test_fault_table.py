"""Every way in which a model's server may fail, with random timing: 5 seeds each, and 25 in the long run.

However the bytes are cut and held up: the run ends, a cut call is never run, no effect happens twice, and what is
stored is what the server saw.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import (
    Compacted,
    Ended,
    Endpoint,
    ToolFinished,
    ToolStarted,
    TurnDiscarded,
    TurnFinished,
)
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend
from agentpane.orchestrator.backends.messages_api.compacting import REQUEST
from agentpane.orchestrator.backends.recorded.wire import Block, sse
from tests.backends.rig import Hurry, Look, Mark, box, make_brief, marks, of_kind
from tests.backends.storing import Store, StoredRun, stored, unmarked
from tests.backends.wire import (
    Answer,
    Failure,
    Ragged,
    Reply,
    ScriptedServer,
    Stream,
    Whole,
    say,
    think,
    use_raw,
)

FEW = range(5)
MANY = range(25)
AT_ONCE = 8
BOUND_S = 40.0
DONE = [say("All done.")]

Plain = Answer | Failure | Stream | Whole
Fault = Callable[[random.Random, Answer], Plain]  # what comes in the place of this answer


@dataclass(frozen=True, slots=True)
class Row:
    """fault: what the server does in place of an answer. times: how often in a row, at most.

    ends: the code of the error that ends the run; None when it goes on. runs: whether the answer's call is run after
    all. silence_s: how long the backend waits for a sign of life. first: may it be the very first answer?
    """

    fault: Fault
    times: int = 3
    ends: ErrorCode | None = None
    runs: bool = True
    silence_s: float = 20.0
    first: bool = True


def at_a_byte(end: str) -> Fault:
    """The answer up to a random byte before its closing event."""

    def fault(chance: random.Random, answer: Answer) -> Plain:
        data = answer.stream()
        return Stream(data[: chance.randrange(data.index(b"event: message_stop"))], end=end)  # type: ignore[arg-type]

    return fault


def after_an_event(more: bytes, end: str = "close") -> Fault:
    """The answer up to a random event before its closing one, and then these bytes."""

    def fault(chance: random.Random, answer: Answer) -> Plain:
        events = answer.events()
        return Stream(b"".join(events[: chance.randrange(len(events))]) + more, end=end)  # type: ignore[arg-type]

    return fault


def fails(status: int, kind: str, message: str = "not at this time", **more: Mapping[str, object]) -> Fault:
    return lambda chance, answer: Failure(status, kind, message, **more)  # type: ignore[arg-type]


def stops(reason: str) -> Fault:
    """The whole answer, with its call, and another reason to stop."""
    return lambda chance, answer: Answer(answer.blocks, stop_reason=reason, piece=answer.piece)


def cut_call(chance: random.Random, answer: Answer) -> Plain:
    """The longest answer is reached inside the call: its block is closed all the same, its input is not whole."""
    *others, call = answer.blocks
    raw = str(call["raw"])
    return Answer(
        [*others, {**call, "raw": raw[: chance.randrange(len(raw))]}], stop_reason="max_tokens", piece=answer.piece
    )


def unknown_tool(chance: random.Random, answer: Answer) -> Plain:
    *others, call = answer.blocks
    return Answer([*others, {**call, "name": "Teleport"}])


def without_call(reason: str) -> Fault:
    return lambda chance, answer: Answer([say("And so")], stop_reason=reason)


OVERLOADED = sse({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}})
SPENT = {"error_code": "enforced_spend_limit_reached"}
HTML = Stream(b"<html><body>Sign in to the hotel's network</body></html>", content_type="text/html")

ROWS: dict[str, Row] = {
    "429 with retry-after": Row(fails(429, "rate_limit_error", headers={"retry-after": "2"})),
    "529": Row(fails(529, "overloaded_error")),
    "500": Row(fails(500, "api_error")),
    "429 of a spend cap": Row(fails(429, "rate_limit_error", details=SPENT), 99, ErrorCode.BACKEND_RATE_LIMITED),
    "401": Row(fails(401, "authentication_error"), 99, ErrorCode.BACKEND_AUTH),
    "400": Row(fails(400, "invalid_request_error", "model: unheard of"), 99, ErrorCode.BACKEND_REFUSED),
    "413": Row(fails(413, "request_too_large"), 1, first=False),
    "400, too long": Row(fails(400, "invalid_request_error", "prompt is too long: 210000 tokens"), 1, first=False),
    "413 for ever": Row(fails(413, "request_too_large"), 99, ErrorCode.BACKEND_CONTEXT_FULL),
    "connection reset": Row(at_a_byte("reset")),
    "last chunk missing": Row(at_a_byte("cut")),
    "ends politely too early": Row(at_a_byte("close")),
    "ends politely between two events": Row(after_an_event(b"")),
    "error event after 200": Row(after_an_event(OVERLOADED)),
    "broken event JSON": Row(after_an_event(b'event: content_block_delta\ndata: {"type": "content_bl\n\n')),
    "HTML with 200": Row(lambda chance, answer: HTML),
    "tool input cut by max_tokens": Row(cut_call, runs=False),
    "tool input whole, max_tokens": Row(stops("max_tokens"), runs=False),
    "unknown tool": Row(unknown_tool, runs=False),
    "refusal": Row(stops("refusal"), 99, ErrorCode.BACKEND_REFUSED),
    "pause_turn": Row(without_call("pause_turn")),
    "context exceeded": Row(without_call("model_context_window_exceeded"), 1),
    "max_tokens": Row(without_call("max_tokens")),
    "silence": Row(at_a_byte("hang"), 2, silence_s=0.4),
    "pings for ever": Row(after_an_event(b"", "ping"), 2, silence_s=0.4),
    "slow and in shreds": Row(lambda chance, answer: answer),
}


@dataclass
class Model:
    """Answers one run: two turns with a call each, and an end. A fault stands in for the second turn, or the first."""

    row: Row
    chance: random.Random
    faulty: int = 0  # the answer that does not come as it should
    left: int = 0  # how many more times
    given: list[tuple[list[dict[str, object]], Answer]] = field(default_factory=list)  # whole answers, and to what
    seen: list[list[dict[str, object]]] = field(default_factory=list)
    step: int = 0

    def __post_init__(self) -> None:
        self.faulty = self.chance.randrange(2) if self.row.first else 1
        self.left = self.row.times if self.row.times == 99 else self.chance.randint(1, self.row.times)

    def reply(self, messages: list[dict[str, object]]) -> Plain:
        content = messages[-1]["content"]
        assert isinstance(content, list)
        if content[-1].get("text") == REQUEST:
            if self.row.times == 99:
                return self.row.fault(self.chance, self._answer(0))
            return Answer([say("The summary: nothing is done yet.")])
        self.seen.append(unmarked(messages))
        answer = self._answer(self.step)
        if self.step == self.faulty and self.left:
            self.left -= 1
            faulty = self.row.fault(self.chance, answer)
            if isinstance(faulty, Answer):
                self.given.append((self.seen[-1], faulty))
                self.step += faulty == answer
            return faulty
        self.step += 1
        self.given.append((self.seen[-1], answer))
        return answer

    def _answer(self, step: int) -> Answer:
        piece = self.chance.randint(8, 40)
        if step > 1:
            return Answer(DONE, piece=piece)
        number = len(self.given)
        call = {**use_raw("Mark", f'{{"line": "step {step} of this run"}}'), "id": f"toolu_{number}"}
        blocks: Sequence[Block] = [think("Let me see."), say("I write it down."), call]
        return Answer(blocks, piece=piece)


class Server:
    """One server for all seeds of a row: which run asks is said in its task."""

    def __init__(self, row: Row, seeds: range) -> None:
        self.models = [Model(row, random.Random(seed)) for seed in seeds]

    def script(self, number: int, body: Mapping[str, object]) -> Reply:
        messages = body["messages"]
        assert isinstance(messages, list)
        model = self.models[int(messages[0]["content"][0]["text"].split()[-1])]
        return Ragged(model.reply(messages), model.chance)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_whatever_a_server_does_the_run_ends_and_nothing_is_done_twice(row: Row, tmp_path: Path) -> None:
    await check_row(row, tmp_path, FEW)


@pytest.mark.long
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_whatever_a_server_does_with_many_seeds(row: Row, tmp_path: Path) -> None:
    await check_row(row, tmp_path, MANY)


async def check_row(row: Row, folder: Path, seeds: range) -> None:
    told = Server(row, seeds)
    backend = MessagesApiBackend(Hurry().patience(silence_s=row.silence_s), box(Look(), Mark()))
    slots = asyncio.Semaphore(len(seeds) if row.silence_s < 1 else AT_ONCE)
    with ScriptedServer(script=told.script) as server:
        async with stored(folder / "data") as store, asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:

            async def one(seed: int) -> None:
                async with slots:
                    worktree = folder / str(seed)
                    worktree.mkdir()
                    await check(row, told.models[seed], store, backend, server, worktree, seed)

            for seed in seeds:
                group.create_task(one(seed), name=f"seed {seed}")
    await backend.close()


async def check(
    row: Row,
    model: Model,
    store: Store,
    backend: MessagesApiBackend,
    server: ScriptedServer,
    worktree: Path,
    seed: int,
) -> None:
    run = await store.begin(f"The run of seed {seed}")
    code = None
    try:
        await run.play(backend, make_brief(worktree, Endpoint(server.url, api_key=server.key)))
    except AgentPaneError as error:
        code = error.code
    assert code is row.ends, f"seed {seed}"
    if row.ends is None:
        assert run.events[-1] == Ended("All done.")
    check_effects(row, model, run, worktree)
    await check_stored(row, model, run)


def check_effects(row: Row, model: Model, run: StoredRun, worktree: Path) -> None:
    """Each step was done once, after its whole turn had ended in a wish to use tools; nothing else was done."""
    steps = range(model.faulty if row.ends else 2)
    assert marks(worktree) == [f"step {step} of this run" for step in steps]
    started = [event.call.id for event in of_kind(run.events, ToolStarted)]
    assert len(started) == len(set(started)) == len(steps)
    asked: set[str] = set()
    pending: list[str] = []
    for event in run.events:
        match event:
            case TurnDiscarded():
                pending = []
            case TurnFinished():
                asked |= set(pending) if event.stop_reason == "tool_use" else set()
                pending = []
            case ToolStarted():
                assert event.call.id in asked
            case _ if hasattr(event, "call") and not isinstance(event, ToolFinished):
                pending.append(event.call.id)


async def check_stored(row: Row, model: Model, run: StoredRun) -> None:
    """What a resumed run would say is what the server has seen, and its last whole answer."""
    found = await run.messages()
    if not model.given:
        assert found == model.seen[-1]
        return
    asked, answer = model.given[-1]
    assert model.seen[-1][: len(asked)] == asked or of_kind(run.events, Compacted)
    if row.ends is None:
        assert found == [*model.seen[-1], *said_by(answer)]
    else:
        assert found[: len(model.seen[-1])] == model.seen[-1]
    open_calls = {str(block["id"]) for block in _blocks(found, "tool_use")}
    assert {str(block["tool_use_id"]) for block in _blocks(found, "tool_result")} == open_calls


def said_by(answer: Answer) -> list[dict[str, object]]:
    """The last answer as the conversation has it: it consists of words alone."""
    return [{"role": "assistant", "content": [dict(block) for block in answer.blocks]}]


def _blocks(messages: Sequence[Mapping[str, object]], kind: str) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = []
    for message in messages:
        content = message["content"]
        assert isinstance(content, list)
        found += [block for block in content if block["type"] == kind]
    return found
