"""A project as the program shows it, and its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from agentpane.domain.budgets import NO_BUDGET, Budget
from agentpane.domain.checks import Check
from agentpane.domain.ids import ProjectId
from agentpane.domain.sandbox import Network, NetworkMode

DEFAULT_TOOLS: tuple[str, ...] = (
    "Read",
    "Write",
    "Edit",
    "MultiEdit",
    "Bash",
    "BashOutput",
    "KillShell",
    "Glob",
    "Grep",
    "TodoWrite",
    "AskUser",
    "Task",
)
DEFAULT_WORKTREE_ROOT = ".worktrees"
DEFAULT_POOL_SIZE = 1


@dataclass(frozen=True, slots=True)
class ProjectConfig:
    """How worktrees of a project are made and what its agents start from.

    worktree_root: a folder, relative to the repository unless absolute.
    env_file, copy_files: paths relative to the repository, copied into each worktree and never into a snapshot.
    install_command, init_script: shell commands run in a new worktree (limits: 5 and 10 minutes).
    network: what commands may reach: none, hosts (those in `hosts`) or all.
    rules: `allow|ask|deny Tool(pattern)`, one string each; see `domain/policy.py`.
    unconfined: runs that nobody can be asked about may play without a sandbox.
    checks: run on the merged tree before a merge; those that are required keep it from being merged.
    pool_size: how many worktrees are kept ready for the next cards; see `domain/pool.py`.
    filters: git's filters that may run for this project's files, by their names in the person's configuration.
    """

    worktree_root: str = DEFAULT_WORKTREE_ROOT
    env_file: str | None = None
    copy_files: tuple[str, ...] = ()
    install_command: str | None = None
    init_script: str | None = None
    allowed_tools: tuple[str, ...] = DEFAULT_TOOLS
    max_turns: int | None = None  # None: the limit of the agent's type
    model: str | None = None  # None: the program's default model
    policy: str = "balanced"
    network: str = NetworkMode.NONE.value
    hosts: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    unconfined: bool = False
    pool_size: int = DEFAULT_POOL_SIZE
    run_budget: Budget = NO_BUDGET
    task_budget: Budget = NO_BUDGET
    project_budget: Budget = NO_BUDGET
    checks: tuple[Check, ...] = ()
    filters: tuple[str, ...] = ()

    def reach(self) -> Network:
        """What commands may reach."""
        return Network(NetworkMode(self.network), self.hosts)


@dataclass(frozen=True, slots=True)
class ProjectCounts:
    """What is happening in a project, for the rail."""

    running: int = 0
    queued: int = 0
    waiting: int = 0  # cards that wait for a person: diffs to review, questions, approvals, pauses
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Project:
    id: ProjectId
    name: str
    path: str
    description: str
    base_branch: str
    trusted: bool  # the repository's own configuration is trusted as it stands, or it has none
    trust_pending: tuple[str, ...]  # what waits for trust, one line each
    recorded: bool  # the sample project: its model's replies are recorded
    max_concurrent_agents: int
    config: ProjectConfig
    created_at: datetime
    counts: ProjectCounts = field(default_factory=ProjectCounts)
    always: tuple[str, ...] = ()  # the rules by which a person, when asked, has allowed calls for good
    trust_digest: str | None = None  # names the exact configuration that waits for trust
