"""Everything that a client can ask of the engine.

References to a project, task or approval are strings that the engine resolves: a whole id or a unique
prefix of one; a project also by its name or path. `environment` carries the client's own ANTHROPIC_*
variables; they are used for that run, in memory only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentpane.api.archiving import ArchiveTask as ArchiveTask
from agentpane.api.archiving import UnarchiveTask as UnarchiveTask
from agentpane.api.checking import ListRepositoryChecks as ListRepositoryChecks
from agentpane.api.checking import RunChecks as RunChecks
from agentpane.api.checking import StopChecks as StopChecks
from agentpane.api.command import Command
from agentpane.api.command import Environment as Environment
from agentpane.api.health import Doctor as Doctor
from agentpane.api.health import GetHealth as GetHealth
from agentpane.api.health import ListWorktrees as ListWorktrees
from agentpane.api.health import RemoveWorktree as RemoveWorktree
from agentpane.api.health import Repair as Repair
from agentpane.api.keeping import DeleteRecovery as DeleteRecovery
from agentpane.api.keeping import ForeseeCancel as ForeseeCancel
from agentpane.api.keeping import ListRecoveries as ListRecoveries
from agentpane.api.keeping import ListTurns as ListTurns
from agentpane.api.keeping import PutBack as PutBack
from agentpane.api.keeping import ResetWorktree as ResetWorktree
from agentpane.api.keeping import RestoreRecovery as RestoreRecovery
from agentpane.api.pool import GetPool as GetPool
from agentpane.api.resolving import AbandonResolution as AbandonResolution
from agentpane.api.resolving import HandOverConflict as HandOverConflict
from agentpane.api.resolving import TakeResolution as TakeResolution
from agentpane.api.resolving import WriteConflict as WriteConflict
from agentpane.api.upkeep import BackupDatabase as BackupDatabase
from agentpane.api.upkeep import ChangeSettings as ChangeSettings
from agentpane.api.upkeep import CheckDatabase as CheckDatabase
from agentpane.api.upkeep import GetKeyStatus as GetKeyStatus
from agentpane.api.upkeep import GetSettings as GetSettings
from agentpane.api.upkeep import GetStatus as GetStatus
from agentpane.api.upkeep import ListAudit as ListAudit
from agentpane.api.upkeep import ListBudgets as ListBudgets
from agentpane.api.upkeep import ListCosts as ListCosts
from agentpane.api.upkeep import PrepareDemo as PrepareDemo
from agentpane.api.upkeep import RaiseWindow as RaiseWindow
from agentpane.api.upkeep import ReadOutput as ReadOutput
from agentpane.api.upkeep import ReadSession as ReadSession
from agentpane.api.upkeep import RestoreDatabase as RestoreDatabase
from agentpane.api.upkeep import StopEngine as StopEngine
from agentpane.api.upkeep import StoreKey as StoreKey
from agentpane.api.upkeep import VerifyAudit as VerifyAudit
from agentpane.domain.agents import Agent, AgentConfig, BackendName, DetectedBackend, ModelChoice
from agentpane.domain.approvals import Approval
from agentpane.domain.board import Column
from agentpane.domain.budgets import Budget
from agentpane.domain.engine import McpServer, Settings
from agentpane.domain.health import Finding
from agentpane.domain.json import JsonObject
from agentpane.domain.mcp import McpCheck, RepositoryServers
from agentpane.domain.policy import Policy
from agentpane.domain.projects import Project, ProjectConfig
from agentpane.domain.review import ApproveOutcome, DiffSummary, MergeStrategy, PatchChunk, ReviewComment
from agentpane.domain.runs import AgentType
from agentpane.domain.tasks import Task, TaskCard

# Projects


@dataclass(frozen=True, slots=True)
class AddProject(Command[Project]):
    """Raises PROJECT_PATH_INVALID, _NOT_A_GIT_REPO, _EMPTY_REPO, _PATH_EXISTS, GIT_FILTER_REQUIRED, VALIDATION_ERROR

    filters: git's filters that may run for this project's files.
    """

    path: str
    name: str | None = None
    base_branch: str | None = None
    description: str = ""
    trust: bool = False
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListProjects(Command[tuple[Project, ...]]):
    pass


@dataclass(frozen=True, slots=True)
class GetProject(Command[Project]):
    project: str


@dataclass(frozen=True, slots=True)
class EditProject(Command[Project]):
    """None leaves a field as it is. always: what is left of the rules that were allowed for good; none can be added."""

    project: str
    name: str | None = None
    description: str | None = None
    max_concurrent_agents: int | None = None
    config: ProjectConfig | None = None
    always: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TrustProject(Command[Project]):
    """Trust the repository's own configuration on the base branch, if it is the one that `digest` names.

    digest: the `trust_digest` of the project that the person has read. Raises PROJECT_NOT_TRUSTED when the branch
    has another content by then; what waits for trust is then that content.
    """

    project: str
    digest: str


@dataclass(frozen=True, slots=True)
class RemoveProject(Command[Project]):
    """Make recovery snapshots, remove the worktrees and hide the project; `purge` deletes its rows, never the audit."""

    project: str
    purge: bool = False


# Agents


@dataclass(frozen=True, slots=True)
class ListAgents(Command[tuple[Agent, ...]]):
    project: str


@dataclass(frozen=True, slots=True)
class AddAgent(Command[Agent]):
    project: str
    name: str
    backend: BackendName
    type: AgentType = AgentType.TASK
    config: AgentConfig = field(default_factory=AgentConfig)
    default: bool = False


@dataclass(frozen=True, slots=True)
class EditAgent(Command[Agent]):
    """None leaves a field as it is."""

    agent: str
    name: str | None = None
    config: AgentConfig | None = None
    default: bool | None = None


@dataclass(frozen=True, slots=True)
class ListModels(Command[tuple[ModelChoice, ...]]):
    """The models that the SDK knows, with prices where they are known."""


@dataclass(frozen=True, slots=True)
class DetectBackends(Command[tuple[DetectedBackend, ...]]):
    """Which backends this machine has. Nothing is sent anywhere to find out."""

    environment: Environment = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckAgentFiles(Command[tuple[Finding, ...]]):
    """What is wrong with the files that describe agents and tool servers of this project; they are read anew."""

    project: str


# Tool servers


@dataclass(frozen=True, slots=True)
class AddMcpServer(Command[Settings]):
    """Store a server, in the place of one with the same name. secrets: values for its `secret_environment`."""

    server: McpServer
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoveMcpServer(Command[Settings]):
    """Forget a server of the person's and its secrets. Raises VALIDATION_ERROR if there is none of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class CheckMcpServer(Command[McpCheck]):
    """Start one of the person's servers, list its tools, and end it. Raises VALIDATION_ERROR as above."""

    name: str


