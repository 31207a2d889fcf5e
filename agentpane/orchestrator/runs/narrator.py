"""Turns what a backend says into the session's events, the run's figures and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agentpane.api.events import RunActivity
from agentpane.db import audit, model_calls, runs, tasks
from agentpane.domain import transcript
from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.policy import is_persons
from agentpane.domain.sandbox import Tier
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Todo
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs.budgets import Budgets
from agentpane.orchestrator.sessions import Recorder

AUDIT_TEXT = 4_000  # characters of an input value or an outcome that an audit entry holds


class Narrator:
    """Stores one run's events in the order in which they come. `take` returns when the next may have its effect."""

    def __init__(
        self,
        core: Core,
        recorder: Recorder,
        run: runs.RunRow,
        tier: Tier,
        read_up_to: Callable[[], int],
        budgets: Budgets,
    ) -> None:
        self._core = core
        self._recorder = recorder
        self._run = run
        self._tier = tier
        self._read_up_to = read_up_to  # the number of the last event that the model's next answer has seen
        self._budgets = budgets
        self._open: dict[str, base.ToolStarted] = {}  # calls whose outcome has not come yet
        self._uncounted: base.TurnFinished | None = None  # the last turn, if what it has used is still to be told

    async def cut_off(self) -> None:
        """The run was stopped: enter the calls that it was stopped in, for their effect may have happened."""
        entries = [
            self._core.record(
                started.call.name,
                self._run.project_id,
                actor="agent",
                task_id=self._run.task_id,
                agent_id=self._run.agent_id,
                run_id=self._run.id,
                input=_shortened(started.call.input),
                output={"rule": started.rule, "sandbox_tier": self._tier.value},
                error="stopped while it ran; its outcome is unknown",
                turn=started.turn,
            )
            for started in self._open.values()
        ]
        self._open.clear()
        if entries:
            await self._core.audit(*entries)

    async def settle(self) -> None:
        """The agent says nothing more: what was to be told of the last turns is unknown."""
        last, self._uncounted = self._uncounted, None
        if last is not None:
            await self._used(replace(last, cost_usd=None), None, _figures(last, None), turns=0)

    async def take(self, event: base.BackendEvent) -> str | None:
        """Store or show an event. Returns the agent's last words when it has ended."""
        match event:
            case base.TextDelta(turn, text):
                self._recorder.show(turn, "text", text)
            case base.ThinkingDelta(turn, text):
                self._recorder.show(turn, "thinking", text)
            case base.ToolOutput(turn, call_id, text):
                self._recorder.show(turn, "output", text, call_id)
            case base.TurnStarted(turn):
                self._recorder.add(EventKind.TURN_STARTED, {"read_up_to": self._read_up_to()}, turn)
                self._activity("Thinking…")
            case base.TextBlock(turn, text, plain):
                self._recorder.add(EventKind.TEXT, {"text": text, **({"plain": True} if plain else {})}, turn)
                self._activity(text)
            case base.ThinkingBlock(turn, text, signature, redacted):
                data = {"text": text, "signature": signature, "redacted": redacted}
                self._recorder.add(EventKind.THINKING, data, turn)
            case base.ToolCalled(turn, call):
                self._recorder.add(
                    EventKind.TOOL_CALL, {"call_id": call.id, "name": call.name, "input": call.input}, turn
                )
            case base.TurnDiscarded(turn):
                self._recorder.add(EventKind.STATE, {"state": transcript.TURN_DISCARDED}, turn)
            case base.Retrying():
                self._retrying(event)
            case base.TurnFinished():
                await self._turn_finished(event)
            case base.ToolStarted():
                await self._tool_started(event)
            case base.ToolFinished():
                await self._tool_finished(event)
            case base.ConversationNamed(name):
                await self._core.db.write(runs.name_conversation, self._run.id, name)
            case base.TodosChanged(_, todos):
                await self._todos_changed(todos)
            case base.Nudged(turn, text):
                self._recorder.add(EventKind.USER_MESSAGE, {"text": text, "from": "engine"}, turn)
            case base.ModelCalled():
                await self._model_called(event)
            case base.Compacting():
                self._activity("Summarising the conversation to make room…")
            case base.Compacted():
                replaced: JsonObject = {
                    "state": transcript.COMPACTED,
                    "summary": event.summary,
                    "kept_from": event.kept_from,
                    "before": event.before,
                }
                self._recorder.add(EventKind.STATE, replaced, event.turn)
                await self._recorder.flush()
            case base.Ended(text):
                return text
        return None

    async def _todos_changed(self, todos: tuple[Todo, ...]) -> None:
        if self._run.depth == 0:  # the card shows the list of the agent itself, not of its sub-agents
            await self._core.db.write(tasks.set_fields, self._run.task_id, self._core.clock.now(), todos=todos)
            await self._core.announce_task(self._run.task_id, counts=False)

    def _retrying(self, event: base.Retrying) -> None:
        reason = event.reason if event.reason.endswith((".", "!", "?")) else f"{event.reason}."
        data = {
            "attempt": event.attempt,
            "of": event.of,
            "wait_s": event.wait_s,
            "code": event.code.value,
            "reason": reason,
        }
        self._recorder.add(EventKind.RETRY, data, event.turn)
        self._activity(f"{reason} Try {event.attempt} of {event.of}.", event.wait_s)

    async def _turn_finished(self, event: base.TurnFinished) -> None:
        self._recorder.add(
            EventKind.TURN_FINISHED, {"stop_reason": event.stop_reason, "model": event.model}, event.turn
        )
        used = _figures(event, event.usage) | {
            "context_used": event.context_used,
            "context_window": event.context_window,
        }
        self._uncounted = None if event.counted else event
        if event.counted or event.cost_usd is not None:
            await self._used(event, event.usage, used, turns=1)
        else:
            await self._core.db.write(runs.add_usage, self._run.id, 1, 0, 0, 0.0, self._core.clock.now())
        if event.context_used is not None:
            await self._core.db.write(runs.measure_context, self._run.id, event.context_used, event.context_window)
        await self._core.announce_task(self._run.task_id, counts=False)

    async def _model_called(self, event: base.ModelCalled) -> None:
        self._uncounted = None
        used = _figures(event, event.usage) | {"purpose": event.purpose.value}
        await self._used(event, event.usage, used, turns=0)
        await self._core.announce_task(self._run.task_id, counts=False)

    async def _used(
        self, event: base.TurnFinished | base.ModelCalled, known: base.Usage | None, figures: JsonObject, turns: int
    ) -> None:
        """Enter a request into the session, the model calls and the run's sums."""
        self._recorder.add(EventKind.USAGE, figures, event.turn)
        await self._recorder.flush()
        usage = known or base.Usage()
        call = model_calls.NewModelCall(
            run_id=self._run.id,
            task_id=self._run.task_id,
            agent_id=self._run.agent_id,
            project_id=self._run.project_id,
            turn=event.turn,
            model=event.model,
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write,
            cost_usd=event.cost_usd,
            latency_ms=event.latency_ms,
            stop_reason=event.stop_reason,
            request_id=event.request_id,
            at=self._core.clock.now(),
        )
        await self._core.db.write(model_calls.add_many, (call,))
        await self._core.db.write(
            runs.add_usage, self._run.id, turns, usage.total_input, usage.output, event.cost_usd, self._core.clock.now()
        )
        for near in await self._budgets.after_usage(self._run.id):
            message = f"{near.share:.0%} of a budget is used: {near.words()}."
            warned: JsonObject = {"state": "budget_near", "scope": near.scope.value, "message": message}
            self._recorder.add(EventKind.STATE, warned, event.turn)

    async def _tool_started(self, event: base.ToolStarted) -> None:
        self._recorder.add(
            EventKind.STATE,
            {"state": transcript.TOOL_STARTED, "call_id": event.call.id, "summary": event.summary, "rule": event.rule},
            event.turn,
        )
        if event.mutates:
            await self._recorder.flush()
        self._open[event.call.id] = event
        self._activity(f"{event.call.name} {event.summary}")

    async def _tool_finished(self, event: base.ToolFinished) -> None:
        result = event.result
        started = self._open.pop(event.call.id, None)
        data: dict[str, JsonValue] = {
            "call_id": event.call.id,
            "name": event.call.name,
            "content": result.content,
            "is_error": result.is_error,
            "summary": result.summary,
            "duration_ms": event.duration_ms,
            "denied": event.denied,
            "data": dict(result.data),
        }
        if result.images:
            data["images"] = [{"media_type": image.media_type, "data": image.data} for image in result.images]
        if result.error_code is not None:
            data["code"] = result.error_code.value
        self._recorder.add(EventKind.TOOL_RESULT, data, event.turn)
        await self._recorder.flush()
        output: dict[str, JsonValue] = {
            "summary": result.summary,
            "content": result.content[:AUDIT_TEXT],
            "sandbox_tier": self._tier.value,
        }
        if started is not None:
            output["rule"] = started.rule
        if result.error_code is not None:
            output["code"] = result.error_code.value
        entry = self._core.record(
            event.call.name,
            self._run.project_id,
            actor=_decider(event.denied) if event.denied else "agent",
            task_id=self._run.task_id,
            agent_id=self._run.agent_id,
            run_id=self._run.id,
            input=_shortened(event.call.input),
            output=output,
            error=f"denied: {event.denied}" if event.denied else (result.summary if result.is_error else None),
            duration_ms=event.duration_ms,
            turn=event.turn,
        )
        await self._core.db.write(audit.append, (entry,))
        await self._core.db.write(runs.count_tool_call, self._run.id, event.call.name, event.duration_ms)

    def _activity(self, line: str, retry_in: float | None = None) -> None:
        self._core.bus.publish(RunActivity(self._run.task_id, " ".join(line.split())[:200], retry_in))


def _figures(event: base.TurnFinished | base.ModelCalled, usage: base.Usage | None) -> dict[str, JsonValue]:
    """What a request used, as its session event says it."""
    if usage is None:
        return {"known": False, "latency_ms": event.latency_ms}
    return {
        "known": True,
        "input": usage.input,
        "output": usage.output,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_write,
        "cost_usd": event.cost_usd,
        "latency_ms": event.latency_ms,
    }


def _decider(denial: str) -> str:
    return "person" if is_persons(denial) else f"rule: {denial}"


def _shortened(values: JsonObject) -> JsonObject:
    """An input for the audit log: long texts are cut, and it is said how long they were."""
    return {
        key: f"{value[:AUDIT_TEXT]}… ({len(value):,} characters)"
        if isinstance(value, str) and len(value) > AUDIT_TEXT
        else value
        for key, value in values.items()
    }
