"""The tool servers in the settings: added with secrets, tried out, removed; a repository's with their trust."""

from __future__ import annotations

import asyncio

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit, QPlainTextEdit, QWidget

from agentpane.api import commands
from agentpane.domain.engine import McpServer, Settings
from agentpane.domain.mcp import McpCheck, McpTool, RepositoryServers
from agentpane.errors import AgentPaneError, ErrorCode
from tests.ui.conftest import Stage

NOTES = McpServer("notes", command="npx -y notes", environment=(("NOTES", "~/n"),), secret_environment=("TOKEN",))
FOUND = McpCheck("notes", "", (McpTool("mcp__notes__search", "search", "", {}),), ("x.y: a name that cannot be",))


@pytest.fixture
def shown(stage: Stage) -> Stage:
    """The settings of a person who has one server."""
    stage.engine.add_project()
    stage.engine.settings = Settings(mcp_servers=(NOTES,))
    stage.open(1000, 1400)
    stage.trigger("place.settings")
    stage.settle()
    return stage


def test_a_server_is_added_with_its_secret_and_tried_out(stage: Stage) -> None:
    stage.engine.add_project()
    stage.engine.checks["notes"] = FOUND
    stage.open(1000, 1400)
    stage.trigger("place.settings")
    stage.until(lambda: stage.shown("settings.servers.none"))
    stage.click("settings.server.add")
    stage.sheet("server_sheet")
    stage.write("server_sheet.name", "notes")
    stage.write("server_sheet.command", "npx -y notes")
    stage.write("server_sheet.variables", "NOTES=~/n")
    stage.click("server_sheet.secret")
    stage.write("server_sheet.secret.name.0", "TOKEN")
    stage.click("server_sheet.act")
    assert "no value" in stage.text("server_sheet.fault")
    stage.write("server_sheet.secret.value.0", "s3cret")
    stage.click("server_sheet.act")
    stage.until(lambda: stage.shown("settings.server.notes"))
    (sent,) = stage.done(commands.AddMcpServer)
    assert isinstance(sent, commands.AddMcpServer)
    assert sent.server == NOTES and sent.secrets == {"TOKEN": "s3cret"}
    stage.until(lambda: "1 tool: search" in stage.text("settings.server.result.notes"))
    assert "Left out: x.y" in stage.text("settings.server.result.notes")
    assert not stage.shown("settings.servers.none")


def test_changing_a_server_keeps_the_secrets_that_were_not_typed_anew(shown: Stage) -> None:
    shown.click("settings.server.edit.notes")
    shown.sheet("server_sheet")
    assert not shown.find("server_sheet.name").isEnabled()
    variables, value = shown.find("server_sheet.variables"), shown.find("server_sheet.secret.value.0")
    assert isinstance(variables, QPlainTextEdit) and variables.toPlainText() == "NOTES=~/n"
    assert isinstance(value, QLineEdit) and value.text() == "" and value.echoMode() is QLineEdit.EchoMode.Password
    shown.click("server_sheet.kind.address")
    shown.write("server_sheet.url", "http://127.0.0.1:9/mcp")
    shown.find("server_sheet.enabled").setFocus()
    shown.press(Qt.Key.Key_Space)
    shown.click("server_sheet.act")
    shown.until(lambda: shown.done(commands.AddMcpServer))
    (sent,) = shown.done(commands.AddMcpServer)
    assert isinstance(sent, commands.AddMcpServer) and sent.secrets == {}
    assert (sent.server.command, sent.server.url) == (None, "http://127.0.0.1:9/mcp")
    assert sent.server.secret_environment == ("TOKEN",) and not sent.server.enabled
    shown.settle()
    assert not shown.done(commands.CheckMcpServer)  # what is off is not started


def test_a_name_twice_and_a_line_that_is_no_pair_are_said_where_they_were_typed(shown: Stage) -> None:
    shown.click("settings.server.add")
    shown.sheet("server_sheet")
    assert not shown.find("server_sheet.act").isEnabled()
    shown.write("server_sheet.name", "Notes")
    shown.write("server_sheet.command", "x")
    shown.press(Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert "already" in shown.text("server_sheet.fault")
    shown.write("server_sheet.name", "2")
    shown.write("server_sheet.variables", "NOTES")
    shown.click("server_sheet.act")
    assert "NAME=value" in shown.text("server_sheet.fault")
    assert not shown.done(commands.AddMcpServer)


def test_a_check_that_takes_long_says_so_and_can_be_cancelled(shown: Stage) -> None:
    endless: asyncio.Future[McpCheck] = shown.loop.create_future()
    shown.engine.checks["notes"] = endless
    shown.click("settings.server.check.notes")
    assert "Starting it" in shown.text("settings.server.result.notes")
    assert shown.text("settings.server.check.notes") == "Cancel the check of notes"
    shown.settle()
    shown.click("settings.server.check.notes")
    assert not shown.shown("settings.server.result.notes")
    shown.engine.checks["notes"] = McpCheck("notes", "It ended with status 1.")
    shown.settle()
    shown.click("settings.server.check.notes")
    shown.until(lambda: "cannot be used" in shown.text("settings.server.result.notes"))
    shown.engine.faults[commands.CheckMcpServer] = AgentPaneError(ErrorCode.VALIDATION_ERROR, "It is gone.")
    shown.click("settings.server.check.notes")
    shown.until(lambda: shown.text("settings.server.result.notes") == "It is gone.")


def test_removing_a_server_says_what_is_forgotten(shown: Stage) -> None:
    shown.click("settings.server.remove.notes")
    sheet = shown.sheet("confirm_sheet")
    assert any("TOKEN" in label.text() for label in sheet.findChildren(QLabel))
    shown.click("confirm_sheet.act")
    shown.until(lambda: shown.shown("settings.servers.none"))
    assert shown.engine.settings.mcp_servers == ()


def test_the_repositorys_servers_are_shown_and_trusted_as_they_stand(stage: Stage) -> None:
    project = stage.engine.add_project(
        "ledger", trusted=False, trust_digest="d1", trust_pending=("install: make", "tool server db: python3 db.py")
    )
    stage.engine.servers[project.id] = RepositoryServers((McpServer("db", command="python3 db.py"),))
    other = stage.engine.add_project("other")
    window = stage.open(1000, 1400)
    stage.trigger("place.settings")
    stage.until(lambda: stage.shown("settings.servers.repository"))
    box = stage.find("settings.servers.repository")
    said = [widget.accessibleName() for widget in box.findChildren(QWidget)]
    assert "db, python3 db.py, Not trusted" in said
    assert any("install: make" in words for words in said)
    stage.click("settings.servers.trust")
    stage.until(lambda: not stage.shown("settings.servers.trust"))
    (sent,) = stage.done(commands.TrustProject)
    assert isinstance(sent, commands.TrustProject) and (sent.project, sent.digest) == (project.id, "d1")
    window.desk.acts.show_project(other.id)
    stage.until(lambda: not stage.shown("settings.servers.repository"))
