"""A finding together with what would mend it; nothing here looks at anything by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpane.db.health import Need
from agentpane.domain.health import Finding, finding_id
from agentpane.domain.ids import ProjectId, TaskId, WorktreeId
from agentpane.domain.projects import Project
from agentpane.domain.worktrees import WorktreeRow
from agentpane.worktrees import ListedWorktree, Repository
from agentpane.worktrees.inspection import MarkedRecord

Mend = Callable[[], Awaitable[str]]  # says what it did; raises AgentPaneError when it left everything as it was


@dataclass(frozen=True, slots=True)
class Ailment:
    """mend: None when only a person can do something about it. task_id: whose lock is held while it is mended."""

    finding: Finding
    mend: Mend | None = None
    task_id: TaskId | None = None


@dataclass(frozen=True, slots=True)
class Ward:
    """A project's repository as it is, next to what the rows say. refs: branches and refs of ours, with their objects.

    rows: of every worktree that it ever had. beside: of those that other projects had in the same repository.
    elsewhere: folders that belong to other projects. marked: git's records that bear our mark.
    """

    project: Project
    on_board: bool
    repository: Repository
    root: Path
    listed: tuple[ListedWorktree, ...]
    rows: tuple[WorktreeRow, ...]
    refs: Mapping[str, str]
    needs: Mapping[WorktreeId, Need]
    elsewhere: frozenset[str]
    beside: tuple[WorktreeRow, ...]
    marked: tuple[MarkedRecord, ...]


def ailment(
    code: str,
    what: str,
    where: str,
    fix: str = "",
    *,
    about: tuple[str, ...] = (),
    mend: Mend | None = None,
    size: int | None = None,
    notice: bool = False,
    project: ProjectId | None = None,
    task_id: TaskId | None = None,
) -> Ailment:
    """about: what else the finding is about; when that changes it is another finding."""
    name = finding_id(str(code), where, *about)
    found = Finding(str(code), what, where, fix, name, size, mend is not None, notice, project)
    return Ailment(found, mend, task_id)
