"""The program's calls: each is put to the policy before it has its effect, and its outcome is told once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpane.domain.json import JsonObject
from agentpane.domain.policy import Effect, Judgement, Verdict
from agentpane.domain.tasks import Todo, TodoState
from agentpane.errors import ErrorCode
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Brief,
    Host,
    TodosChanged,
    ToolCall,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from agentpane.orchestrator.backends.claude_code.uses import (
    PLAN,
    QUESTION,
    TODOS,
    detail_of,
    summary_of,
    use_of,
    within,
)
from agentpane.orchestrator.tools import ToolResult

Message = Mapping[str, Any]
PLAN_FIRST = "A plan has to be approved before anything is changed."
OWN_FOLDER = "This folder is Claude Code's own and not part of the task."
PLANS = "plans"  # where the program writes its plans, in its own folder
SUMMARY = 200
ASKED_BEFORE = "This call has been decided already."


@dataclass(slots=True)
class _Open:
    """A call whose outcome has not been told.

    call: as the model made it. given: the input that it will really have, which is the one that is judged. denied: by
    which rule. began: when it was allowed. carried_out: by us.
    """

    turn: int
    call: ToolCall
    given: JsonObject
    denied: str | None = None
    began: float | None = None
    carried_out: bool = False


class Calls:
    """Of one run."""

    def __init__(self, brief: Brief, host: Host, state: Path) -> None:
        self._host = host
        self._worktree = brief.context.worktree
        self._state = state
        self._planning = brief.plan
        self._plan = ""
        self._open: dict[str, _Open] = {}

    def announced(self, event: ToolCalled) -> None:
        self._open[event.call.id] = _Open(event.turn, event.call, event.call.input)

    def of(self, call_id: object, name: str, given: object, turn: int) -> tuple[int, ToolCall]:
        """The call of this id; a stranger belongs to this turn. It will have this input, until it has been judged."""
        key = str(call_id)
        if key not in self._open:
            told = given if isinstance(given, dict) else {}
            self._open[key] = _Open(turn, ToolCall(key, name, told), told)
        known = self._open[key]
        if isinstance(given, dict) and given and not self._is_settled(known):
            known.given = given
        return known.turn, known.call

    def question_problem(self, call: ToolCall, name: str) -> str | None:
        """Why the program's question about a call is no question about it, if so. name: that it asks about."""
        if name != call.name:
            return f"This call is one of {call.name} and not of {name}."
        return ASKED_BEFORE if self._is_settled(self._open[call.id]) else None

    def take_up(self, call_id: object, name: str, given: object) -> tuple[int, ToolCall] | str:
        """The allowed call that is to be carried out by us with this input, or why it is not.

        It is carried out once, and as it was judged.
        """
        known = self._open.get(str(call_id))
        if known is None or known.began is None:
            return "this call has not been allowed"
        if known.carried_out:
            return "this call has been carried out already"
        if (name, given or {}) != (known.call.name, known.given):
            return "this is not the call that was allowed"
        known.carried_out = True
        return known.turn, ToolCall(known.call.id, known.call.name, known.given)

    def given(self, call: ToolCall) -> JsonObject:
        return self._open[call.id].given

    def edit(self, call: ToolCall, given: JsonObject) -> JsonObject:
        """The person has changed what the call will do."""
        self._open[call.id].given = given
        return given

    def is_allowed(self, call_id: object) -> bool:
        known = self._open.get(str(call_id))
        return known is not None and known.began is not None

    def _is_settled(self, known: _Open) -> bool:
        return known.began is not None or known.denied is not None

    async def judge(self, turn: int, call: ToolCall) -> Verdict:
        """May it have its effect? Raises RunPaused from the host."""
        given = self._open[call.id].given
        use = use_of(call.name, given, self._worktree)
        if use.path is not None and use.effect in (Effect.READ, Effect.WRITE):
            inside = within(self._state, use.path) if use.path.startswith("/") else "/"
            if use.effect is Effect.WRITE and inside.startswith(f"{PLANS}/"):
                self._remember(given)
                return Verdict(Judgement.ALLOW, "the agent's own plan")
            if not inside.startswith("/"):
                return Verdict(Judgement.DENY, OWN_FOLDER)
        if call.name == PLAN:
            return await self._judge_plan(turn, call)
        if self._planning and use.effect in (Effect.WRITE, Effect.EXECUTE):
            return Verdict(Judgement.DENY, PLAN_FIRST)
        summary, detail = (of(call.name, given, self._worktree) for of in (summary_of, detail_of))
        return await self._host.decide(turn, call, use, summary, detail)

    async def ask(self, turn: int, call: ToolCall) -> dict[str, object]:
        """Put the questions of a call to the person; the call's input with their answers in it."""
        questions = call.input.get("questions")
        answers: dict[str, str] = {}
        for number, question in enumerate(questions if isinstance(questions, list) else ()):
            if not isinstance(question, Mapping):
                continue
            words, choices = str(question.get("question", "")), question.get("options")
            options = tuple(
                str(choice.get("label", ""))
                for choice in (choices if isinstance(choices, list) else ())
                if isinstance(choice, Mapping)
            )
            one = call if number == 0 else ToolCall(f"{call.id}_{number}", QUESTION, call.input)
            answers[words] = await self._host.ask(turn, one, words, options)
        return {**call.input, "answers": answers}

    def start(self, call: ToolCall, rule: str) -> Iterator[BackendEvent]:
        known = self._open[call.id]
        known.began = time.monotonic()
        use = use_of(call.name, known.given, self._worktree)
        mutates = use.effect is not Effect.READ and call.name not in (PLAN, QUESTION)
        yield ToolStarted(known.turn, call, summary_of(call.name, known.given, self._worktree), mutates, rule)

    def deny(self, call: ToolCall, rule: str) -> None:
        self._open[call.id].denied = rule

    def finish(self, call_id: str, result: ToolResult) -> Iterator[BackendEvent]:
        """The outcome of a call; nothing if it has been told."""
        known = self._open.pop(call_id, None)
        if known is None:
            return
        took = round((time.monotonic() - known.began) * 1000) if known.began is not None else 0
        yield ToolFinished(known.turn, known.call, result, took, known.denied)
        if known.call.name == TODOS and not result.is_error and known.denied is None:
            yield TodosChanged(known.turn, _todos(known.call.input.get("todos")))

    def results(self, message: Message) -> Iterator[BackendEvent]:
        """The outcomes that a message of the program tells the model."""
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if isinstance(block, Mapping) and block.get("type") == "tool_result":
                call_id = str(block.get("tool_use_id"))
                yield from self.finish(call_id, self._result(call_id, block))

    def _result(self, call_id: str, block: Message) -> ToolResult:
        text = _text(block.get("content"))
        known = self._open.get(call_id)
        if known is not None and known.denied is not None:
            return ToolResult(text, True, "denied", error_code=ErrorCode.AGENT_TOOL_NOT_ALLOWED)
        is_error = block.get("is_error") is True
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        return ToolResult(text, is_error, first[:SUMMARY] if is_error else "done")

    async def _judge_plan(self, turn: int, call: ToolCall) -> Verdict:
        plan = str(call.input.get("plan") or self._plan)
        whole = ToolCall(call.id, PLAN, {**call.input, "plan": plan})
        use = use_of(PLAN, {}, self._worktree)
        verdict = await self._host.decide(turn, whole, use, "a plan", plan)
        if verdict.judgement is Judgement.ALLOW:
            self._planning = False
        return verdict

    def _remember(self, given: JsonObject) -> None:
        """The plan as it stands, for the person who is asked about it."""
        content, old, new = (given.get(key) for key in ("content", "old_string", "new_string"))
        if isinstance(content, str):
            self._plan = content
        elif isinstance(old, str) and isinstance(new, str):
            self._plan = self._plan.replace(old, new, 1)


def _todos(told: object) -> tuple[Todo, ...]:
    states = {state.value: state for state in TodoState}
    return tuple(
        Todo(str(one.get("content", "")), states.get(str(one.get("status")), TodoState.PENDING))
        for one in (told if isinstance(told, list) else ())
        if isinstance(one, Mapping)
    )


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and "text" in part)
