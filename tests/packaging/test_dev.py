"""./dev on machines that are not ready: it says what is missing and how to get it, before anything else fails."""

from __future__ import annotations

import ast
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import commands, environment, needs, system
from devtools.needs import Lack, Use
from devtools.words import SetupError

ROOT = Path(__file__).resolve().parents[2]
OLD = """
import runpy, sys
sys.version_info = (3, 8, 1)
sys.argv = ["dev", "check", "x"]
runpy.run_path({!r}, run_name="__main__")
"""


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def with_an_old_python(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", OLD.format(str(ROOT / "dev"))]
    return subprocess.run(command, env={**os.environ, "PATH": str(path)}, capture_output=True, text=True, timeout=30)


def test_any_python_3_can_read_the_entry() -> None:
    ast.parse((ROOT / "dev").read_text(), feature_version=(3, 4))


def test_an_old_python_without_a_newer_one_says_so(tmp_path: Path) -> None:
    done = with_an_old_python(tmp_path)
    assert done.returncode == 6
    assert "needs Python 3.11 or newer; this is 3.8" in done.stderr


def test_an_old_python_hands_over_to_a_newer_one_and_passes_by_a_broken_one(tmp_path: Path) -> None:
    program(tmp_path, "python3.11", "exit 127")
    program(tmp_path, "python3.12", '[ "$1" = -c ] && exit 0; echo "$@"')
    done = with_an_old_python(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(ROOT / "dev"), "check", "x"]


@pytest.mark.parametrize(
    ("arguments", "opens"),
    [
        ([], True),
        (["--new-window"], True),
        (["demo"], True),
        (["demo", "--headless"], False),
        (["task", "list", "P"], False),
        (["--help"], False),
    ],
)
def test_only_what_opens_a_window_needs_a_display(arguments: list[str], opens: bool) -> None:
    assert commands.opens_window(arguments) is opens


def test_no_display_is_said_with_what_works_without_one() -> None:
    with pytest.raises(SetupError, match=r"demo --headless") as caught:
        commands.require_display({}, "linux")
    assert caught.value.status == 6
    commands.require_display({"QT_QPA_PLATFORM": "offscreen"}, "linux")
    commands.require_display({}, "darwin")


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [("git version 2.37.9", True), ("git version 2.38.0", False), ("git version 3.0.1 (Vendor 12)", False)],
)
def test_a_git_that_cannot_merge_without_a_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, lacks: bool
) -> None:
    program(tmp_path, "git", f"echo '{answer}'")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bool(needs.lacking(Use.GIT)) is lacks


def test_bubblewrap_may_be_missing_for_a_run_and_not_for_the_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {lack.what for lack in needs.lacking(Use.AGENTS) if lack.without} == {"bwrap", "rg"}
    assert [lack.without for lack in needs.lacking(Use.AGENTS | Use.TESTS)] == [None, None, None]


def test_without_root_the_one_command_to_type_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "apt-get", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError) as caught:
        system.supply(Lack("Xvfb", ("xvfb",)))
    expected = "sudo apt-get update && sudo apt-get install -y --no-install-recommends xvfb"
    assert expected in str(caught.value)


def test_what_is_optional_is_lived_without_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    system.require(Use.AGENTS)
    assert "going on without rg: agents search files more slowly" in capsys.readouterr().err


def test_on_a_mac_the_command_is_brew_s() -> None:
    assert system.how_to_install([Lack("rg", ("ripgrep",), "ripgrep")], "darwin") == "To install: brew install ripgrep"


def test_a_second_dev_waits_until_the_first_has_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "SCRATCH", tmp_path)
    with environment._alone(), open(tmp_path / "lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tmp_path / "lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_settings_of_the_tools_do_not_cause_a_new_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment.fingerprints()
    project = tmp_path / "pyproject.toml"
    monkeypatch.setattr(environment, "PROJECT", project)
    text = (ROOT / "pyproject.toml").read_text()
    project.write_text(text.replace("line-length = 120", "line-length = 99"))
    assert environment.fingerprints() == before
    project.write_text(text.replace("[project.scripts]", '[project.scripts]\nmore = "agentpane:x"'))
    assert environment.fingerprints() != before


def test_workers_are_chosen_unless_the_person_chose() -> None:
    assert commands.workers(["tests/db"])[0] == "-n"
    assert commands.workers(["-n0"]) == []
    assert commands.workers(["--pdb"]) == []
