"""What the engine says of itself and of its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.budgets import NO_BUDGET, Budget


class KeySource(StrEnum):
    KEYRING = "keyring"
    ENVIRONMENT = "environment"
    FILE = "file"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    running: bool
    pid: int | None
    version: str
    clients: int
    runs: int  # queued, starting and running
    maintenance: str | None = None  # why only doctor and db commands work


@dataclass(frozen=True, slots=True)
class McpServer:
    """A server whose tools agents may call under the policy: a program on stdio, or an address.

    environment: names of variables that the program gets, values included; secret_environment: names whose values are
    kept as keys are, and never stored here.
    """

    name: str
    command: str | None = None
    url: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    secret_environment: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """The person's own settings; everything else has its default."""

    theme: str = "system"  # system, light or dark
    default_model: str = ""  # empty: the program's default
    base_url: str = ""  # of the Messages API; empty: the environment's, else the public one
    merge_strategy: str = "merge"
    approved_by: str = ""  # the name that approvals are signed with; empty: the login name
    day_budget: Budget = NO_BUDGET
    mcp_servers: tuple[McpServer, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Where the key for the model API comes from. The key itself never leaves the engine."""

    source: KeySource
    warning: str  # why the place is not the best one; may be empty
