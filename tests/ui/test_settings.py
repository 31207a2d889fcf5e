"""Settings: what is typed reaches the engine, what the engine refuses is said, a key is never shown."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLineEdit, QSpinBox

from agentpane.api import commands
from agentpane.domain.engine import KeySource, Settings
from agentpane.domain.limits import invalid
from agentpane.domain.projects import DEFAULT_TOOLS
from agentpane.ui.theme import Look
from agentpane.ui.tokens import DARK, LIGHT
from tests.ui.conftest import Stage


@pytest.fixture
def settings(stage: Stage) -> Stage:
    stage.engine.add_project("ledger")
    stage.open()
    stage.trigger("place.settings")
    stage.until(lambda: stage.done(commands.ListModels))
    stage.settle()
    return stage


def test_the_key_is_asked_for_hidden_and_only_its_place_is_shown(settings: Stage) -> None:
    assert "No key yet" in settings.text("settings.key.status")
    settings.click("settings.key")
    settings.sheet("key_sheet")
    field = settings.find("key_sheet.key")
    assert isinstance(field, QLineEdit) and field.echoMode() is QLineEdit.EchoMode.Password
    settings.write("key_sheet.key", "sk-ant-1")
    settings.click("key_sheet.act")
    settings.until(lambda: settings.text("settings.key.status") == "Stored in the system keyring")
    settings.click("settings.key.forget")
    settings.until(lambda: settings.engine.key.source is KeySource.NONE)
    assert settings.engine.stored_keys == ["sk-ant-1", ""]


def test_address_and_model_are_stored(settings: Stage) -> None:
    settings.write("settings.base_url", "http://127.0.0.1:11434")
    model = settings.find("settings.model")
    assert isinstance(model, QComboBox)
    assert model.findData("claude-opus-5") >= 0
    model.setEditText("llama-local")
    settings.click("settings.access.save")
    settings.until(lambda: settings.engine.settings.base_url == "http://127.0.0.1:11434")
    assert settings.engine.settings.default_model == "llama-local"


def test_a_model_of_the_list_is_stored_by_its_name_without_the_price(settings: Stage) -> None:
    model = settings.find("settings.model")
    assert isinstance(model, QComboBox)
    model.setCurrentIndex(model.findData("claude-sonnet-5"))
    assert "$3.00" in model.currentText()
    settings.click("settings.access.save")
    settings.until(lambda: settings.engine.settings.default_model == "claude-sonnet-5")


def test_the_theme_changes_at_once_and_is_kept(settings: Stage) -> None:
    settings.click("settings.theme.light")
    settings.until(lambda: Look.current().tokens is LIGHT)
    assert settings.engine.settings.theme == "light"
    settings.click("settings.theme.dark")
    settings.until(lambda: Look.current().tokens is DARK)


def test_a_theme_chosen_elsewhere_reaches_this_window(stage: Stage) -> None:
    stage.engine.settings = Settings(theme="light")
    stage.open()
    assert Look.current().tokens is LIGHT


def test_the_projects_settings_are_stored(settings: Stage) -> None:
    name = settings.find("settings.project.name")
    assert isinstance(name, QLineEdit) and name.text() == "ledger"
    name.setText("Ledger 2")
    spin = settings.find("settings.project.concurrency")
    assert isinstance(spin, QSpinBox)
    spin.setValue(5)
    settings.find("settings.project.copy_files").setPlainText("a.key\n\n b.cfg ")  # type: ignore[attr-defined]
    settings.write("settings.project.install", "make deps")
    settings.click("settings.project.save")
    settings.until(lambda: settings.done(commands.EditProject))
    project = next(iter(settings.engine.projects.values()))
    assert (project.name, project.max_concurrent_agents) == ("Ledger 2", 5)
    assert project.config.copy_files == ("a.key", "b.cfg")
    assert project.config.install_command == "make deps"
    settings.until(lambda: settings.window.windowTitle() == "Ledger 2 – AgentPane")


def test_what_the_engine_refuses_is_said_beside_the_fields(settings: Stage) -> None:
    settings.engine.faults[commands.EditProject] = invalid("name", "The name is empty.")
    settings.click("settings.project.save")
    settings.until(lambda: settings.shown("settings.fault"))
    assert settings.text("settings.fault").startswith("The name is empty.")
    assert not settings.shown("error_sheet")


def test_an_agent_is_added_with_its_model_and_tools(settings: Stage) -> None:
    settings.click("settings.agent.add")
    settings.sheet("agent_sheet")
    assert not settings.find("agent_sheet.act").isEnabled()
    settings.write("agent_sheet.name", "careful")
    model = settings.find("agent_sheet.model")
    assert isinstance(model, QComboBox)
    model.setEditText("claude-opus-5")
    settings.find("agent_sheet.tool.Bash").setChecked(False)  # type: ignore[attr-defined]
    settings.click("agent_sheet.act")
    settings.until(lambda: settings.done(commands.AddAgent))
    (command,) = settings.done(commands.AddAgent)
    assert isinstance(command, commands.AddAgent)
    assert (command.name, command.config.model) == ("careful", "claude-opus-5")
    assert command.config.allowed_tools == tuple(tool for tool in DEFAULT_TOOLS if tool != "Bash")
    settings.until(lambda: len(settings.window.desk.known.agents) == 2)


def test_removing_a_project_says_what_is_kept(settings: Stage) -> None:
    settings.engine.add_project("other")
    settings.click("settings.project.remove")
    settings.sheet("confirm_sheet")
    settings.click("confirm_sheet.cancel")
    settings.settle()
    assert not settings.done(commands.RemoveProject)
    settings.click("settings.project.remove")
    settings.sheet("confirm_sheet")
    settings.press(Qt.Key.Key_Return)
    if not settings.done(commands.RemoveProject) and settings.shown("confirm_sheet.act"):
        settings.click("confirm_sheet.act")
    settings.until(lambda: settings.done(commands.RemoveProject))
