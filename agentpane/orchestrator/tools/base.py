"""What every tool of the in-process agent has in common: its Protocol, its surroundings and its result.

A tool works inside one worktree. It never raises for what a model sends: a bad input becomes an error result
that the model can read and mend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agentpane.domain.json import JsonValue
from agentpane.domain.rules import Rule
from agentpane.domain.sandbox import Network
from agentpane.domain.tasks import Todo
from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools.memory import FileMemory
from agentpane.orchestrator.tools.shells import Shells
from agentpane.orchestrator.tree.refusal import Refusal as Refusal
from agentpane.sandbox import Sandbox

SHOWN = 200  # characters of a one-line description

OnOutput = Callable[[str], None] | None
M = TypeVar("M", bound="ToolInput")


@dataclass(frozen=True, slots=True)
class Image:
    """A picture for the model. data: base64."""

    media_type: str
    data: str


class Outputs(Protocol):
    """Long outputs of which a result shows only a part."""

    def keep(self, content: bytes) -> str:
        """Store an output for as long as its session; returns its name."""
        ...

    def read_kept(self, name: str) -> bytes:
        """Raises AgentPaneError with SESSION_NOT_FOUND when there is none of this name."""
        ...


class ToolHost(Protocol):
    """What a tool may ask of the program around it, on behalf of the call that it carries out.

    Both raise what ends the run's turn when the run must wait; the call is then made again, and finds what it began.
    """

    async def ask(self, question: str, options: tuple[str, ...]) -> str:
        """A person's answer."""
        ...

    async def delegate(self, description: str, prompt: str, agent: str | None) -> ToolResult:
        """What a sub-agent says when it has done this."""
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Where the tools of one run work, and what they may have.

    readable: what commands may read beside the worktree, such as the repository's common git folder.
    environment: the whole environment of commands.
    memory: belongs to this conversation; what changes files refuses one that it does not know as it is.
    outputs: where long outputs are kept; None: what is cut is gone.
    shells: the commands that run in the background; None: there can be none.
    rules: of the run; a search leaves out the files that they keep from being read.
    turn, call_id, host: the call that is carried out, and who answers for it; None: nobody does.
    """

    worktree: Path
    sandbox: Sandbox
    readable: tuple[Path, ...]
    environment: Mapping[str, str]
    network: Network
    memory: FileMemory = field(default_factory=FileMemory)
    outputs: Outputs | None = None
    shells: Shells | None = None
    rules: tuple[Rule, ...] = ()
    host: ToolHost | None = None
    turn: int = 0
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """content: what the model reads. summary: one line for people. data: exit code, path, counts and the like.

    images: what the model sees beside it. todos: the agent's own list, where the call has changed it.
    """

    content: str
    is_error: bool
    summary: str
    data: Mapping[str, JsonValue] = field(default_factory=dict)
    error_code: ErrorCode | None = None
    images: tuple[Image, ...] = ()
    todos: tuple[Todo, ...] | None = None


class Tool(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str:
        """What the model is told about it."""
        ...

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON schema of the input, as the Messages API wants it."""
        ...

    @property
    def mutates(self) -> bool:
        """May it change anything in the worktree or outside? What does not is made again after a crash."""
        ...

    async def run(self, input: Mapping[str, object], context: ToolContext, on_output: OnOutput) -> ToolResult:
        """Do it. on_output is given output as it comes; called on the loop."""
        ...

    def describe(self, input: Mapping[str, object]) -> str:
        """The call's target in one line for people: a path, a command. Never raises."""
        ...


class ToolInput(BaseModel):
    """Extra inputs are ignored; models invent some."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


def refused(refusal: Refusal, data: Mapping[str, JsonValue] | None = None) -> ToolResult:
    line = " ".join(refusal.message.split())
    return ToolResult(refusal.message, True, line[:SHOWN], dict(data or {}), refusal.code)


def parsed(model: type[M], input: Mapping[str, object]) -> M:
    """Raises Refusal naming every input that is missing or wrong."""
    try:
        return model.model_validate({name: value for name, value in input.items() if value is not None})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
    missing = [_field(problem["loc"]) for problem in problems if problem["type"] == "missing"]
    wrong = [f"`{_field(p['loc'])}`: {p['msg']}" for p in problems if p["type"] != "missing"]
    words = []
    if missing:
        words.append("Missing input: " + ", ".join(f"`{name}`" for name in missing) + ".")
    if wrong:
        words.append("Wrong input: " + "; ".join(wrong) + ".")
    raise Refusal(" ".join(words), ErrorCode.VALIDATION_ERROR)


def schema_of(model: type[ToolInput]) -> dict[str, Any]:
    """The model's JSON schema, without the titles that pydantic invents."""
    schema = model.model_json_schema(by_alias=True)
    for name in ("title", "description"):
        schema.pop(name, None)
    for one in schema.get("properties", {}).values():
        one.pop("title", None)
    return schema


def one_line(input: Mapping[str, object], key: str) -> str:
    """The input `key` on one line, cut to a bearable length; empty when it is not there."""
    value = input.get(key)
    line = " ".join(value.split()) if isinstance(value, str) else ""
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
