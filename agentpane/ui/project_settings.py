"""The shown project's settings and its agents."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QLineEdit, QVBoxLayout, QWidget

from agentpane.api import commands
from agentpane.domain.agents import Agent, AgentConfig, BackendName, ModelChoice
from agentpane.domain.limits import CONCURRENCY
from agentpane.domain.policy import Policy
from agentpane.domain.projects import DEFAULT_TOOLS, Project
from agentpane.domain.sandbox import NetworkMode
from agentpane.ui.ask_sheets import ConfirmSheet
from agentpane.ui.controls import Button, Chip, ElidedLabel, Frame, Label, clear, row, stack
from agentpane.ui.desk import Desk
from agentpane.ui.fields import ChoiceBox, NumberBox
from agentpane.ui.overriding import override
from agentpane.ui.settings_parts import Section, chosen_model, fill_models
from agentpane.ui.sheet import Sheet, open_sheet
from agentpane.ui.task_sheet import TextArea


class ProjectSection(Section):
    """How worktrees of the project are made, and what its agents may do."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(self.tr("Project"), "")
        self._desk = desk
        self._shown: Project | None = None
        self.name = self._line("settings.project.name")
        self.add_row(self.tr("Name"), self.name)
        self.path = ElidedLabel("", "muted", Qt.TextElideMode.ElideMiddle)
        self.add_row(self.tr("Folder"), self.path)
        self.base = Label("", "muted")
        self.add_row(self.tr("Base branch"), self.base)
        self.concurrency = NumberBox()
        self.concurrency.setObjectName("settings.project.concurrency")
        self.concurrency.setRange(CONCURRENCY.start, CONCURRENCY.stop - 1)
        self.concurrency.setMaximumWidth(110)
        self.add_row(self.tr("Agents at once"), self.concurrency)
        self.policy = ChoiceBox()
        self.policy.setObjectName("settings.project.policy")
        for policy, words in (
            (Policy.CAREFUL, self.tr("Careful: asks for every write and command")),
            (Policy.BALANCED, self.tr("Balanced: edits are free, commands are free in the sandbox")),
            (Policy.FREE, self.tr("Free: everything inside the sandbox")),
            (Policy.READ_ONLY, self.tr("Read only: writes and commands are denied")),
        ):
            self.policy.addItem(words, policy.value)
        self.add_row(self.tr("Policy"), self.policy)
        self.network = QCheckBox(self.tr("Commands in the sandbox may use the network"))
        self.network.setObjectName("settings.project.network")
        self.add_row("", self.network)
        self.env_file = self._line("settings.project.env_file", self.tr(".env"))
        self.add_row(self.tr("Environment file"), self.env_file)
        self.copy_files = TextArea("settings.project.copy_files", self.tr("Files to copy"), self.tr("one path a line"))
        self.copy_files.setFixedHeight(74)
        self.add_row(self.tr("Files to copy"), self.copy_files)
        self.install = self._line("settings.project.install", self.tr("pip install -e .   (at most 5 minutes)"))
        self.add_row(self.tr("Install command"), self.install)
        self.init = self._line("settings.project.init", self.tr("./prepare   (at most 10 minutes)"))
        self.add_row(self.tr("Init script"), self.init)
        self.remove_button = Button(
            self.tr("Remove project"), kind="danger", name="settings.project.remove", pressed=self._remove
        )
        self.save_button = Button(self.tr("Save"), kind="primary", name="settings.project.save", pressed=self.save)
        self.save_button.describe(self.tr("Save the project's settings"))
        self.box.addLayout(row(self.remove_button, None, self.save_button))

    def refresh(self) -> None:
        """Show the project, unless the person is changing the very same."""
        project = self._desk.known.current
        self.setVisible(project is not None)
        if project is None or (self._shown is not None and same_settings(self._shown, project)):
            return
        self._shown = project
        config = project.config
        self.name_section(self.tr("Project {0}").format(project.name))
        self.name.setText(project.name)
        self.path.show_text(project.path)
        self.base.show_text(project.base_branch)
        self.concurrency.setValue(project.max_concurrent_agents)
        self.policy.setCurrentIndex(max(self.policy.findData(config.policy), 0))
        self.network.setChecked(config.network == NetworkMode.ALL)
        self.env_file.setText(config.env_file or "")
        self.copy_files.setPlainText("\n".join(config.copy_files))
        self.install.setText(config.install_command or "")
        self.init.setText(config.init_script or "")

    def save(self) -> None:
        project = self._desk.known.current
        if project is None:
            return
        config = replace(
            project.config,
            env_file=self.env_file.text().strip() or None,
            copy_files=tuple(line.strip() for line in self.copy_files.toPlainText().splitlines() if line.strip()),
            install_command=self.install.text().strip() or None,
            init_script=self.init.text().strip() or None,
            policy=str(self.policy.currentData()),
            network=(NetworkMode.ALL if self.network.isChecked() else NetworkMode.NONE).value,
        )
        command = commands.EditProject(
            project.id, name=self.name.text(), max_concurrent_agents=self.concurrency.value(), config=config
        )
        self.store(self._desk, command, self.tr("Project saved"))

    def _line(self, name: str, placeholder: str = "") -> QLineEdit:
        field = QLineEdit()
        field.setObjectName(name)
        field.setPlaceholderText(placeholder)
        return field

    def _remove(self) -> None:
        if self._desk.known.current is not None and open_sheet(self._desk.window) is None:
            self._desk.jobs.start(self._ask_to_remove(self._desk.known.current), self.tr("Removing the project"))

    async def _ask_to_remove(self, project: Project) -> None:
        sheet = ConfirmSheet(
            self._desk.window,
            self.tr("Remove {0} from AgentPane?").format(project.name),
            self.tr(
                "The folder and its branches stay as they are. Worktrees that AgentPane made are removed after a"
                " recovery snapshot of each. The history is kept."
            ),
            self.tr("Remove"),
        )
        sheet.open()
        if await sheet.answer() is True:
            await self._desk.link.do(commands.RemoveProject(project.id))
            self._desk.toasts.say(self.tr("Removed {0}").format(project.name))


