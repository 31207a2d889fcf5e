"""Cards: made, changed, put in order. A move that means more than order is handed to whoever tells that story."""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api import commands as c
from agentpane.api.events import TaskRemoved
from agentpane.db import agents, card_rows, merges, projects, tasks
from agentpane.domain.board import BoardEvent, Column, after, check_drag, invalid_transition
from agentpane.domain.limits import TASK_DESCRIPTION, TASK_TITLE, check_labels, check_line, check_text, invalid
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs.cancelling import Cancelling
from agentpane.orchestrator.runs.dispatch import Dispatcher


@dataclass(frozen=True, slots=True)
class Board:
    """The board of every project."""

    core: Core
    dispatcher: Dispatcher
    cancelling: Cancelling

    async def add(self, command: c.AddTask) -> Task:
        """Make a card at the top of the backlog, and start it if wanted."""
        title = check_line("title", command.title, TASK_TITLE)
        description = check_text("description", command.description, TASK_DESCRIPTION, least=0)
        labels = check_labels(command.labels)
        if command.start:
            await self.dispatcher.check(command.project, command.agent, command.environment)

        def store(connection: tasks.Connection) -> tuple[Task, tuple[tuple[str, int], ...]]:
            project_id = projects.resolve(connection, command.project)
            agent_id = agents.resolve(connection, command.agent, project_id) if command.agent else None
            new = tasks.NewTask(project_id, title, description, labels, agent_id)
            made = tasks.create(connection, new, self.core.clock.now())
            moved = tasks.move(connection, made.card.id, Column.BACKLOG, 0, self.core.clock.now())
            return tasks.get(connection, made.card.id), moved.renumbered

        task, renumbered = await self.core.db.write(store)
        await self.core.announce_task(task.card.id, renumbered)
        if command.start:
            start = c.StartRun(task.card.id, command.agent, environment=command.environment)
            try:
                return await self.dispatcher.start(start)
            except AgentPaneError as error:
                raise _made_but_not_started(error, task) from error
        return task

    async def cards(self, command: c.ListTasks) -> tuple[TaskCard, ...]:
        return await self.core.db.read(
            lambda db: card_rows.of_project(
                db, projects.resolve(db, command.project), command.column, archived=command.archived
            )
        )

    async def get(self, command: c.GetTask) -> Task:
        return await self.core.task(command.task)

    async def edit(self, command: c.EditTask) -> Task:
        """Change a card. Title and description are what an agent was given, so they change in the backlog only."""
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            return await self._edit(await self.core.task_on_board(task.card.id), command)

    async def _edit(self, task: Task, command: c.EditTask) -> Task:
        if (command.title is not None or command.description is not None) and task.card.column is not Column.BACKLOG:
            raise AgentPaneError(
                ErrorCode.TASK_NOT_IN_COLUMN,
                "The title and description can be changed only while the card is in the backlog.",
                hint="Send the agent a message, or reject its diff with a reason. Nothing has changed.",
            )
        changes: dict[str, object] = {}
        if command.title is not None:
            changes["title"] = check_line("title", command.title, TASK_TITLE)
        if command.description is not None:
            changes["description"] = check_text("description", command.description, TASK_DESCRIPTION, least=0)
        if command.labels is not None:
            changes["labels"] = check_labels(command.labels)

        def store(connection: tasks.Connection) -> Task:
            if command.agent is not None:
                changes["agent_id"] = agents.resolve(connection, command.agent, task.card.project_id)
            tasks.set_fields(connection, task.card.id, self.core.clock.now(), **changes)
            return tasks.get(connection, task.card.id)

        edited = await self.core.db.write(store)
        await self.core.announce_task(task.card.id, counts=False)
        return edited

    async def delete(self, command: c.DeleteTask) -> Task:
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            return await self._delete(await self.core.task_on_board(task.card.id))

    async def _delete(self, task: Task) -> Task:
        if task.card.column is not Column.BACKLOG or task.runs:
            raise AgentPaneError(
                ErrorCode.TASK_NOT_IN_COLUMN,
                "Only a card of the backlog that was never run can be deleted; this one has a history.",
                hint=f"Archive it: agentpane task archive {task.card.id}. Nothing has changed.",
            )
        renumbered = await self.core.db.write(tasks.delete, task.card.id, self.core.clock.now())
        self.core.bus.publish(TaskRemoved(task.card.id, task.card.project_id, renumbered))
        await self.core.announce_project(task.card.project_id)
        return task

    async def archive(self, command: c.ArchiveTask) -> Task:
        """See `commands.ArchiveTask`."""
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            task = await self.core.task_on_board(task.card.id)
            after(task.card.column, BoardEvent.ARCHIVE)
            if any(merge.task_id == task.card.id for merge in await self.core.db.read(merges.unsettled)):
                raise invalid_transition(
                    task.card.column,
                    "Its merge, or the undoing of it, was cut off before and is not settled.",
                    "The Worktrees page says what it waits for, as does: agentpane doctor.",
                )
            if task.is_restored:
                raise invalid_transition(
                    task.card.column,
                    f"What was restored lies in its worktree {task.worktree}.",
                    "Run the card, or take the worktree away on the Worktrees page, which keeps what is in it.",
                )
            renumbered = await self.core.db.write(tasks.archive, task.card.id, self.core.clock.now())
            await self.core.announce_task(task.card.id, renumbered)
            return await self.core.task(task.card.id)

    async def unarchive(self, command: c.UnarchiveTask) -> Task:
        """See `commands.UnarchiveTask`."""
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            task = await self.core.task(task.card.id)
            if task.card.archived_at is None:
                return task
            renumbered = await self.core.db.write(tasks.unarchive, task.card.id, self.core.clock.now())
            await self.core.announce_task(task.card.id, renumbered)
            return await self.core.task(task.card.id)

    async def move(self, command: c.MoveTask) -> Task:
        """Carry out a drag. Raises TASK_INVALID_TRANSITION when the rules forbid it; then nothing has moved."""
        if command.position is not None and command.position < 0:
            raise invalid("position", "A position is 0 (the top) or greater.")
        task = await self.core.task_on_board(command.task)
        source = task.card.column
        check_drag(source, command.column)
        if source == command.column:
            async with self.core.task_locks.of(task.card.id):
                task = await self.core.task_on_board(task.card.id)
                if task.card.column is not command.column:
                    raise invalid_transition(task.card.column, "The card has moved on meanwhile.")
                return await self._reorder(task, command.position)
        if command.column is Column.IN_PROGRESS:
            start = c.StartRun(task.card.id, environment=command.environment)
            return await self.dispatcher.start(start, position=command.position)
        return await self.cancelling.cancel(c.CancelTask(task.card.id, command.confirmed), position=command.position)

    async def _reorder(self, task: Task, position: int | None) -> Task:
        moved = await self.core.db.write(tasks.move, task.card.id, task.card.column, position, self.core.clock.now())
        await self.core.announce_task(task.card.id, moved.renumbered, counts=False)
        return await self.core.task(task.card.id)


def _made_but_not_started(error: AgentPaneError, task: Task) -> AgentPaneError:
    hint = f"{error.hint} The card was made and is in the backlog: {task.card.id}".strip()
    return AgentPaneError(error.code, error.message, hint, {**error.details, "task_id": task.card.id})
