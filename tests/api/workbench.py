"""A small workbench in memory, behind the real door: tasks, a patch, a stream of events, and answers on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from agentpane.api.command import Command
from agentpane.api.commands import AddTask, BackupDatabase, GetPatch, GetStatus, GetTask, ListProjects, StopEngine
from agentpane.api.events import CatchUp, Event, Published
from agentpane.domain.board import Column
from agentpane.domain.engine import EngineStatus
from agentpane.domain.ids import ProjectId, TaskId
from agentpane.domain.review import PatchChunk
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.bus import EventBus

R = TypeVar("R")

MOMENT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def make_card(number: int, title: str = "Fix it", column: Column = Column.BACKLOG) -> TaskCard:
    return TaskCard(
        id=TaskId(f"task{number}"),
        project_id=ProjectId("project1"),
        title=title,
        labels=(),
        column=column,
        position=number,
        agent_id=None,
        agent=None,
        run=None,
        files_changed=None,
        lines_added=None,
        lines_removed=None,
        rejection_count=0,
        conflicts=(),
        code=None,
        approvals_pending=0,
        updated_at=MOMENT,
    )


def make_task(card: TaskCard, description: str = "") -> Task:
    return Task(
        card=card,
        description=description,
        branch=None,
        base_branch="main",
        base_sha=None,
        worktree=None,
        snapshot=None,
        merge_commit=None,
        rejection_reason=None,
        session_id=None,
        created_at=MOMENT,
        approved_at=None,
        approved_by=None,
        runs=(),
    )


class MemoryWorkbench:
    """AddTask waits for `gate` when there is one; ListProjects fails as a bug would."""

    def __init__(self, keep: int = 1_000) -> None:
        self.bus = EventBus(keep)
        self.tasks: dict[str, Task] = {}
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.patch = b""
        self.runs = 0
        self.stopped = asyncio.Event()

    def publish(self, *events: Event) -> None:
        for event in events:
            self.bus.publish(event)

    async def do(self, command: Command[R]) -> R:
        answer: Any = await self._answer(command)
        result: R = answer
        return result

    def events(self, after: int | None = None) -> AsyncIterator[Published | CatchUp]:
        return self.bus.read(after)

    async def _answer(self, command: Command[Any]) -> Any:
        match command:
            case AddTask():
                return await self._add(command)
            case GetTask(task=ref):
                if ref not in self.tasks:
                    raise AgentPaneError(ErrorCode.TASK_NOT_FOUND, f"No task {ref}.", "Look.", {"task": ref, "n": 1})
                return self.tasks[ref]
            case GetPatch():
                return PatchChunk(self.patch, None)
            case BackupDatabase(file=file):
                return file
            case GetStatus():
                return EngineStatus(True, 1, "0", 0, self.runs)
            case StopEngine():
                self.stopped.set()
                return EngineStatus(False, 1, "0", 0, self.runs)
            case ListProjects():
                raise ZeroDivisionError("nobody foresaw this")
        raise AgentPaneError(ErrorCode.VALIDATION_ERROR, f"{type(command).__name__} is not played here")

    async def _add(self, command: AddTask) -> Task:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        task = make_task(make_card(len(self.tasks) + 1, command.title), command.description)
        self.tasks[task.card.id] = task
        return task