@dataclass(frozen=True, slots=True)
class ListRepositoryServers(Command[RepositoryServers]):
    """The tool servers that the project's repository names on its base branch; their values are left out."""

    project: str


# Tasks


@dataclass(frozen=True, slots=True)
class AddTask(Command[Task]):
    project: str
    title: str
    description: str = ""
    labels: tuple[str, ...] = ()
    agent: str | None = None
    start: bool = False
    environment: Environment = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListTasks(Command[tuple[TaskCard, ...]]):
    """The cards of a project, by column and position. archived: those off the board instead, the newest first."""

    project: str
    column: Column | None = None
    archived: bool = False


@dataclass(frozen=True, slots=True)
class GetTask(Command[Task]):
    task: str


@dataclass(frozen=True, slots=True)
class EditTask(Command[Task]):
    """None leaves a field as it is. Title and description may be changed in the backlog only."""

    task: str
    title: str | None = None
    description: str | None = None
    labels: tuple[str, ...] | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteTask(Command[Task]):
    """Delete a card of the backlog that was never run; others are kept for their history (TASK_NOT_IN_COLUMN)."""

    task: str


@dataclass(frozen=True, slots=True)
class MoveTask(Command[Task]):
    """Put a card at `position` of `column`, as a drag does. Into In Progress it starts a run; out of it, it cancels.

    confirmed: as for CancelTask.
    """

    task: str
    column: Column
    position: int | None = None  # None: the end of the column
    environment: Environment = field(default_factory=dict)
    confirmed: bool = False


# Runs


@dataclass(frozen=True, slots=True)
class StartRun(Command[Task]):
    """plan: begin with a plan that is approved before anything is changed; None: as the agent is configured."""

    task: str
    agent: str | None = None
    policy: Policy | None = None  # None: the project's
    environment: Environment = field(default_factory=dict)
    plan: bool | None = None


@dataclass(frozen=True, slots=True)
class ResumeRun(Command[Task]):
    """Go on with a paused, failed or interrupted run. `finish`: take what is there as the result.

    turns, budget: how much more the run may use from here on.
    """

    task: str
    turns: int | None = None
    finish: bool = False
    afresh: bool = False
    environment: Environment = field(default_factory=dict)
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class PauseRun(Command[Task]):
    """Pause after the block that is being written; nothing is lost."""

    task: str


@dataclass(frozen=True, slots=True)
class Answer(Command[Task]):
    """Say something to the task's agent: it reads it before its next turn, and a waiting run goes on."""

    task: str
    text: str
    environment: Environment = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelTask(Command[Task]):
    """Stop the run and everything it started, keep a recovery snapshot, put the card back in the backlog.

    confirmed: the person was asked whether a diff that waits for approval may go; without it such a card is refused
    (VALIDATION_ERROR).
    """

    task: str
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class ListApprovals(Command[tuple[Approval, ...]]):
    """The tool calls that wait for a decision, oldest first."""

    task: str | None = None


@dataclass(frozen=True, slots=True)
class DecideApproval(Command[Approval]):
    """Allow or deny a tool call. `always`: take the approval's `rules` into the project too.

    edited: the input with which the call is made instead; a plan is approved with changes so.
    """

    approval: str
    allow: bool
    always: bool = False
    message: str = ""
    edited: JsonObject | None = None
    environment: Environment = field(default_factory=dict)


# Review


@dataclass(frozen=True, slots=True)
class GetDiff(Command[DiffSummary]):
    task: str


@dataclass(frozen=True, slots=True)
class GetPatch(Command[PatchChunk]):
    """git's patch from `offset` on, at most 1 MiB of it. `snapshot` must be the one that GetDiff named."""

    task: str
    snapshot: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Approve(Command[ApproveOutcome]):
    """Merge exactly the reviewed commit. `sha`: what was reviewed; None takes the pinned snapshot."""

    task: str
    sha: str | None = None
    strategy: MergeStrategy | None = None


@dataclass(frozen=True, slots=True)
class Undo(Command[Task]):
    """Take an approval back: exactly where nothing came after it, else by a commit that reverts it.

    A target that does not hold the merge any more, nor the change, is left as it is.
    Raises TASK_INVALID_TRANSITION, MERGE_UNDO_IMPOSSIBLE, MERGE_CHECKOUT_DIRTY, RESOURCE_LOCKED; nothing changed then.
    """

    task: str


@dataclass(frozen=True, slots=True)
class Reject(Command[Task]):
    """Send the card back to the same agent in the same worktree, with the reason and the comments."""

    task: str
    reason: str
    comments: tuple[ReviewComment, ...] = ()
    environment: Environment = field(default_factory=dict)
