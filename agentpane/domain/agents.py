"""An agent: a named configuration of backend, model, tools and limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.ids import AgentId, ProjectId
from agentpane.domain.runs import AgentStatus, AgentType


class BackendName(StrEnum):
    """The programs and interfaces that do the thinking."""

    ANTHROPIC = "anthropic"
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What differs from the project's configuration; None means: as the project has it."""

    model: str | None = None
    allowed_tools: tuple[str, ...] | None = None
    max_turns: int | None = None
    system_prompt: str | None = None


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
    model: str  # what it will use, defaults applied


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that an agent may use. A price is in US dollars for a million tokens, None when unknown."""

    id: str
    input_price: float | None
    output_price: float | None
    is_default: bool
