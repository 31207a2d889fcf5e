"""Waiting for a run: its events go by until its card waits for a person."""

from __future__ import annotations

import asyncio

from agentpane.api.client import Client, Watch
from agentpane.api.command import Command
from agentpane.api.commands import GetProject, GetTask, ListTasks, ReadSession
from agentpane.api.events import CatchUp, Published, SessionAppended, TaskChanged
from agentpane.cli import shapes, words
from agentpane.cli.exits import AGENT, DETACHED, DONE
from agentpane.cli.pane import Pane, dim
from agentpane.clock import SystemClock
from agentpane.domain.board import Column
from agentpane.domain.runs import ACTIVE, RunStatus
from agentpane.domain.sessions import SessionEvent
from agentpane.domain.tasks import Task, TaskCard
from agentpane.errors import AgentPaneError, ErrorCode

PAGE = 200


class DetachedError(Exception):
    """Somebody pressed Ctrl-C while the run goes on."""

    def __init__(self, task: Task) -> None:
        super().__init__("detached")
        self.task = task


def start_and_wait(pane: Pane, command: Command[Task]) -> None:
    """Give the command, wait for what comes of it, print it, and set the exit status."""
    try:
        task = asyncio.run(Waiting(pane).run(command))
        pane.status = DONE if task.card.column in {Column.WAITING_APPROVAL, Column.VERIFIED} else AGENT
        text = words.outcome(task)
    except DetachedError as detached:
        task = detached.task
        pane.status = DETACHED
        text = f"Detached; the run goes on. See it: agentpane session show {task.card.id} --follow"
    if pane.as_json:
        pane.document(shapes.task(task))
    elif pane.as_lines:
        pane.note(text)
    else:
        pane.say(text)


def settled(card: TaskCard) -> bool:
    """Whether a card waits for a person rather than for its run."""
    if card.column is not Column.IN_PROGRESS or card.run is None:
        return True
    return card.run.status not in {RunStatus.QUEUED, *ACTIVE}


class Waiting:
    """Follows one task over the engine's events, and over the engine's death."""

    def __init__(self, pane: Pane) -> None:
        self._pane = pane
        self._told: int | None = None  # the number of the last event that was told; None before the first

    async def run(self, command: Command[Task]) -> Task:
        """Returns the task as it is when its run has settled. Raises DetachedError on Ctrl-C."""
        client = await self._pane.connect()
        try:
            watch = client.events()  # before the command, so that nothing is missed
            task = await client.do(command)
            await self._tell_queue(client, task.card)
            while True:
                try:
                    return await self._follow(client, watch, task)
                except AgentPaneError as error:
                    if error.code is not ErrorCode.ENGINE_UNREACHABLE:
                        raise
                self._pane.note("The engine has ended. It is started again.")
                await client.close()
                client = await self._pane.connect()
                watch = client.events()
                task = await client.do(GetTask(task.card.id))
        finally:
            await client.close()

    async def _follow(self, client: Client, watch: Watch, task: Task) -> Task:
        try:
            if self._told is not None:
                await self._catch_up(client, task)
            while watch.waiting or not settled(task.card):
                task = await self._take(client, await anext(watch), task)
            await self._catch_up(client, task)
        except asyncio.CancelledError:
            raise DetachedError(task) from None
        return task

    async def _take(self, client: Client, item: Published | CatchUp, task: Task) -> Task:
        match item:
            case Published(event=SessionAppended(task_id=name, events=events)) if name == task.card.id:
                self._tell_new(events)
            case Published(event=TaskChanged(card=card)) if card.id == task.card.id and settled(card):
                return await client.do(GetTask(task.card.id))
            case CatchUp():
                await self._catch_up(client, task)
                return await client.do(GetTask(task.card.id))
        return task

    async def _tell_queue(self, client: Client, card: TaskCard) -> None:
        """Say why a run has to wait for a place, if it has to."""
        if card.run is None or card.run.queue_place is None:
            return
        project = await client.do(GetProject(card.project_id))
        cards = await client.do(ListTasks(card.project_id))
        if told := words.queue(card, cards, project, SystemClock().now()):
            self._pane.note(told)

    async def _catch_up(self, client: Client, task: Task) -> None:
        """Tell what was stored and not announced to us."""
        if task.session_id is None or not task.runs:
            return
        only = task.runs[-1].id if self._told is None else None  # nothing told yet: this run's events, from its start
        after = self._told or 0
        while page := await client.do(ReadSession(task.card.id, after, PAGE)):
            after = page[-1].seq
            self._tell_new(tuple(event for event in page if only in (None, event.run_id)))

    def _tell_new(self, events: tuple[SessionEvent, ...]) -> None:
        for event in events:
            if self._told is None or event.seq > self._told:
                self._told = event.seq
                self._tell(event)

    def _tell(self, event: SessionEvent) -> None:
        if self._pane.as_lines:
            self._pane.document(shapes.event(event))
        elif self._pane.for_people and (text := words.progress(event)):
            self._pane.note(dim(text))
