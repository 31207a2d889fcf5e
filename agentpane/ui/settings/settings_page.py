"""Settings: the key, the model, how the window looks, how merges are made; then the shown project and its agents.

Each section is saved by itself; what the engine refuses is said where it was typed.
"""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QScrollArea, QVBoxLayout, QWidget

from agentpane.api import commands
from agentpane.domain.agents import DetectedBackend, ModelChoice
from agentpane.domain.engine import KeySource, Settings
from agentpane.ui.desk.desk import Desk
from agentpane.ui.desk.link import model_environment
from agentpane.ui.parts.controls import Button, Label, row
from agentpane.ui.parts.fields import ChoiceBox
from agentpane.ui.parts.one_of import OneOf
from agentpane.ui.settings.agents_settings import AgentsSection, MachineSection
from agentpane.ui.settings.checks_settings import ChecksSection
from agentpane.ui.settings.permission_settings import BudgetSection, PermissionSection
from agentpane.ui.settings.project_settings import ProjectSection
from agentpane.ui.settings.servers_settings import ServersSection
from agentpane.ui.settings.settings_parts import Section, choice_row, chosen_model, fill_models
from agentpane.ui.sheets.merge_words import strategy_choices

WIDEST = 760


class SettingsPage(QWidget):
    """A full page; it fills its fields from what is known whenever it is shown."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("page")
        self._desk = desk
        self._models: tuple[ModelChoice, ...] = ()
        self._detected: tuple[DetectedBackend, ...] = ()
        inside = QWidget()
        centre = QHBoxLayout(inside)
        centre.setContentsMargins(24, 8, 24, 32)
        column = QVBoxLayout()
        column.setSpacing(20)
        self.access, self.appearance = AccessSection(desk), AppearanceSection(desk)
        self.merging = MergingSection(desk)
        self.machine, self.servers = MachineSection(self._detect), ServersSection(desk)
        self.project, self.agents = ProjectSection(desk), AgentsSection(desk)
        self.checks = ChecksSection(desk)
        self.permissions, self.budgets = PermissionSection(desk), BudgetSection(desk)
        for section in (
            self.access,
            self.machine,
            self.servers,
            self.appearance,
            self.merging,
            self.agents,
            self.permissions,
            self.budgets,
            self.checks,
            self.project,
        ):
            section.setMaximumWidth(WIDEST)
            column.addWidget(section)
        column.addStretch(1)
        centre.addStretch(1)
        centre.addLayout(column, 20)
        centre.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(row(Label(self.tr("Settings"), "title"), None, margins=(24, 16, 24, 8)))
        layout.addWidget(scroll, 1)
        known = desk.known
        known.settings_changed.connect(self._from_settings)
        known.key_changed.connect(self.access.refresh)
        for section in (self.project, self.permissions, self.budgets, self.checks):
            known.current_changed.connect(section.refresh)
        known.current_changed.connect(self._project_changed)
        known.agents_changed.connect(self.agents.refresh)

    def refresh(self) -> None:
        """Fill every field from what is known, and read the models."""
        self._from_settings()
        for section in (self.project, self.permissions, self.agents, self.checks):
            section.refresh()
        self.servers.repository.refresh()
        if not self._detected:
            self._detect()
        if not self._models:
            self._desk.jobs.start(self._read_models(), self.tr("Reading the models"))

    def focus_first(self) -> None:
        self.access.key_button.setFocus(Qt.FocusReason.OtherFocusReason)

    def _from_settings(self) -> None:
        for section in (self.access, self.appearance, self.merging, self.budgets, self.servers):
            section.refresh()

    def _project_changed(self) -> None:
        """The repository's servers are read anew while the page is there to show them."""
        if self.isVisible():
            self.servers.repository.follow()

    def _detect(self) -> None:
        self._desk.jobs.start(self._read_detected(), self.tr("Looking for agents on this machine"))

    async def _read_detected(self) -> None:
        self._detected = await self._desk.link.do(commands.DetectBackends(model_environment()))
        self.machine.show_detected(self._detected)
        self.agents.show_detected(self._detected)
        self.agents.refresh()

    async def _read_models(self) -> None:
        self._models = await self._desk.link.do(commands.ListModels())
        self.access.show_models(self._models)
        self.agents.show_models(self._models)


