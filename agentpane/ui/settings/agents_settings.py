"""The project's agents, and what this machine has to think with."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QVBoxLayout

from agentpane.api import commands
from agentpane.domain.agents import Agent, BackendName, DetectedBackend, ModelChoice
from agentpane.ui.desk.desk import Desk
from agentpane.ui.desk.link import model_environment
from agentpane.ui.parts.controls import Button, Chip, ElidedLabel, Frame, IconLabel, Label, clear, row, stack
from agentpane.ui.parts.plain import one_line
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.settings.agent_sheet import AgentForm, AgentSheet, kind_title
from agentpane.ui.settings.settings_parts import Section


class AgentsSection(Section):
    """The project's agents, each with what thinks for it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            self.tr("Agents"),
            self.tr("An agent is a name for what thinks, what it may do in this project, and how much it may use."),
        )
        self._desk = desk
        self._models: tuple[ModelChoice, ...] = ()
        self._detected: tuple[DetectedBackend, ...] = ()
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        self.box.addLayout(self._list)
        self.add_button = Button(self.tr("Add agent"), icon_name="plus", name="settings.agent.add", pressed=self._add)
        self.box.addLayout(row(None, self.add_button))

    def refresh(self) -> None:
        self.setVisible(self._desk.known.current is not None)
        clear(self._list)
        for agent in sorted(self._desk.known.agents.values(), key=lambda agent: not agent.is_default):
            self._list.addWidget(self._line(agent))

    def show_models(self, models: tuple[ModelChoice, ...]) -> None:
        self._models = models

    def show_detected(self, detected: tuple[DetectedBackend, ...]) -> None:
        self._detected = detected

    def _line(self, agent: Agent) -> Frame:
        box = Frame("inset", across=True, margin=10)
        name = Label(agent.name, "strong")
        about = ElidedLabel(self._words(agent), "muted")
        line = row(name, about)
        line.setStretchFactor(about, 1)
        box.box.addLayout(line, 1)
        if agent.config.plan:
            box.box.addWidget(Chip(self.tr("Plans first")))
        if agent.is_default:
            box.box.addWidget(Chip(self.tr("Default")))
        if agent.source is not None:
            chip = Chip(self.tr("From a file"))
            chip.setToolTip(one_line(agent.source))
            box.box.addWidget(chip)
        elif agent.backend is not BackendName.RECORDED:
            edit = Button(
                self.tr("Edit"), kind="quiet", icon_name="edit", name=f"settings.agent.{agent.id}",
                tip=self.tr("Edit {0}").format(agent.name), pressed=lambda: self._edit(agent),
            )  # fmt: skip
            box.box.addWidget(edit)
        return box

    def _words(self, agent: Agent) -> str:
        match agent.backend:
            case BackendName.RECORDED:
                return self.tr("recorded replies")
            case BackendName.ANTHROPIC:
                return agent.model
            case BackendName.COMMAND:
                return one_line(agent.config.command or "")
            case BackendName.ACP:
                known = next((one for one in self._detected if one.preset == agent.config.preset), None)
                title = (
                    kind_title(known, self._detected)
                    if known and agent.config.preset
                    else one_line(agent.config.command or "")
                )
                return "  ·  ".join(part for part in (title, agent.config.model) if part)
            case _:
                return "  ·  ".join(part for part in (self.tr("Claude Code"), agent.config.model) if part)

    def _add(self) -> None:
        if self._desk.known.current is not None and open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._ask(None), self.tr("Adding the agent"))

    def _edit(self, agent: Agent) -> None:
        if open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._ask(agent), self.tr("Saving the agent"))

    async def _ask(self, agent: Agent | None) -> None:
        project = self._desk.known.current
        if project is None:
            return
        if not self._detected:
            self._detected = await self._desk.link.do(commands.DetectBackends(model_environment()))
        sheet = AgentSheet(self._desk.window, self._models, self._detected, agent)
        sheet.open()
        form = await sheet.answer()
        if not isinstance(form, AgentForm):
            return
        if agent is None:
            added = commands.AddAgent(project.id, form.name, form.backend, config=form.config, default=form.default)
            await self._desk.link.do(added)
        else:
            await self._desk.link.do(commands.EditAgent(agent.id, form.name, form.config, form.default or None))
        self._desk.toasts.say(self.tr("Agent saved"))


class MachineSection(Section):
    """What of the known agents this machine has, with versions and whether they are signed in."""

    def __init__(self, look_again: Callable[[], None]) -> None:
        super().__init__(
            self.tr("On this machine"), self.tr("Found by looking at files and asking programs for their version only.")
        )
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        self.box.addLayout(self._list)
        self.again = Button(self.tr("Look again"), icon_name="retry", name="settings.detect", pressed=look_again)
        self.box.addLayout(row(None, self.again))

    def show_detected(self, detected: tuple[DetectedBackend, ...]) -> None:
        clear(self._list)
        for one in detected:
            if one.backend is not BackendName.RECORDED:
                self._list.addWidget(self._line(one, kind_title(one, detected)))

    def _line(self, one: DetectedBackend, named: str) -> Frame:
        box = Frame("inset", across=True, margin=10)
        box.setObjectName(f"settings.detected.{one.backend.value}.{one.preset or ''}")
        icon, token = ("check-circle", "success") if one.usable else ("info", "muted")
        title = row(Label(named, "strong"), Label(one.version or "", "muted"), None)
        note = Label(one.note, "small", wrap=True)
        box.box.addWidget(IconLabel(icon, token))
        box.box.addLayout(stack(title, note, spacing=2), 1)
        if one.signed_in is not None:
            box.box.addWidget(Chip(self.tr("Signed in") if one.signed_in else self.tr("Not signed in")))
        box.setAccessibleName(f"{named}, {one.version or ''}, {one.note}")
        return box
