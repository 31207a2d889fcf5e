"""A small workbench in memory, behind the real door: tasks, a patch, a stream of events, and answers on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from agentpane.api.command import Command
from agentpane.api.commands import AddTask, BackupDatabase, GetPatch, GetStatus, GetTask, ListProjects, StopEngine
from agentpane.api.events import CatchUp, Event, Published
from agentpane.domain.board import Column
from agentpane.domain.engine import EngineStatus
from agentpane.domain.ids import TaskId
from agentpane.domain.review import PatchChunk
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.bus import EventBus
from tests.bare import bare_card, bare_task

R = TypeVar("R")


def make_card(number: int, title: str = "Fix it", column: Column = Column.BACKLOG) -> TaskCard:
    return bare_card(id=TaskId(f"task{number}"), title=title, column=column, position=number)


def make_task(card: TaskCard, description: str = "") -> Task:
    return bare_task(card, description=description)


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
