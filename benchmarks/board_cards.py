"""Many cards for the window's rows, and a workbench that has nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from agentpane.api import commands as c
from agentpane.api.command import Command
from agentpane.api.events import CatchUp, Published
from agentpane.domain.board import Column
from agentpane.domain.engine import KeySource, KeyStatus, Settings
from agentpane.domain.ids import AgentId, ProjectId, TaskId
from agentpane.domain.projects import Project, ProjectConfig
from agentpane.domain.runs import RunStatus
from agentpane.domain.tasks import RunBrief, TaskCard

R = TypeVar("R")
THEN = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)
PROJECT = Project(
    ProjectId("p"), "bench", "/bench", "", "main", True, (), False, 3, ProjectConfig(), THEN
)  # fmt: skip


def cards(number: int) -> tuple[TaskCard, ...]:
    """So many cards, spread over the four columns."""
    columns = list(Column)
    return tuple(card(at, columns[at % 4], at // 4) for at in range(number))


def card(at: int, column: Column, position: int) -> TaskCard:
    status = RunStatus.RUNNING if column is Column.IN_PROGRESS else RunStatus.COMPLETED
    run = RunBrief(status, at % 50, 50, 0.25, THEN, THEN, None, None, "A", None, None)
    return TaskCard(
        id=TaskId(f"t{at}"),
        project_id=PROJECT.id,
        title=f"Card {at}: a piece of work whose title takes two lines on the board of a usual window",
        labels=("bug", "docs"),
        column=column,
        position=position,
        agent_id=AgentId("a"),
        agent="default",
        run=None if column is Column.BACKLOG else run,
        files_changed=3 if column is Column.WAITING_APPROVAL else None,
        lines_added=120,
        lines_removed=8,
        rejection_count=0,
        conflicts=(),
        code=None,
        approvals_pending=0,
        updated_at=THEN,
    )


class StillBench:
    """Answers what a window asks at its start; nothing ever happens."""

    def __init__(self, number: int) -> None:
        self._answers: dict[type, object] = {
            c.ListProjects: (PROJECT,),
            c.GetSettings: Settings(theme="dark"),
            c.GetKeyStatus: KeyStatus(KeySource.KEYRING, ""),
            c.ListApprovals: (),
            c.ListTasks: cards(number),
            c.ListAgents: (),
        }

    async def do(self, command: Command[R]) -> R:
        return cast(Any, self._answers[type(command)])  # type: ignore[no-any-return]

    async def events(self, after: int | None = None) -> AsyncIterator[Published | CatchUp]:
        await asyncio.Event().wait()
        yield CatchUp(0)

    async def close(self) -> None:
        return None
