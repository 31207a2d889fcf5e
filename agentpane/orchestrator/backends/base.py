"""The Protocol that every agent backend speaks, and the values that pass through it.

A backend thinks; it decides nothing about what may be done. It yields events in order, and its consumer
has stored one before it asks for the next, so an effect that follows a yielded event happens
after that event is on disk.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from agentpane.domain.agents import AgentConfig
from agentpane.domain.json import JsonObject
from agentpane.domain.policy import Use, Verdict
from agentpane.domain.runs import PauseReason
from agentpane.domain.tasks import Todo
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.tools import Tool, ToolContext, ToolResult


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asked for, whole and parsed."""

    id: str
    name: str
    input: JsonObject


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call. `input` excludes what the cache read and wrote."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total_input(self) -> int:
        return self.input + self.cache_read + self.cache_write


# Events that a backend yields


@dataclass(frozen=True, slots=True)
class TurnStarted:
    turn: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A finished block of the answer. plain: what a program printed, and no Markdown."""

    turn: int
    text: str
    plain: bool = False


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """A finished thought; `signature` must be sent back with it. A redacted thought has its data in `redacted`."""

    turn: int
    text: str
    signature: str
    redacted: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model asked for a call; it is executed only if the turn finishes with stop_reason "tool_use"."""

    turn: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class TurnDiscarded:
    """The blocks of this turn do not count: the stream was cut, and the turn is asked for again."""

    turn: int


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The model's answer is whole. latency_ms: from the request to its end.

    context_used, context_window: tokens that the request held, and that the model takes; None where unknown.
    counted: False where what it has used is told with a later turn; `cost_usd` is then what is known of it so far.
    """

    turn: int
    stop_reason: str
    model: str
    usage: Usage | None  # None: the backend does not say what was used
    cost_usd: float | None
    latency_ms: int
    request_id: str | None
    context_used: int | None = None
    context_window: int | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The call has been allowed and is about to have its effect. `rule`: who or which rule allowed it."""

    turn: int
    call: ToolCall
    summary: str
    mutates: bool
    rule: str


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """Output of a running call, as it comes; shown, never stored."""

    turn: int
    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The call's outcome. `denied`: the rule or person that denied it, in which case it had no effect."""

    turn: int
    call: ToolCall
    result: ToolResult
    duration_ms: int
    denied: str | None = None


@dataclass(frozen=True, slots=True)
class Retrying:
    """A fault that passes: try number `attempt` comes after `wait_s` seconds."""

    turn: int
    attempt: int
    of: int
    wait_s: float
    code: ErrorCode
    reason: str


@dataclass(frozen=True, slots=True)
class Nudged:
    """The backend told the model something by itself, so that it goes on; it is part of the conversation."""

    turn: int
    text: str


class Purpose(StrEnum):
    """Why a request was made that is no turn."""

    SUMMARY = "summary"
    FAILED_TRY = "failed_try"


@dataclass(frozen=True, slots=True)
class ModelCalled:
    """A request that is no turn, and has used something all the same. stop_reason None: its answer was cut."""

    turn: int
    purpose: Purpose
    stop_reason: str | None
    model: str
    usage: Usage
    cost_usd: float | None
    latency_ms: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ConversationNamed:
    """An agent that keeps its conversation itself says under which name it can be taken up again."""

    name: str


@dataclass(frozen=True, slots=True)
class TodosChanged:
    """The agent's own list, whole."""

    turn: int
    todos: tuple[Todo, ...]


@dataclass(frozen=True, slots=True)
class Compacting:
    """The conversation is being summarised, which takes a request of its own."""

    turn: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """The conversation so far is replaced by `summary`; the turns from `kept_from` on stay as they are.

    What was replaced stays in the session. before: tokens that the conversation held.
    """

    turn: int
    summary: str
    kept_from: int
    before: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The agent says that it is done; `text` is its last answer."""

    text: str


BackendEvent = (
    TurnStarted
    | TextDelta
    | ThinkingDelta
    | TextBlock
    | ThinkingBlock
    | ToolCalled
    | TurnDiscarded
    | TurnFinished
    | ToolStarted
    | ToolOutput
    | ToolFinished
    | Retrying
    | Nudged
    | ModelCalled
    | ConversationNamed
    | TodosChanged
    | Compacting
    | Compacted
    | Ended
)


class RunPaused(Exception):
    """The run must wait for a person. Raised by the host inside a backend, which lets it pass."""

    def __init__(self, reason: PauseReason, error: AgentPaneError | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.error = error


class RunFailed(Exception):
    """The whole run cannot go on at the moment. Raised by the host inside a tool's call, and let pass."""

    def __init__(self, error: AgentPaneError) -> None:
        super().__init__(error.message)
        self.error = error


