"""Command lines that make no sense: one error, exit 2, one document under --json; and what help shows."""

from __future__ import annotations

import json

import pytest

from agentpane.cli.app import HOMES, main
from agentpane.cli.pane import Pane
from agentpane.paths import data_folder

MISTAKES = [
    ["bogus"],
    ["task"],
    ["task", "add"],
    ["task", "add", "shop"],
    ["task", "add", "shop", "title", "--nonsense"],
    ["task", "move", "t", "elsewhere"],
    ["task", "move", "t", "backlog", "--position", "top"],
    ["agent", "add", "p", "n"],
    ["agent", "add", "p", "n", "--backend", "abacus"],
    ["run", "t", "--policy", "maybe"],
    ["resume", "t", "--afresh", "--finish"],
    ["approve", "t", "--strategy", "octopus"],
    ["reject", "t"],
    ["resolve", "t", "--by-hand", "--done"],
    ["session", "export", "t", "--format", "pdf"],
    ["session", "show", "t", "--from", "0"],
    ["session", "show", "t", "--follow"],
    ["engine", "restart"],
    ["task", "list", "p", "--jsonl"],
]


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_a_validation_error_and_starts_nothing(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    line = [*arguments[:1], "--json", *arguments[1:]]
    assert main(line) == 2
    out, err = capfd.readouterr()
    error = json.loads(out)["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert error["message"] in err
    assert not data_folder().root.exists()


@pytest.mark.parametrize("arguments", [words for words in MISTAKES if "--follow" not in words][:6], ids=" ".join)
def test_for_people_a_mistake_goes_to_stderr(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "VALIDATION_ERROR" in err


def test_json_and_jsonl_together_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "t", "--json", "--jsonl"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "VALIDATION_ERROR"


def test_a_title_after_two_dashes_may_look_like_an_option(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "task", "add", "--nonsense", "--", "p", "--json"]) == 2
    assert "--nonsense" in json.loads(capfd.readouterr().out)["error"]["message"]


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capfd.readouterr().out
    for name in HOMES:
        assert f"\n  {name} " in out
    assert "agentpane serve" in out


@pytest.mark.parametrize("name", sorted(HOMES))
def test_every_command_has_help_with_examples(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capfd.readouterr().out
    assert "Examples:" in out or "Commands:" in out


def test_the_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("agentpane ")
    assert main(["--version", "--json"]) == 0
    assert set(json.loads(capfd.readouterr().out)) == {"version"}


def test_the_state_of_the_engine_is_asked_without_starting_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "status", "--json"]) == 0
    status = json.loads(capfd.readouterr().out)
    assert status["running"] is False
    assert status["pid"] is None
    assert main(["engine", "stop", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == status
    assert not data_folder().root.exists()


def test_a_data_folder_that_cannot_be_made_is_an_error_of_the_surroundings(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTPANE_HOME", "/dev/null/agentpane")
    assert main(["project", "list", "--json"]) == 6
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "ENGINE_UNREACHABLE"


def test_a_command_that_is_interrupted_prints_one_document(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pane, "call", interrupt)
    assert main(["project", "list", "--json"]) == 130
    assert json.loads(capfd.readouterr().out) == {"interrupted": True}
