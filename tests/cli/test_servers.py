"""Tool servers and detection from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cli.conftest import Commands

RUDE = Path(__file__).parents[1] / "tool_servers" / "rude.py"


def test_a_server_is_added_tried_out_and_removed(pane: Commands) -> None:
    command = f"{sys.executable} {RUDE} hostile"
    missing = pane("mcp", "add", "notes", "--command", command, "--secret", "HIDDEN", "--json")
    assert (missing.status, missing.code) == (2, "VALIDATION_ERROR")
    added = pane(
        *("mcp", "add", "notes", "--command", command, "--env", "A=b=c", "--secret", "HIDDEN", "--json"),
        env={"HIDDEN": "s3cret"},
    )
    assert added.document == {
        "name": "notes",
        "command": command,
        "url": None,
        "environment": {"A": "b=c"},
        "secrets": ["HIDDEN"],
        "enabled": True,
    }
    checked = pane("mcp", "check", "notes", "--json").document
    assert checked["ok"] and [tool["name"] for tool in checked["tools"]] == [
        "mcp__notes__dotted_name",
        "mcp__notes__plain",
    ]
    assert len(checked["refused"]) == 10
    pane("mcp", "add", "broken", "--command", "exit 9")
    broken = pane("mcp", "check", "broken")
    assert broken.status == 6 and "exit code 9" in broken.text
    assert [each["name"] for each in pane("mcp", "list", "--json").document] == ["notes", "broken"]
    assert pane("mcp", "remove", "notes", "--json").document == {"name": "notes", "removed": True}
    assert pane("mcp", "check", "notes", "--json").code == "VALIDATION_ERROR"


def test_detect_names_every_backend_and_every_known_program(pane: Commands) -> None:
    found = pane("agent", "detect", "--json").document
    assert {each["backend"] for each in found} == {"anthropic", "claude-code", "acp", "command"}
    assert {each["preset"] for each in found if each["backend"] == "acp"} == {"claude", "codex", "gemini", "opencode"}
    assert pane("agent", "detect").text.startswith("NAME")
