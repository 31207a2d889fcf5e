"""What the conformance suite plays: stories in steps that every kind of agent can tell in its own way.

A rig turns a story into whatever makes its backend think: turns of a model, steps of a program, lines of a script. What
a backend cannot have is declared in `Abilities`, and the suite holds it to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from agentpane.domain.policy import Effect, Judgement, Use, Verdict
from agentpane.domain.sandbox import NO_NETWORK
from agentpane.errors import ErrorCode
from agentpane.orchestrator.backends.base import (
    Backend,
    BackendEvent,
    Brief,
    ConversationNamed,
    Endpoint,
    TextBlock,
    ToolCall,
    ToolCalled,
    ToolFinished,
)
from agentpane.orchestrator.tools import FileMemory, ToolContext, ToolResult
from agentpane.sandbox import detect, tool_environment
from tests.backends.rig import TestHost, of_kind

STAND_IN = Path(__file__).parent / "stand_ins" / "acp_agent.py"
CRASH = "I was about to say"  # with these words a server of recordings is gone
MUTATING = frozenset({"Mark", "Bash", "Edit", "Write"})


# Steps


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Write a line into marks.txt, by a tool where there are tools."""

    line: str


@dataclass(frozen=True, slots=True)
class Ask:
    question: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Daemon:
    """Leave a process behind that detaches itself and ignores being asked to end; `token` is one of its arguments."""

    token: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Start a process with `token` among its arguments, and wait for it, which takes for ever."""

    token: str


@dataclass(frozen=True, slots=True)
class Crash:
    """End in the middle, without a word."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Say something that is not in the language that is spoken."""


Step = Say | Leave | Ask | Daemon | Wait | Crash | Garbage


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a backend can have.

    tools: it says which tools it calls; without, the whole run is one call. asks: it can ask a person.
    goes_on_after_denial: a denied call is something that the agent reads; else the run ends with an error.
    usage: it says how many tokens were used. crash: the code of the error when the agent crashes.
    malformed: the code when it speaks gibberish; None: whatever it says is text.
    """

    tools: bool = True
    asks: bool = True
    goes_on_after_denial: bool = True
    usage: bool = True
    crash: ErrorCode = ErrorCode.AGENT_EXECUTION_ERROR
    malformed: ErrorCode | None = ErrorCode.BACKEND_PROTOCOL


@dataclass(slots=True)
class Host(TestHost):
    """Allows everything, or denies whatever changes something; answers questions with `answer`."""

    __test__ = False
    deny: bool = False
    answer: str = ""
    uses: list[Use] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    questions: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    async def authorize(self, turn: int, call: ToolCall, summary: str) -> Verdict:
        self.asked.append(f"{call.name} {summary}")
        return self._verdict(call.name in MUTATING)

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        self.asked.append(f"{call.name} {summary}")
        self.uses += (use, *others)
        self.details.append(detail)
        return self._verdict(use.effect is not Effect.READ)

    async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
        self.questions.append((question, options))
        return self.answer

    def _verdict(self, mutates: bool) -> Verdict:
        denied = self.deny and mutates
        return Verdict(Judgement.DENY, "not today") if denied else Verdict(Judgement.ALLOW, "policy: free")


class Rig(Protocol):
    name: str
    abilities: Abilities

    def prepare(self, story: Sequence[Step]) -> tuple[Backend, dict[str, Any]]:
        """A backend that will tell this story, and what its brief needs beside the usual."""
        ...

    def restarted(self) -> Backend:
        """A backend that goes on with the story, as after a restart of the engine."""
        ...

    def told(self) -> str:
        """All that the agent has been told so far."""
        ...


@dataclass
class Place:
    """Where a rig works."""

    folder: Path
    stack: ExitStack

    @property
    def worktree(self) -> Path:
        return self.folder / "worktree"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def context(self) -> ToolContext:
        return ToolContext(
            worktree=self.worktree,
            sandbox=detect(),
            readable=(STAND_IN.parent, self.folder / "story"),
            environment=tool_environment(self.worktree),
            network=NO_NETWORK,
        )

    def brief(self, more: dict[str, Any], **changes: Any) -> Brief:
        values: dict[str, Any] = {
            "run_id": "run",
            "task_id": "task",
            "model": "claude-sonnet-5-5",
            "system": "You are careful.",
            "history": (said("user", "Do the work"),),
            "results": (),
            "pending": (),
            "first_turn": 1,
            "tools": ("Mark", "Bash", "AskUser"),
            "context": self.context(),
            "endpoint": Endpoint(None),
            "state": self.state,
        }
        return Brief(**(values | more | changes))


def said(role: str, text: str) -> dict[str, object]:
    return {"role": role, "content": [said_block(text)]}


def continued(brief: Brief, events: Sequence[BackendEvent], words: str | None) -> Brief:
    """The same run gone on with later, when only its events are left. words: what a person has said since."""
    turns = sorted({event.turn for event in of_kind(events, TextBlock) + of_kind(events, ToolCalled)})
    results = {event.call.id: event.result for event in of_kind(events, ToolFinished)}
    history = list(brief.history)
    for turn in turns:
        texts = [said_block(event.text) for event in of_kind(events, TextBlock) if event.turn == turn]
        calls = [event.call for event in of_kind(events, ToolCalled) if event.turn == turn]
        uses = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in calls]
        history.append({"role": "assistant", "content": [*texts, *uses]})
        if calls:
            answers = [result_block(call.id, results[call.id]) for call in calls]
            history.append({"role": "user", "content": answers})
    if words is not None:
        history.append(said("user", words))
    seen = [result.data["seen"] for result in results.values() if isinstance(result.data.get("seen"), dict)]
    memory = FileMemory({str(one["path"]): str(one["sha256"]) for one in seen})
    names = [event.name for event in of_kind(events, ConversationNamed)]
    return replace(
        brief,
        history=tuple(history),
        first_turn=turns[-1] + 1,
        conversation=names[-1] if names else brief.conversation,
        context=replace(brief.context, memory=memory),
    )


def said_block(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def result_block(call_id: str, result: ToolResult) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": result.content, "is_error": result.is_error}


def daemon(token: str) -> str:
    """A script that ends when the daemon runs, which leaves a file of that name."""
    detached = f"setsid -f sh -c 'touch daemon; exec sleep 600.{token}'"
    return f"(trap '' TERM HUP; {detached}) >/dev/null 2>&1 </dev/null; until [ -e daemon ]; do sleep 0.01; done"


Events = Sequence[BackendEvent]
