"""What the window knows of the engine's world, kept true by its events.

It reads everything at the start and after a gap, and applies events in between. Widgets listen to its signals.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from PySide6.QtCore import QObject, Signal

from agentpane.api import commands, events
from agentpane.domain.agents import Agent
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.engine import KeySource, KeyStatus, Settings
from agentpane.domain.health import DoctorReport
from agentpane.domain.projects import Project
from agentpane.ui.cards.board_model import Activity, BoardModel
from agentpane.ui.desk.link import Link, model_environment


class Known(QObject):
    """Projects, the shown project's cards and agents, approvals, settings and the key's source."""

    projects_changed = Signal()
    current_changed = Signal()
    agents_changed = Signal()
    approvals_changed = Signal(str)  # the task's id; empty: any
    settings_changed = Signal()
    key_changed = Signal()
    health_changed = Signal()
    loaded = Signal()  # everything has been read
    board_loaded = Signal()
    card_moved = Signal(object, object)  # TaskCard, and the Column that it was in

    def __init__(self, link: Link, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._link = link
        self.projects: dict[str, Project] = {}
        self.current: Project | None = None
        self.preferred = ""  # the project to show first, by id
        self.agents: dict[str, Agent] = {}
        self.approvals: dict[str, Approval] = {}
        self.settings = Settings()
        self.key = KeyStatus(KeySource.NONE, "")
        self.health: DoctorReport | None = None  # None: the doctor has not looked yet
        self.board = BoardModel(self)
        self.ready = False
        self.first_start = False
        self._meanwhile: list[events.TaskChanged | events.TaskRemoved] | None = None
        link.published.connect(self.apply)

    async def load(self) -> None:
        """Read everything anew. A first start makes the sample project."""
        do = self._link.do
        projects = await do(commands.ListProjects())
        if not projects:
            self.first_start = True
            await do(commands.PrepareDemo())
            projects = await do(commands.ListProjects())
        self.projects = _by_name(projects)
        self.settings = await do(commands.GetSettings())
        self.key = await do(commands.GetKeyStatus(environment=model_environment()))
        self.approvals = {approval.id: approval for approval in await do(commands.ListApprovals())}
        self.health = await do(commands.GetHealth())
        wanted = self.current.id if self.current is not None else self.preferred
        self.current = self.projects.get(wanted) or next(iter(self.projects.values()), None)
        self.settings_changed.emit()
        self.key_changed.emit()
        self.health_changed.emit()
        self.projects_changed.emit()
        self.approvals_changed.emit("")
        self.current_changed.emit()
        await self.load_board()
        self.ready = True
        self.loaded.emit()

    async def show(self, project_id: str) -> None:
        """Make another project the shown one."""
        project = self.projects.get(project_id)
        if project is None or (self.current is not None and self.current.id == project_id):
            return
        self.current = project
        self.agents = {}
        self.board.fill(())
        self.current_changed.emit()
        await self.load_board()

    async def load_board(self) -> None:
        """Read the shown project's cards and agents. What is announced meanwhile is applied afterwards."""
        project = self.current
        if project is None:
            self.agents = {}
            self.board.fill(())
            self.agents_changed.emit()
            self.board_loaded.emit()
            return
        meanwhile: list[events.TaskChanged | events.TaskRemoved] = []
        self._meanwhile = meanwhile
        try:
            cards = await self._link.do(commands.ListTasks(project.id))
            agents = await self._link.do(commands.ListAgents(project.id))
        finally:
            newest = self._meanwhile is meanwhile
            if newest:
                self._meanwhile = None
        if not newest or self.current is None or self.current.id != project.id:
            return
        self.board.fill(cards)
        self.agents = {agent.id: agent for agent in agents}
        for event in meanwhile:
            self._card_event(event)
        self.agents_changed.emit()
        self.board_loaded.emit()

    def apply(self, event: object) -> None:
        """Take an event of the engine in."""
        match event:
            case events.TaskChanged() | events.TaskRemoved():
                if self._meanwhile is not None:
                    self._meanwhile.append(event)
                else:
                    self._card_event(event)
            case events.RunActivity():
                retry_at = None if event.retry_in is None else time.monotonic() + event.retry_in
                self.board.set_activity(event.task_id, Activity(event.line, retry_at))
            case events.ProjectChanged():
                self.apply_project(event.project)
            case events.ProjectRemoved():
                self.projects.pop(event.project_id, None)
                if self.current is not None and self.current.id == event.project_id:
                    self.current = next(iter(self.projects.values()), None)
                    self.board.fill(())
                    self.current_changed.emit()
                self.projects_changed.emit()
            case events.AgentChanged():
                if self.current is not None and event.agent.project_id == self.current.id:
                    self.agents[event.agent.id] = event.agent
                    self.agents_changed.emit()
            case events.AgentRemoved():
                if self.agents.pop(event.agent_id, None) is not None:
                    self.agents_changed.emit()
            case events.ApprovalChanged():
                self._approval(event.approval)
            case events.SettingsChanged():
                self.take_settings(event.settings)
            case events.KeyChanged():
                self.key = event.status
                self.key_changed.emit()
            case events.HealthChanged():
                self.take_health(event.report)
            case _:
                pass

    def take_health(self, report: DoctorReport) -> None:
        """Take in what the doctor has found."""
        self.health = report
        self.health_changed.emit()

    def take_settings(self, settings: Settings) -> None:
        """Take the person's settings in as they are stored."""
        self.settings = settings
        self.settings_changed.emit()

    def apply_project(self, project: Project) -> None:
        """Take a project's state in; the first one becomes the shown one."""
        self.projects = _by_name((self.projects | {project.id: project}).values())
        if self.current is None or self.current.id == project.id:
            self.current = project
            self.current_changed.emit()
        self.projects_changed.emit()

    def pending(self, task_id: str) -> list[Approval]:
        """The tool calls of a task that wait for a decision, oldest first."""
        waiting = [approval for approval in self.approvals.values() if approval.task_id == task_id]
        return sorted(waiting, key=lambda approval: approval.requested_at)

    def _card_event(self, event: events.TaskChanged | events.TaskRemoved) -> None:
        if self.current is None:
            return
        if isinstance(event, events.TaskRemoved):
            self.board.drop(event.task_id)
            self.board.renumber(event.renumbered)
        elif event.card.project_id == self.current.id:
            known = self.board.card(event.card.id)
            if known is None or event.card.updated_at >= known.updated_at:
                self.board.put(event.card)
            self.board.renumber(event.renumbered)
            if known is not None and known.column is not event.card.column:
                self.card_moved.emit(event.card, known.column)

    def _approval(self, approval: Approval) -> None:
        if approval.state is ApprovalState.PENDING:
            self.approvals[approval.id] = approval
        else:
            self.approvals.pop(approval.id, None)
        self.approvals_changed.emit(approval.task_id)


def _by_name(projects: Iterable[Project]) -> dict[str, Project]:
    """By id, in the order of their names."""
    return {project.id: project for project in sorted(projects, key=lambda project: project.name.lower())}
