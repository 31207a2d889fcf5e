"""Settings: what is typed reaches the engine, what the engine refuses is said, a key is never shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLineEdit, QSpinBox

from agentpane.api import commands, events
from agentpane.domain.agents import BackendName
from agentpane.domain.budgets import Budget, Scope, Spent, Standing
from agentpane.domain.checks import Check
from agentpane.domain.engine import KeySource, Settings
from agentpane.domain.limits import invalid
from agentpane.domain.projects import DEFAULT_TOOLS
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.ui.look.theme import Look
from agentpane.ui.look.tokens import DARK, LIGHT
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


def test_an_agent_is_added_with_its_model_and_tools_and_is_gone_when_the_engine_says_so(settings: Stage) -> None:
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
    added = next(agent for agent in settings.window.desk.known.agents.values() if agent.name == "careful")
    settings.until(lambda: settings.shown(f"settings.agent.{added.id}"))
    settings.engine.publish(events.AgentRemoved(added.id, added.project_id))
    settings.until(lambda: not settings.shown(f"settings.agent.{added.id}"))


def test_removing_a_project_says_what_is_kept(settings: Stage) -> None:
    settings.engine.add_project("other")
    settings.click("settings.project.remove")
    settings.sheet("confirm_sheet")
    settings.press(Qt.Key.Key_Return)  # what discards something is never what Return does unasked
    settings.settle()
    assert not settings.done(commands.RemoveProject)
    settings.click("settings.project.remove")
    settings.sheet("confirm_sheet")
    settings.click("confirm_sheet.act")
    settings.until(lambda: settings.done(commands.RemoveProject))


def test_what_agents_may_do_is_stored(settings: Stage) -> None:
    settings.find("settings.project.policy").setCurrentIndex(0)  # type: ignore[attr-defined]
    rules = "allow Bash(npm test:*)\n\n  deny Read(secrets/**) "
    settings.find("settings.project.rules").setPlainText(rules)  # type: ignore[attr-defined]
    assert not settings.find("settings.project.hosts").isEnabled()
    settings.find("settings.project.network").setCurrentIndex(1)  # type: ignore[attr-defined]
    assert settings.find("settings.project.hosts").isEnabled()
    settings.find("settings.project.hosts").setPlainText("docs.example.org\n*.example.com")  # type: ignore[attr-defined]
    settings.click("settings.project.permissions.save")
    settings.until(lambda: settings.done(commands.EditProject))
    config = next(iter(settings.engine.projects.values())).config
    assert (config.policy, config.network, config.hosts) == ("careful", "hosts", ("docs.example.org", "*.example.com"))
    assert config.rules == ("allow Bash(npm test:*)", "deny Read(secrets/**)")


def test_budgets_of_a_project_and_of_the_day_are_stored(settings: Stage) -> None:
    settings.write("settings.budget.run.usd", "$2.50")
    settings.write("settings.budget.project.tokens", "1,000,000")
    settings.write("settings.budget.day.usd", "20")
    settings.click("settings.budgets.save")
    settings.until(lambda: settings.done(commands.EditProject) and settings.done(commands.ChangeSettings))
    config = next(iter(settings.engine.projects.values())).config
    assert (config.run_budget, config.project_budget) == (Budget(usd=2.5), Budget(tokens=1_000_000))
    assert settings.engine.settings.day_budget == Budget(usd=20.0)


def test_a_budget_that_is_no_number_is_said_beside_the_fields(settings: Stage) -> None:
    settings.write("settings.budget.task.usd", "plenty")
    settings.click("settings.budgets.save")
    settings.until(lambda: settings.shown("settings.fault"))
    assert "A task" in settings.text("settings.fault")
    assert not settings.done(commands.EditProject)


def test_what_this_machine_has_is_shown_with_its_version_and_sign_in(settings: Stage) -> None:
    settings.until(lambda: settings.shown("settings.detected.claude-code."))
    assert "2.1.0" in settings.text("settings.detected.claude-code.")
    assert "Not installed." in settings.text("settings.detected.acp.codex")
    assert settings.text("settings.detected.claude-code.").startswith("Claude Code, 2.1.0")
    assert settings.text("settings.detected.acp.claude").startswith("Claude Code over ACP, ")


@pytest.mark.parametrize(
    ("kind", "command", "wanted"),
    [
        ("Any command", "ruff format .", (BackendName.COMMAND, None, "ruff format .")),
        ("Codex  (not found)", None, (BackendName.ACP, "codex", None)),
        ("Another program that speaks ACP", "my-agent --acp", (BackendName.ACP, None, "my-agent --acp")),
        ("Claude Code", None, (BackendName.CLAUDE_CODE, None, None)),
        ("Claude Code over ACP  (not found)", None, (BackendName.ACP, "claude", None)),
    ],
)
def test_an_agent_of_every_kind_is_added(
    settings: Stage, kind: str, command: str | None, wanted: tuple[BackendName, str | None, str | None]
) -> None:
    settings.until(lambda: settings.shown("settings.detected.claude-code."))
    settings.click("settings.agent.add")
    settings.sheet("agent_sheet")
    box = settings.find("agent_sheet.kind")
    assert isinstance(box, QComboBox)
    box.setCurrentIndex(box.findText(kind))
    assert settings.shown("agent_sheet.command") is (command is not None)
    settings.write("agent_sheet.name", "new one")
    if command is not None:
        assert not settings.find("agent_sheet.act").isEnabled()
        settings.write("agent_sheet.command", command)
    settings.click("agent_sheet.act")
    settings.until(lambda: settings.done(commands.AddAgent))
    (added,) = settings.done(commands.AddAgent)
    assert isinstance(added, commands.AddAgent)
    assert (added.backend, added.config.preset, added.config.command) == wanted


def test_a_run_whose_budget_is_used_up_goes_on_with_more(stage: Stage) -> None:
    project = stage.engine.add_project()
    task = stage.engine.add_task(project.id, "Expensive")
    stage.engine.start(task.card.id)
    stage.engine.standings = (Standing(Scope.PROJECT, Budget(usd=1.0), Spent(usd=1.2)),)
    run = stage.engine.tasks[task.card.id].card.run
    assert run is not None
    paused = replace(run, status=RunStatus.PAUSED, pause_reason=PauseReason.BUDGET)
    stage.engine.change(task.card.id, run=paused)
    window = stage.open()
    window.desk.acts.open_requested.emit(task.card.id)
    stage.settle()
    stage.trigger("task.resume")
    stage.sheet("budget_sheet")
    stage.write("settings.budget.more.usd", "3")
    stage.click("budget_sheet.act")
    stage.until(lambda: stage.done(commands.ResumeRun))
    (sent,) = stage.done(commands.ResumeRun)
    assert isinstance(sent, commands.ResumeRun) and sent.budget == Budget(usd=3.0)


def project_checks(settings: Stage) -> list[Check]:
    return list(next(iter(settings.engine.projects.values())).config.checks)


def test_checks_are_added_moved_and_removed_with_the_keys_staying_on_them(settings: Stage) -> None:
    for name, command in (("tests", "pytest -q"), ("lint", "ruff check .")):
        settings.click("settings.check.add")
        settings.sheet("check_sheet")
        settings.write("check_sheet.name", name)
        settings.write("check_sheet.command", command)
        if name == "lint":
            settings.find("check_sheet.required").click()  # type: ignore[attr-defined]
        settings.click("check_sheet.act")
        settings.until(lambda name=name: [one.name for one in project_checks(settings)][-1:] == [name])
    assert project_checks(settings) == [Check("tests", "pytest -q"), Check("lint", "ruff check .", required=False)]
    settings.until(lambda: settings.shown("settings.check.up.1"))
    settings.find("settings.check.up.1").setFocus()
    settings.press(Qt.Key.Key_Space)
    settings.until(lambda: [one.name for one in project_checks(settings)] == ["lint", "tests"])
    settings.until(lambda: not settings.find("settings.check.up.0").isEnabled())
    settings.click("settings.check.remove.0")
    settings.until(lambda: [one.name for one in project_checks(settings)] == ["tests"])


def test_a_check_that_would_not_do_is_refused_where_it_is_typed(settings: Stage) -> None:
    settings.click("settings.check.add")
    settings.sheet("check_sheet")
    settings.write("check_sheet.name", "tests")
    settings.click("check_sheet.act")
    assert settings.text("check_sheet.fault")
    assert not project_checks(settings)


def test_how_many_worktrees_are_made_ahead_is_set(settings: Stage) -> None:
    box = settings.find("settings.project.pool")
    assert isinstance(box, QSpinBox)
    box.setValue(3)
    settings.click("settings.project.save")
    settings.until(lambda: next(iter(settings.engine.projects.values())).config.pool_size == 3)