class AccessSection(Section):
    """The key, the address and the model."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            self.tr("Model access"), self.tr("What your agents think with, unless an agent says otherwise.")
        )
        self._desk = desk
        self._key = Label("", wrap=True)
        self._key.setObjectName("settings.key.status")
        self._warning = Label("", "attention", wrap=True)
        self.key_button = Button(self.tr("Set key"), icon_name="key", name="settings.key", pressed=self._set_key)
        self._forget = Button(self.tr("Forget"), kind="danger", name="settings.key.forget", pressed=self._forget_key)
        line = row(self._key, self._forget, self.key_button)
        line.setStretchFactor(self._key, 1)
        self.add_row(self.tr("Key"), line)
        self.body.addWidget(self._warning)
        self.address = QLineEdit()
        self.address.setObjectName("settings.base_url")
        self.address.setPlaceholderText(self.tr("https://… (empty: ANTHROPIC_BASE_URL, else the public address)"))
        self.add_row(self.tr("Base URL"), self.address)
        self.model = ChoiceBox()
        self.model.setObjectName("settings.model")
        self.model.setEditable(True)
        self.model.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        field = self.model.lineEdit()
        assert field is not None
        field.setPlaceholderText(self.tr("The program's default"))
        field.setAccessibleName(self.tr("Default model"))
        self.add_row(self.tr("Default model"), self.model)
        self.add_save("settings.access.save", self.save)

    def refresh(self) -> None:
        status, settings = self._desk.known.key, self._desk.known.settings
        words = {
            KeySource.KEYRING: self.tr("Stored in the system keyring"),
            KeySource.ENVIRONMENT: self.tr("Taken from ANTHROPIC_API_KEY in the environment"),
            KeySource.FILE: self.tr("Stored in a file that only you can read"),
            KeySource.NONE: self.tr("No key yet. The sample project works without one."),
        }[status.source]
        self._key.show_text(words)
        self._warning.show_text(status.warning)
        self._warning.setVisible(bool(status.warning))
        self._forget.setVisible(status.source in {KeySource.KEYRING, KeySource.FILE})
        self.key_button.setText(self.tr("Set key") if status.source is KeySource.NONE else self.tr("Change key"))
        if not self.address.hasFocus():
            self.address.setText(settings.base_url)
        if not self.model.hasFocus():
            self.model.setEditText(settings.default_model)

    def show_models(self, models: tuple[ModelChoice, ...]) -> None:
        fill_models(self.model, models, self._desk.known.settings.default_model)

    def save(self) -> None:
        settings = replace(
            self._desk.known.settings,
            base_url=self.address.text().strip(),
            default_model=chosen_model(self.model),
        )
        self.store(self._desk, commands.ChangeSettings(settings))

    def _set_key(self) -> None:
        self._desk.actions["key"].trigger()

    def _forget_key(self) -> None:
        self.store(self._desk, commands.StoreKey(""))


class AppearanceSection(Section):
    """Follow the system, light or dark."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(self.tr("Appearance"), "")
        self._desk = desk
        choices = (("system", self.tr("As the system")), ("light", self.tr("Light")), ("dark", self.tr("Dark")))
        self._theme = OneOf(self, "settings.theme", choices, "segment")
        self._theme.chosen.connect(lambda choice: desk.actions[f"theme.{choice}"].trigger())
        self.add_row(self.tr("Theme"), choice_row(self._theme))

    def refresh(self) -> None:
        self._theme.show_choice(self._desk.known.settings.theme)


class MergingSection(Section):
    """How an approved diff reaches the target branch, and in whose name."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(self.tr("Merging"), self.tr("Can be chosen anew in every review."))
        self._desk = desk
        self._strategy = OneOf(self, "settings.strategy", strategy_choices(), "segment")
        self._strategy.chosen.connect(self._choose)
        self.add_row(self.tr("Strategy"), choice_row(self._strategy))
        self.name = QLineEdit()
        self.name.setObjectName("settings.approved_by")
        self.name.setPlaceholderText(self.tr("Your login name"))
        self.add_row(self.tr("Approve as"), self.name)
        self.add_save("settings.merging.save", self.save)

    def refresh(self) -> None:
        settings = self._desk.known.settings
        self._strategy.show_choice(settings.merge_strategy)
        if not self.name.hasFocus():
            self.name.setText(settings.approved_by)

    def save(self) -> None:
        self._change(replace(self._desk.known.settings, approved_by=self.name.text().strip()))

    def _choose(self, strategy: str) -> None:
        self._change(replace(self._desk.known.settings, merge_strategy=strategy))

    def _change(self, settings: Settings) -> None:
        self.store(self._desk, commands.ChangeSettings(settings))
