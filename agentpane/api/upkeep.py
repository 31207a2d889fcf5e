"""What a client can ask of the engine about what was said, spent and done, and about the engine itself.

References are those of `commands`, in which these commands are found too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agentpane.api.command import Command, Environment
from agentpane.domain.audit import AuditEntry, AuditVerdict
from agentpane.domain.budgets import Standing
from agentpane.domain.costs import CostGroup, CostLine
from agentpane.domain.demo import DemoReady
from agentpane.domain.engine import EngineStatus, KeyStatus, Settings
from agentpane.domain.review import PatchChunk
from agentpane.domain.sessions import SessionEvent

# Sessions, money and audit


@dataclass(frozen=True, slots=True)
class ReadSession(Command[tuple[SessionEvent, ...]]):
    """At most `limit` events after number `after`, in order."""

    task: str
    after: int = 0
    limit: int = 500


@dataclass(frozen=True, slots=True)
class ReadOutput(Command[PatchChunk]):
    """A long output that an event refers to by `blob`, from `offset` on, at most 1 MiB of it."""

    task: str
    blob: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class ListCosts(Command[tuple[CostLine, ...]]):
    """What models have cost, summed by `group`: of one project or of all, of the last `days` days or of all time."""

    group: CostGroup
    project: str | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class ListBudgets(Command[tuple[Standing, ...]]):
    """Every budget that holds for a card's newest run, and how it stands."""

    task: str


@dataclass(frozen=True, slots=True)
class ListAudit(Command[tuple[AuditEntry, ...]]):
    """At most `limit` entries after number `after`, in order."""

    project: str
    after: int = 0
    limit: int = 500


@dataclass(frozen=True, slots=True)
class VerifyAudit(Command[AuditVerdict]):
    pass


# The engine itself


@dataclass(frozen=True, slots=True)
class GetStatus(Command[EngineStatus]):
    pass


@dataclass(frozen=True, slots=True)
class StopEngine(Command[EngineStatus]):
    """Pause the runs and end the engine; `now`: end it at once."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class CheckDatabase(Command[tuple[str, ...]]):
    """What is wrong with the database; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class BackupDatabase(Command[str]):
    """Copy the database to `file` (which must not exist), consistent at one moment. Returns the absolute path."""

    file: str


@dataclass(frozen=True, slots=True)
class RestoreDatabase(Command[str]):
    """Put a backup in the database's place; what was there is kept in the backups folder. Returns where."""

    file: str


@dataclass(frozen=True, slots=True)
class PrepareDemo(Command[DemoReady]):
    """Make the sample project if it is not there, and say which card the demo plays."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class GetSettings(Command[Settings]):
    pass


@dataclass(frozen=True, slots=True)
class ChangeSettings(Command[Settings]):
    settings: Settings


@dataclass(frozen=True, slots=True)
class GetKeyStatus(Command[KeyStatus]):
    environment: Environment = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreKey(Command[KeyStatus]):
    """Keep the key in the system keyring, else in a file of mode 0600. An empty key is forgotten."""

    key: str


@dataclass(frozen=True, slots=True)
class RaiseWindow(Command[int]):
    """Bring the newest window to the front. Returns how many windows are connected."""