class AgentsSection(Section):
    """The project's agents, each with its model."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            self.tr("Agents"), self.tr("An agent is a name for a model and what it may do in this project.")
        )
        self._desk = desk
        self._models: tuple[ModelChoice, ...] = ()
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

    def _line(self, agent: Agent) -> Frame:
        box = Frame("inset", across=True, margin=10)
        name = Label(agent.name, "strong")
        model = ElidedLabel(
            agent.model if agent.backend is not BackendName.RECORDED else self.tr("recorded replies"), "muted"
        )
        line = row(name, model)
        line.setStretchFactor(model, 1)
        box.box.addLayout(line, 1)
        if agent.is_default:
            box.box.addWidget(Chip(self.tr("Default")))
        if agent.backend is not BackendName.RECORDED:
            edit = Button(
                self.tr("Edit"), kind="quiet", icon_name="edit", name=f"settings.agent.{agent.id}",
                tip=self.tr("Edit {0}").format(agent.name), pressed=lambda: self._edit(agent),
            )  # fmt: skip
            box.box.addWidget(edit)
        return box

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
        sheet = AgentSheet(self._desk.window, self._models, agent)
        sheet.open()
        form = await sheet.answer()
        if not isinstance(form, tuple):
            return
        name, config, default = form
        if agent is None:
            command = commands.AddAgent(project.id, name, BackendName.ANTHROPIC, config=config, default=default)
            await self._desk.link.do(command)
        else:
            await self._desk.link.do(commands.EditAgent(agent.id, name, config, default or None))
        self._desk.toasts.say(self.tr("Agent saved"))


class AgentSheet(Sheet):
    """Name, model, turns and tools of an agent. Finishes with (name, AgentConfig, default)."""

    def __init__(self, host: QWidget, models: tuple[ModelChoice, ...], agent: Agent | None) -> None:
        title = self.tr("Edit agent") if agent else self.tr("Add agent")
        super().__init__(host, title, "agent_sheet", width=560)
        self._agent = agent
        config = agent.config if agent else AgentConfig()
        self.name = QLineEdit(agent.name if agent else "")
        self.name.setObjectName("agent_sheet.name")
        self.name.setAccessibleName(self.tr("Name"))
        self.name.setMaxLength(100)
        self.model = ChoiceBox()
        self.model.setObjectName("agent_sheet.model")
        self.model.setAccessibleName(self.tr("Model"))
        self.model.setEditable(True)
        fill_models(self.model, models, config.model or "")
        field = self.model.lineEdit()
        assert field is not None
        field.setAccessibleName(self.tr("Model"))
        field.setPlaceholderText(self.tr("As the project has it"))
        self.turns = NumberBox()
        self.turns.setObjectName("agent_sheet.turns")
        self.turns.setAccessibleName(self.tr("Turn limit"))
        self.turns.setRange(0, 1_000)
        self.turns.setSpecialValueText(self.tr("As the project has it"))
        self.turns.setValue(config.max_turns or 0)
        self.prompt = TextArea(
            "agent_sheet.prompt", self.tr("Instructions"), self.tr("What this agent should always keep to")
        )
        self.prompt.setPlainText(config.system_prompt or "")
        self.prompt.setFixedHeight(90)
        self.tools = {tool: QCheckBox(tool) for tool in DEFAULT_TOOLS}
        self.default = QCheckBox(self.tr("Default agent of this project"))
        self.default.setObjectName("agent_sheet.default")
        self.default.setChecked(agent.is_default if agent else False)
        self._compose(config)

    def _compose(self, config: AgentConfig) -> None:
        pair = row(
            stack(Label(self.tr("Name"), "caption"), self.name, spacing=4),
            stack(Label(self.tr("Turn limit"), "caption"), self.turns, spacing=4),
            spacing=12,
        )
        pair.setStretch(0, 2)
        pair.setStretch(1, 1)
        self.body.addLayout(pair)
        self.body.addLayout(stack(Label(self.tr("Model"), "caption"), self.model, spacing=4))
        self.body.addLayout(stack(Label(self.tr("Instructions"), "caption"), self.prompt, spacing=4))
        allowed = config.allowed_tools if config.allowed_tools is not None else DEFAULT_TOOLS
        for tool, box in self.tools.items():
            box.setObjectName(f"agent_sheet.tool.{tool}")
            box.setChecked(tool in allowed)
        self.body.addLayout(
            stack(Label(self.tr("Tools"), "caption"), row(*self.tools.values(), None, spacing=10), spacing=4)
        )
        self.body.addWidget(self.default)
        self.add_button(self.tr("Cancel"), self.dismiss, name="agent_sheet.cancel")
        self._act = self.add_button(self.tr("Save"), self.accept, kind="primary", name="agent_sheet.act")
        self.name.textChanged.connect(lambda text: self._act.setEnabled(bool(text.strip())))
        self._act.setEnabled(bool(self.name.text().strip()))

    @override
    def accept(self) -> None:
        if not self._act.isEnabled():
            return
        wanted = tuple(tool for tool, box in self.tools.items() if box.isChecked())
        config = AgentConfig(
            model=chosen_model(self.model) or None,
            allowed_tools=None if wanted == DEFAULT_TOOLS else wanted,
            max_turns=self.turns.value() or None,
            system_prompt=self.prompt.toPlainText().strip() or None,
        )
        self.finish((self.name.text().strip(), config, self.default.isChecked()))


def same_settings(one: Project, other: Project) -> bool:
    """Whether only what happens in the project differs."""
    return replace(one, counts=other.counts) == other
