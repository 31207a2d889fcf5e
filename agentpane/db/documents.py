"""What the JSON columns hold, as Pydantic models; each is checked whenever it is written or read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from agentpane.domain.agents import AgentConfig
from agentpane.domain.budgets import NO_BUDGET, Budget
from agentpane.domain.checks import Check
from agentpane.domain.conflicts import Conflict, Overlap
from agentpane.domain.policy import Policy
from agentpane.domain.projects import DEFAULT_POOL_SIZE, DEFAULT_TOOLS, DEFAULT_WORKTREE_ROOT, ProjectConfig
from agentpane.domain.recoveries import Beside
from agentpane.domain.resolving import Merging
from agentpane.domain.sandbox import NetworkMode
from agentpane.domain.tasks import Todo

MOST_TURNS = 10_000
Turns = Annotated[int, Field(ge=1, le=MOST_TURNS)]


class Document(BaseModel):
    """Unknown keys are dropped: a newer program may have written them."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ProjectConfigDocument(Document):
    worktree_root: Annotated[str, Field(min_length=1)] = DEFAULT_WORKTREE_ROOT
    env_file: str | None = None
    copy_files: tuple[str, ...] = ()
    install_command: str | None = None
    init_script: str | None = None
    allowed_tools: tuple[str, ...] = DEFAULT_TOOLS
    max_turns: Turns | None = None
    model: str | None = None
    policy: Policy = Policy.BALANCED
    network: NetworkMode = NetworkMode.NONE
    hosts: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    unconfined: bool = False
    pool_size: Annotated[int, Field(ge=0)] = DEFAULT_POOL_SIZE
    run_budget: Budget = NO_BUDGET
    task_budget: Budget = NO_BUDGET
    project_budget: Budget = NO_BUDGET
    checks: tuple[Check, ...] = ()
    filters: tuple[str, ...] = ()

    @staticmethod
    def of(config: ProjectConfig) -> dict[str, Any]:
        return asdict(config)

    def value(self) -> ProjectConfig:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return ProjectConfig(**{**fields, "policy": self.policy.value, "network": self.network.value})


class AgentConfigDocument(Document):
    model: str | None = None
    allowed_tools: tuple[str, ...] | None = None
    max_turns: Turns | None = None
    system_prompt: str | None = None
    command: str | None = None
    preset: str | None = None
    plan: bool = False
    policy: Policy | None = None
    rules: tuple[str, ...] = ()
    budget: Budget = NO_BUDGET

    @staticmethod
    def of(config: AgentConfig) -> dict[str, Any]:
        return asdict(config)

    def value(self) -> AgentConfig:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return AgentConfig(**{**fields, "policy": self.policy.value if self.policy else None})


class ToolTally(Document):
    """How often a run called a tool, and how long that took in milliseconds."""

    tool: str
    count: Annotated[int, Field(ge=0)]
    total_duration: Annotated[int, Field(ge=0)]


class ActiveUser(Document):
    """A window that shows the session. Times are microseconds since 1970."""

    user_id: str
    joined_at: int
    last_seen: int


BESIDE: TypeAdapter[Beside] = TypeAdapter(Beside)
STRINGS: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[str, ...])
LABELS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Annotated[tuple[str, ...], Field(max_length=10)])
CONFLICTS: TypeAdapter[tuple[Conflict, ...]] = TypeAdapter(tuple[Conflict, ...])
OVERLAPS: TypeAdapter[tuple[Overlap, ...]] = TypeAdapter(tuple[Overlap, ...])
MERGING: TypeAdapter[Merging] = TypeAdapter(Merging)
TODOS: TypeAdapter[tuple[Todo, ...]] = TypeAdapter(tuple[Todo, ...])
OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
PERMISSIONS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
PROJECT_CONFIG: TypeAdapter[ProjectConfigDocument] = TypeAdapter(ProjectConfigDocument)
AGENT_CONFIG: TypeAdapter[AgentConfigDocument] = TypeAdapter(AgentConfigDocument)
TOOL_TALLIES: TypeAdapter[tuple[ToolTally, ...]] = TypeAdapter(tuple[ToolTally, ...])
ACTIVE_USERS: TypeAdapter[tuple[ActiveUser, ...]] = TypeAdapter(tuple[ActiveUser, ...])
