"""What the engine announces. What is announced has been committed, deltas aside, which are shown and never stored."""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.domain.agents import Agent
from agentpane.domain.approvals import Approval
from agentpane.domain.engine import KeyStatus, Settings
from agentpane.domain.health import DoctorReport
from agentpane.domain.projects import Project
from agentpane.domain.recoveries import RecoverySnapshot
from agentpane.domain.sessions import SessionEvent
from agentpane.domain.tasks import TaskCard


@dataclass(frozen=True, slots=True)
class ProjectChanged:
    project: Project


@dataclass(frozen=True, slots=True)
class ProjectRemoved:
    project_id: str


@dataclass(frozen=True, slots=True)
class AgentChanged:
    agent: Agent


@dataclass(frozen=True, slots=True)
class AgentRemoved:
    """No run can be started with it any more; those that it has played keep its name."""

    agent_id: str
    project_id: str


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """The card as it stands. `renumbered`: other cards of the column whose positions changed with it."""

    card: TaskCard
    renumbered: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TaskRemoved:
    """The card is deleted, or archived. `renumbered`: as for TaskChanged."""

    task_id: str
    project_id: str
    renumbered: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SessionAppended:
    task_id: str
    events: tuple[SessionEvent, ...]


@dataclass(frozen=True, slots=True)
class SessionDelta:
    """Text that an agent is writing now. `stream`: "text", "thinking" or "output"; `call_id` names its tool call."""

    task_id: str
    turn: int
    stream: str
    text: str
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunActivity:
    """One line about what a run is doing this moment. `retry_in`: seconds until the next try, while it waits for it."""

    task_id: str
    line: str
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class ApprovalChanged:
    approval: Approval


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    settings: Settings


@dataclass(frozen=True, slots=True)
class KeyChanged:
    status: KeyStatus


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """The doctor looked and found something else than before."""

    report: DoctorReport


@dataclass(frozen=True, slots=True)
class RecoveriesChanged:
    """The recovery bin of a project has gained or lost something: read it anew where it is shown."""

    project_id: str


@dataclass(frozen=True, slots=True)
class RecoveriesExpiring:
    """These snapshots leave the recovery bin within days. Announced once a day, and to the first window that comes."""

    recoveries: tuple[RecoverySnapshot, ...]


@dataclass(frozen=True, slots=True)
class WindowRaised:
    """Somebody started the program again: the newest window comes to the front."""


@dataclass(frozen=True, slots=True)
class EngineStopping:
    reason: str


Event = (
    ProjectChanged
    | ProjectRemoved
    | AgentChanged
    | AgentRemoved
    | TaskChanged
    | TaskRemoved
    | SessionAppended
    | SessionDelta
    | RunActivity
    | ApprovalChanged
    | SettingsChanged
    | KeyChanged
    | HealthChanged
    | RecoveriesChanged
    | RecoveriesExpiring
    | WindowRaised
    | EngineStopping
)


@dataclass(frozen=True, slots=True)
class Published:
    """An event with its number in this engine's life. Numbers grow by one."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Events were missed (a slow client, or another engine's life): read what is shown anew. It goes on at `seq`."""

    seq: int
