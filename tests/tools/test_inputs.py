"""What a model sends is never trusted and never raises."""

from __future__ import annotations

import json

import pytest

from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools import TOOL_NAMES, ToolContext, toolbox

from .conftest import Call

REQUIRED = {
    "Read": {"file_path"},
    "Write": {"file_path", "content"},
    "Edit": {"file_path", "old_string", "new_string"},
    "MultiEdit": {"file_path", "edits"},
    "Bash": {"command"},
    "Glob": {"pattern"},
    "Grep": {"pattern"},
    "BashOutput": {"bash_id"},
    "KillShell": {"shell_id"},
    "TodoWrite": {"todos"},
    "ExitPlanMode": {"plan"},
    "AskUser": {"question"},
    "Task": {"description", "prompt"},
}
OPTIONAL = {
    "Read": {"offset", "limit"},
    "Write": set[str](),
    "ExitPlanMode": set[str](),
    "Edit": {"replace_all"},
    "MultiEdit": set[str](),
    "BashOutput": {"filter"},
    "KillShell": set[str](),
    "TodoWrite": set[str](),
    "AskUser": {"options"},
    "Task": {"agent"},
    "Bash": {"timeout", "run_in_background", "description"},
    "Glob": {"path"},
    "Grep": {"path", "glob", "output_mode", "-i", "-n", "-A", "-B", "-C", "head_limit"},
}


def test_the_toolbox_holds_what_is_asked_for_in_one_order() -> None:
    assert list(toolbox(["Grep", "Read", "Unknown"])) == ["Read", "Grep"]
    assert set(TOOL_NAMES) == set(REQUIRED)
    assert {name for name, tool in toolbox(TOOL_NAMES).items() if tool.mutates} == {
        "Write",
        "Edit",
        "MultiEdit",
        "Bash",
    }


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_schema_names_the_inputs_that_models_know(name: str) -> None:
    tool = toolbox([name])[name]
    schema = json.loads(json.dumps(tool.input_schema))
    assert schema["type"] == "object" and tool.description
    assert set(schema["required"]) == REQUIRED[name]
    assert set(schema["properties"]) == REQUIRED[name] | OPTIONAL[name]


@pytest.mark.parametrize("name", sorted(REQUIRED))
async def test_missing_inputs_are_named(call: Call, name: str) -> None:
    result = await call(name, unknown="extra")
    assert result.is_error and result.error_code is ErrorCode.VALIDATION_ERROR
    assert all(f"`{field}`" in result.content for field in REQUIRED[name])


@pytest.mark.parametrize("name", sorted(REQUIRED))
async def test_inputs_of_another_type_are_an_error_result(call: Call, name: str) -> None:
    for wrong in (None, 7, ["list"], {"an": "object"}):
        result = await call(name, **dict.fromkeys(REQUIRED[name], wrong))
        assert result.is_error and result.error_code is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_call_can_be_described_whatever_it_holds(name: str) -> None:
    tool = toolbox([name])[name]
    for value in (None, 7, "", "a\nb\x00", "x" * 10_000):
        line = tool.describe(dict.fromkeys(REQUIRED[name], value))
        assert "\n" not in line and len(line) <= 450
    assert tool.describe({}) == ""


async def test_unknown_inputs_are_ignored(call: Call, context: ToolContext) -> None:
    (context.worktree / "file").write_text("text\n")
    result = await call("Read", file_path="file", encoding="utf-8", purpose={"any": 1})
    assert not result.is_error
