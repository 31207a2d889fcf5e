"""One run: what the program says is told, what it asks is answered, until it is done.

It asks before each of its calls, and again before each of its requests to the model; until it is answered it waits.
Its questions are taken one after the other, and only when the answer that they belong to is whole.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from typing import Any

from agentpane.domain.policy import Judgement
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Brief,
    ConversationNamed,
    Ended,
    Host,
    RunPaused,
    ToolCall,
    ToolCalled,
)
from agentpane.orchestrator.backends.claude_code import outcomes
from agentpane.orchestrator.backends.claude_code.calls import Calls
from agentpane.orchestrator.backends.claude_code.link import Hangup, Link
from agentpane.orchestrator.backends.claude_code.opening import meanwhile, opening
from agentpane.orchestrator.backends.claude_code.own_tools import (
    INVALID_PARAMS,
    Done,
    OwnTools,
    failure,
    served,
)
from agentpane.orchestrator.backends.claude_code.turns import Turns
from agentpane.orchestrator.backends.claude_code.uses import PLAN, QUESTION, visible_name

Message = Mapping[str, Any]
Happenings = AsyncGenerator[BackendEvent, None]

BEFORE_CALL, BEFORE_REQUEST = "PreToolUse", "PostToolBatch"
ANSWER_S = 2_000_000  # how long the program waits for an answer of ours; its timers bear no more than 24 days
START_S = 90.0
QUIET_S = 5.0  # how long a paused program may take to write its conversation down


class ConversationLost(Exception):
    """The program does not know the conversation that it was to take up. Nothing has happened."""


class Play:
    """The conversation of one run with one program. resumed: the program has its past itself."""

    def __init__(
        self,
        brief: Brief,
        host: Host,
        link: Link,
        own: OwnTools,
        turns: Turns,
        calls: Calls,
        resumed: bool,
        silence_s: float,
    ) -> None:
        self._brief = brief
        self._host = host
        self._link = link
        self._own = own
        self._turns = turns
        self._calls = calls
        self._resumed = resumed
        self._silence_s = silence_s
        self._held: deque[Message] = deque()  # what the program asks, and tells of its calls, and has to wait
        self._unsaid: tuple[str, ...] = ()  # what the person has said and the program has not been told
        self._fault: object = None  # the program's word for the last request that failed
        self._conversation = brief.conversation if resumed else None
        self._greeting = ""
        self._begun = False
        self._end: Ended | None = None

    async def events(self) -> Happenings:
        """Raises ConversationLost before the first event; RunPaused and AgentPaneError as `Backend.play` does."""
        hook = {"matcher": None, "timeout": ANSWER_S, "onFailure": "block"}
        hooks = {name: [{**hook, "hookCallbackIds": [name]}] for name in (BEFORE_CALL, BEFORE_REQUEST)}
        self._greeting = await self._link.request(subtype="initialize", hooks=hooks)
        while self._end is None:
            item = await self._coming()
            async for event in self._take(item):
                yield event
            for output in self._own.take_output():
                yield output
            while self._held and not self._turns.streaming:
                async for event in self._answer(self._held.popleft()):
                    yield event
        yield self._end

    async def _coming(self) -> object:
        limit = self._silence_s if self._begun else START_S
        try:
            async with asyncio.timeout(None if self._own.busy else limit):
                return await self._link.inbox.get()
        except TimeoutError as error:
            raise outcomes.silent(limit) from error

    async def _take(self, item: object) -> Happenings:
        if isinstance(item, AgentPaneError):
            raise item
        if isinstance(item, Hangup):
            raise outcomes.died(item.exit_code, self._link.last_errors(), self._begun)
        if isinstance(item, Done):
            for event in self._calls.finish(item.call.id, item.result):
                yield event
            message = item.request["request"]["message"]
            await self._link.answer(item.request, {"mcp_response": served(message, item.result)})
        if not isinstance(item, dict) or item.get("parent_tool_use_id") is not None:
            return
        match item["type"]:
            case "stream_event":
                async for event in self._stream(item.get("event")):
                    yield event
            case "control_response":
                async for event in self._answered(item):
                    yield event
            case _:
                for event in self._told(item):
                    yield event
                if item["type"] == "control_request":
                    await self._asked(item)

    def _told(self, message: Message) -> Iterator[BackendEvent]:
        content = message.get("message")
        match message["type"]:
            case "assistant" if message.get("error") is not None:
                self._fault = message["error"]
            case "assistant" if isinstance(content, Mapping) and message.get("aborted") is not True:
                self._turns.note_request(message.get("request_id"))
                for event in self._turns.blocks(content):
                    if isinstance(event, ToolCalled):
                        self._calls.announced(event)
                    yield event
            case "user":
                self._held.append(message)
            case "system":
                yield from self._system(message)
            case "control_cancel_request":
                name = message.get("request_id")
                self._held = deque(one for one in self._held if one.get("request_id") != name)
                self._own.cancel(name)
            case "result":
                if self._resumed and not self._begun and outcomes.knows_no_conversation(message):
                    raise ConversationLost
                yield from self._turns.finish()
                self._end = outcomes.ended(self._cleaned(message), self._fault)
            case _:
                pass

    def _system(self, message: Message) -> Iterator[BackendEvent]:
        name = message.get("session_id")
        if message.get("subtype") == "init" and isinstance(name, str) and name != self._conversation:
            self._conversation = name
            yield ConversationNamed(name)
        elif message.get("subtype") == "api_retry":
            yield from self._turns.discard()
            yield outcomes.retrying(self._turns.turn, message)

    async def _stream(self, event: object) -> Happenings:
        if not isinstance(event, Mapping):
            return
        if event.get("type") == "message_start" and not self._turns.under_way:
            # The program has gone on by itself, after an answer that was cut at its longest length, say.
            async for began in self._next_turn(None):
                yield began
        for piece in self._turns.stream(event):
            yield piece

    async def _answered(self, message: Message) -> Happenings:
        """Only the first of our requests has an answer that matters."""
        response = message.get("response")
        if not isinstance(response, Mapping) or response.get("request_id") != self._greeting:
            return
        told = response.get("response")
        able = told if isinstance(told, Mapping) else {}
        if not able.get("hook_on_failure_supported") or able.get("hooks_applied") is False:
            raise outcomes.too_old(able.get("claude_code_version"))
        said = await self._host.may_start_turn(self._turns.turn)
        yield self._turns.begin()
        self._begun = True
        await self._link.say(opening(self._brief, self._resumed, said))

    async def _asked(self, message: Message) -> None:
        request = message.get("request")
        subtype = request.get("subtype") if isinstance(request, Mapping) else None
        if subtype in ("hook_callback", "can_use_tool"):
            self._held.append(message)
        elif subtype == "mcp_message":
            await self._own_tool(message)
        else:
            await self._link.refuse(message, f"there is no request {subtype}")

    async def _own_tool(self, message: Message) -> None:
        said = message["request"].get("message")
        said = said if isinstance(said, Mapping) else {}
        if said.get("method") != "tools/call":
            await self._link.answer(message, {"mcp_response": self._own.reply(said)})
            return
        params = said.get("params")
        params = params if isinstance(params, Mapping) else {}
        meta = params.get("_meta")
        call_id = meta.get("claudecode/toolUseId") if isinstance(meta, Mapping) else None
        name = params.get("name")
        taken: tuple[int, ToolCall] | str = f"there is no tool {name}"
        if self._own.serves(name):
            taken = self._calls.take_up(call_id, str(name), params.get("arguments"))
        if isinstance(taken, str):
            await self._link.answer(message, {"mcp_response": failure(said, INVALID_PARAMS, taken)})
            return
        self._own.start(message, *taken)

    async def _answer(self, message: Message) -> Happenings:
        """Answer a question of the program, or tell what came of its calls.

        Raises RunPaused when a person has to decide, and is not there.
        """
        for event in self._turns.finish():
            yield event
        if message["type"] == "user":
            content = message.get("message")
            for event in self._calls.results(content if isinstance(content, Mapping) else {}):
                yield event
            return
        request = message["request"]
        if request.get("subtype") == "can_use_tool":
            async for event in self._interaction(message):
                yield event
        elif request.get("callback_id") == BEFORE_CALL:
            async for event in self._before_call(message):
                yield event
        elif request.get("callback_id") == BEFORE_REQUEST:
            async for event in self._next_turn(message):
                yield event
        else:
            await self._link.refuse(message, "there is no such hook")

    async def _before_call(self, message: Message) -> Happenings:
        asked = message["request"].get("input")
        asked = asked if isinstance(asked, Mapping) else {}
        turn, call = self._call(asked.get("tool_use_id"), asked.get("tool_name"), asked.get("tool_input"))
        problem = self._calls.question_problem(call, visible_name(str(asked.get("tool_name"))))
        if problem is not None:
            await self._link.answer(message, {"hookSpecificOutput": _decision("deny", problem)})
            return
        if call.name == QUESTION:  # it will ask for the answers themselves
            await self._link.answer(message, {})
            return
        try:
            verdict = await self._calls.judge(turn, call)
        except RunPaused:
            await self._interrupt()
            raise
        allowed = verdict.judgement is Judgement.ALLOW
        if allowed:
            for event in self._calls.start(call, verdict.rule):
                yield event
        else:
            self._calls.deny(call, verdict.rule)
        said = _decision("allow" if allowed else "deny", verdict.rule)
        if allowed and verdict.edited is not None:
            if call.name == PLAN:  # the program keeps the plan in a file of its own, so that it has to be told
                self._unsaid += (f"I have changed the plan. Go by this one:\n\n{verdict.edited.get('plan', '')}",)
            else:
                said["updatedInput"] = self._calls.edit(call, verdict.edited)
        await self._link.answer(message, {"hookSpecificOutput": said})

    async def _interaction(self, message: Message) -> Happenings:
        """The program asks a second time about calls that are a person's matter; the first answer holds.

        It holds for the input that was judged, which the program is told again; a plan's is words only, and its own.
        """
        request = message["request"]
        turn, call = self._call(request.get("tool_use_id"), request.get("tool_name"), request.get("input"))
        given: Mapping[str, object] = self._calls.given(call)
        if call.name == QUESTION:
            try:
                given = await self._calls.ask(turn, call)
            except RunPaused:
                await self._interrupt()
                raise
            for event in self._calls.start(call, "a question"):
                yield event
        elif not self._calls.is_allowed(call.id):
            await self._link.answer(message, {"behavior": "deny", "message": "This call has not been allowed."})
            return
        elif call.name == PLAN and isinstance(request.get("input"), Mapping):
            given = request["input"]
        await self._link.answer(message, {"behavior": "allow", "updatedInput": given})

    def _call(self, call_id: object, name: object, given: object) -> tuple[int, ToolCall]:
        return self._calls.of(call_id, visible_name(str(name)), given, max(1, self._turns.turn - 1))

    async def _next_turn(self, message: Message | None) -> Happenings:
        """May the program make its next request? message: its question; None: it has not asked."""
        try:
            said = await self._host.may_start_turn(self._turns.turn)
        except RunPaused:
            if message is None:
                await self._interrupt()
            else:
                await self._link.answer(message, {"continue": False, "stopReason": "The run is paused."})
                await self._until_quiet()
            raise
        self._unsaid += said
        yield self._turns.begin()
        if message is None:
            return
        answer: dict[str, object] = {}
        if self._unsaid:
            words, self._unsaid = meanwhile(self._unsaid), ()
            answer = {"hookSpecificOutput": {"hookEventName": BEFORE_REQUEST, "additionalContext": words}}
        await self._link.answer(message, answer)

    async def _interrupt(self) -> None:
        await self._link.request(subtype="interrupt")
        await self._until_quiet()

    async def _until_quiet(self) -> None:
        """Wait until the program has written down where it stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                while True:
                    item = await self._link.inbox.get()
                    if not isinstance(item, dict) or item.get("type") == "result":
                        return

    def _cleaned(self, result: Message) -> Message:
        words, errors = result.get("result"), result.get("errors")
        cleaned = dict(result)
        if isinstance(words, str):
            cleaned["result"] = self._link.clean(words)
        if isinstance(errors, list):
            cleaned["errors"] = [self._link.clean(str(error)) for error in errors]
        return cleaned


def _decision(decision: str, why: str) -> dict[str, object]:
    return {
        "hookEventName": BEFORE_CALL,
        "permissionDecision": decision,
        "permissionDecisionReason": why,
    }
