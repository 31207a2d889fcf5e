"""The shown project's own settings: its name, its worktrees, its removal."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit

from agentpane.api import commands
from agentpane.domain.limits import CONCURRENCY
from agentpane.domain.pool import POOL_SIZES
from agentpane.domain.projects import Project
from agentpane.ui.desk.desk import Desk
from agentpane.ui.parts.controls import Button, ElidedLabel, Label, row
from agentpane.ui.parts.fields import NumberBox
from agentpane.ui.parts.sheet import open_sheet
from agentpane.ui.settings.settings_parts import Section, same_settings
from agentpane.ui.sheets.ask_sheets import ConfirmSheet
from agentpane.ui.sheets.task_sheet import TextArea


class ProjectSection(Section):
    """How worktrees of the project are made."""

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
        self.pool = NumberBox()
        self.pool.setObjectName("settings.project.pool")
        self.pool.setRange(POOL_SIZES.start, POOL_SIZES.stop - 1)
        self.pool.setMaximumWidth(110)
        self.add_row(
            self.tr("Worktrees made ahead"),
            self.pool,
            self.tr("A card that finds one ready starts at once. Each takes the disk of one checkout; 0 makes none."),
        )
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
        self.pool.setValue(config.pool_size)
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
            pool_size=self.pool.value(),
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