class Host(Protocol):
    """What a backend asks of the program around it."""

    async def may_start_turn(self, turn: int) -> tuple[str, ...]:
        """Called before each request. Returns messages that the person has sent meanwhile, to be read now.

        Raises RunPaused when a limit is reached or a person asked for a pause.
        """
        ...

    async def authorize(self, turn: int, call: ToolCall, summary: str) -> Verdict:
        """May this call be made? Never answers ASK: it raises RunPaused instead, and the call is asked again on resume.

        A denial's `rule` is what the agent reads.
        """
        ...

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        """The same for a call of an agent that is a program of its own and waits, alive, for the answer.

        use: what the call would do; the agent's tools have names of their own. detail: the whole command or the diff.
        others: what it would do besides, such as change further files; the strictest verdict is the call's.
        Never answers ASK. Raises RunPaused when nobody has decided for so long that the run gives up its place, or on
        the person's wish; on resume the agent is told what was decided, and an equal call is answered at once.
        """
        ...

    async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
        """The person's answer to a question. Raises RunPaused until there is one; on resume the same call finds it."""
        ...

    async def delegate(self, turn: int, call: ToolCall, description: str, prompt: str, agent: str | None) -> ToolResult:
        """What a sub-agent says when it has done this. A call that is made again goes on with what it began.

        Raises RunPaused when the sub-agent must wait, RunFailed when nothing can go on at the moment.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pending:
    """A call of the last finished turn that has no result.

    started: its effect may have happened, so one that changes anything is not to be repeated. cut: its answer was
        cut, so it is never to be made.
    """

    call: ToolCall
    started: bool
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is. The key is kept out of every representation. source: where the key came from, in words."""

    base_url: str | None
    api_key: str | None = field(repr=False, default=None)
    auth_token: str | None = field(repr=False, default=None)
    environment: Mapping[str, str] = field(repr=False, default_factory=dict)  # an agent program's own keys, by name
    source: str = field(compare=False, default="")


@dataclass(frozen=True, slots=True)
class Brief:
    """Everything that a backend needs for one run.

    history: Messages-API messages (role, content) up to now; it ends with a user message, or with an assistant
        message whose tool calls are `pending` or answered in `results`.
    turns: for each message of the history the turn that it answered in; 0 for what the model was told.
    call_ids: of every call that the session has seen; another call must not go by one of them.
    results: API tool_result blocks already known for the calls of that last assistant message.
    first_turn: the number of the next turn; it goes on where an earlier run of the session ended.
    agent: the agent's own configuration.
    conversation: under which name an agent that keeps its conversation itself has this one.
    state: a private folder for what such an agent keeps of this task; it outlives the run.
    plan: the agent has to propose a plan, and change nothing until it is approved.
    read_only: its policy lets nothing be changed.
    extra_tools: of tool servers, beside `tools`; for an agent that calls our tools.
    """

    run_id: str
    task_id: str
    model: str
    system: str
    history: tuple[Mapping[str, object], ...]
    results: tuple[Mapping[str, object], ...]
    pending: tuple[Pending, ...]
    first_turn: int
    tools: tuple[str, ...]
    context: ToolContext
    endpoint: Endpoint
    agent: AgentConfig = field(default_factory=AgentConfig)
    turns: tuple[int, ...] = ()
    call_ids: frozenset[str] = frozenset()
    conversation: str | None = None
    state: Path | None = None
    plan: bool = False
    read_only: bool = False
    extra_tools: tuple[Tool, ...] = ()


class Backend(Protocol):
    """Plays a run. One instance serves many runs at once."""

    name: str

    def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        """Yield what happens until `Ended`.

        Raises RunPaused (from the host), or AgentPaneError with a BACKEND_ code when the fault does not pass.
        When the iteration is cancelled or closed, everything that the backend started is ended first.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and helpers."""
        ...
