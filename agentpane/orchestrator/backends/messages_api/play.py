"""One run: ask, carry out what was asked for, ask again, until the model says that it is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Ended, Host, Nudged, Pending, ToolFinished
from agentpane.orchestrator.backends.messages_api.accumulator import Accumulator
from agentpane.orchestrator.backends.messages_api.asking import Asker
from agentpane.orchestrator.backends.messages_api.calls import CallRunner, as_call, check, check_raw, unknown_outcome
from agentpane.orchestrator.backends.messages_api.compacting import Compactor
from agentpane.orchestrator.backends.messages_api.conversation import Conversation, result_block
from agentpane.orchestrator.tools import Tool

OVERFLOW = "model_context_window_exceeded"
BAD_TURNS = 5  # in a row, with calls of which none could be run
GO_ON = "Your answer was cut off at its longest length. Go on exactly where it stopped."
SAY_SOMETHING = "Your answer was empty. If the work is done, say so in a sentence; otherwise go on."


class Play:
    """The turns of one run."""

    def __init__(self, brief: Brief, host: Host, tools: dict[str, Tool], asker: Asker) -> None:
        self._brief = brief
        self._host = host
        self._tools = tools
        self._asker = asker
        self._conversation = Conversation(brief.history, brief.turns)
        self._compactor = Compactor(asker, self._conversation, host)
        self._runner = CallRunner(host, brief.context)
        self._bad_turns = 0
        self._asked_to_speak = False

    async def events(self) -> AsyncGenerator[BackendEvent, None]:
        async with aclosing(self._settle()) as settling:
            async for event in settling:
                yield event
        turn = self._brief.first_turn
        while True:
            async with aclosing(self._answered(turn)) as asking:
                async for event in asking:
                    yield event
            answer, window = self._asker.answer, self._asker.window
            self._conversation.add_answer(turn, answer.blocks, {raw.id: as_call(raw) for raw in answer.calls})
            async with aclosing(self._carry_out(turn, answer)) as running:
                async for event in running:
                    yield event
            nudge = self._nudge(answer)
            if nudge is not None:
                yield Nudged(turn, nudge)
                self._conversation.say(nudge)
            elif self._is_last(answer):
                yield Ended(answer.text)
                return
            if answer.stop_reason == OVERFLOW or self._compactor.is_due(answer.usage, window):
                async with aclosing(self._compactor.squeeze(turn, _held(answer))) as squeezing:
                    async for event in squeezing:
                        yield event
            turn += 1

    async def _answered(self, turn: int) -> AsyncGenerator[BackendEvent, None]:
        """Ask for a turn; when the server finds the conversation too long, make room and ask again."""
        while True:
            try:
                async with aclosing(self._asker.ask(turn, self._conversation, self._host)) as asking:
                    async for event in asking:
                        yield event
            except AgentPaneError as error:
                if error.code is not ErrorCode.BACKEND_CONTEXT_FULL or not self._compactor.can_squeeze():
                    raise
            else:
                if self._asker.answer.stop_reason != OVERFLOW:
                    self._compactor.fitted()
                return
            async with aclosing(self._compactor.squeeze(turn, 0)) as squeezing:
                async for event in squeezing:
                    yield event

    async def _settle(self) -> AsyncGenerator[BackendEvent, None]:
        """Give every open call of the history its result: known, unknown, or by running it."""
        calls = self._conversation.open_calls
        turn = self._brief.first_turn - 1
        if not calls:
            if self._conversation.ends_with_answer:
                yield Nudged(turn, GO_ON)
                self._conversation.say(GO_ON)
            return
        known = {str(result["tool_use_id"]): dict(result) for result in self._brief.results}
        fresh = {pending.call.id for pending in self._brief.pending if self._may_be_made(pending)}
        for call in calls:
            if call.id not in known and call.id not in fresh:
                known[call.id] = result_block(call, unknown_outcome())
                yield ToolFinished(turn, call, unknown_outcome(), 0)
        to_run = [check(call, self._tools) for call in calls if call.id not in known]
        async with aclosing(self._runner.run(turn, to_run)) as running:
            async for event in running:
                yield event
        for checked in to_run:
            known[checked.call.id] = result_block(checked.call, self._runner.results[checked.call.id])
        self._conversation.add_results(known[call.id] for call in calls)

    def _may_be_made(self, pending: Pending) -> bool:
        """What has not begun, and what changes nothing however often it is done."""
        tool = self._tools.get(pending.call.name)
        return not pending.started or (not pending.cut and tool is not None and not tool.mutates)

    async def _carry_out(self, turn: int, answer: Accumulator) -> AsyncGenerator[BackendEvent, None]:
        calls = [check_raw(raw, answer.stop_reason, self._tools) for raw in answer.calls]
        async with aclosing(self._runner.run(turn, calls)) as running:
            async for event in running:
                yield event
        results = self._runner.results
        self._conversation.add_results(result_block(one.call, results[one.call.id]) for one in calls)
        self._bad_turns = self._bad_turns + 1 if calls and all(one.tool is None for one in calls) else 0
        if self._bad_turns >= BAD_TURNS:
            raise AgentPaneError(
                ErrorCode.BACKEND_PROTOCOL,
                f"The model asked {BAD_TURNS} times in a row for calls that cannot be run. "
                f"The last problem: {calls[-1].problem}",
                "Try another model, or say in the brief what you expect. Nothing was lost.",
            )

    def _is_last(self, answer: Accumulator) -> bool:
        """Is the run over? Raises AgentPaneError for an end that a person must look at."""
        match answer.stop_reason:
            case "end_turn" | "stop_sequence":
                return not answer.calls
            case "tool_use" | "pause_turn" | "max_tokens":
                return False
            case "refusal":
                raise AgentPaneError(
                    ErrorCode.BACKEND_REFUSED,
                    f"The model refused to go on. {answer.text}".strip(),
                    "Word the task differently, or give it to another model. What was done so far is kept.",
                )
            case other if other == OVERFLOW:
                if self._compactor.can_squeeze():
                    return False
                raise AgentPaneError(
                    ErrorCode.BACKEND_CONTEXT_FULL,
                    "The conversation has filled the model's context window.",
                    "Start the card afresh with a narrower task; the worktree keeps what was done.",
                )
            case other:
                raise AgentPaneError(
                    ErrorCode.BACKEND_PROTOCOL,
                    f"The model's answer ended for a reason that AgentPane does not know: {other}.",
                    "Resume to ask again. Nothing was lost.",
                )

    def _nudge(self, answer: Accumulator) -> str | None:
        """What the model has to be told so that it goes on, if anything. An empty answer is asked about, once."""
        if answer.calls:
            return None
        if answer.stop_reason == "max_tokens" or (answer.stop_reason == OVERFLOW and self._compactor.can_squeeze()):
            return GO_ON
        if answer.stop_reason in {"end_turn", "stop_sequence"} and not answer.text and not self._asked_to_speak:
            self._asked_to_speak = True
            return SAY_SOMETHING
        return None


def _held(answer: Accumulator) -> int:
    """Tokens that a request and its answer took."""
    usage = answer.usage
    return 0 if usage is None else usage.total_input + usage.output
