"""An agent: a named configuration of backend, model, tools and limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.budgets import NO_BUDGET, Budget
from agentpane.domain.ids import AgentId, ProjectId
from agentpane.domain.runs import AgentStatus, AgentType


class BackendName(StrEnum):
    """The programs and interfaces that do the thinking."""

    ANTHROPIC = "anthropic"
    CLAUDE_CODE = "claude-code"
    ACP = "acp"
    COMMAND = "command"
    RECORDED = "recorded"

    @property
    def asks(self) -> bool:
        """Whether each call is put to the policy before it is made. What others do by themselves a sandbox confines."""
        return self not in {BackendName.ACP, BackendName.COMMAND}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What differs from the project's configuration; None means: as the project has it.

    command: for the backends `command` (any shell command; `{prompt}` stands for the task's text, which comes on
        standard input otherwise) and `acp` (the program that speaks the protocol).
    preset: for `acp`, the name of a known program in the place of a command.
    plan: begin with a plan that a person approves before anything is changed.
    rules: as in `ProjectConfig`; they add to the project's.
    """

    model: str | None = None
    allowed_tools: tuple[str, ...] | None = None
    max_turns: int | None = None
    system_prompt: str | None = None
    command: str | None = None
    preset: str | None = None
    plan: bool = False
    policy: str | None = None
    rules: tuple[str, ...] = ()
    budget: Budget = NO_BUDGET  # of one run


@dataclass(frozen=True, slots=True)
class Agent:
    id: AgentId
    project_id: ProjectId
    name: str
    type: AgentType
    backend: BackendName
    status: AgentStatus
    is_default: bool
    config: AgentConfig
    model: str  # what it will use, defaults applied; empty where none is named
    source: str | None = None  # the Markdown file that it comes from; None: made by hand


def model_in_use(agent: Agent, default: str) -> str:
    """The model that the agent will use; empty for a shell command, and where a program chooses one by itself."""
    match agent.backend:
        case BackendName.COMMAND:
            return ""
        case BackendName.ACP:
            return agent.config.model or ""
        case _:
            return agent.model or default


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that an agent may use. A price is in US dollars for a million tokens, None when unknown."""

    id: str
    input_price: float | None
    output_price: float | None
    is_default: bool


@dataclass(frozen=True, slots=True)
class DetectedBackend:
    """What this machine has of one backend. Found by looking at files and asking programs for their version only.

    preset: for `acp`, which of the known programs this is. program: its absolute path, None when it is not installed.
    signed_in: None where that cannot be known without asking somebody. note: one line for people.
    """

    backend: BackendName
    preset: str | None
    title: str
    program: str | None
    version: str | None
    signed_in: bool | None
    usable: bool
    note: str
