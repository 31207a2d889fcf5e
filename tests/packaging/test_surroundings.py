"""The test surroundings themselves: nothing of the host is seen, left out quietly or left running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

SKIPPED = """
import pytest
@pytest.mark.skipif(True, reason="no such tool")
def test_a(): pass
def test_b(): pytest.skip("not here")
@pytest.mark.xfail(reason="known")
def test_c(): raise AssertionError
@pytest.mark.long
def test_d(): pytest.skip("long ones may")
"""

LEAVES_AN_ORPHAN = """
import subprocess, sys
SPAWN = "import subprocess, sys; subprocess.Popen(['sleep', '600'], start_new_session=True)"
def test_a(): subprocess.run([sys.executable, "-c", SPAWN], check=True)
"""


def pytest_on(folder: Path, source: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text().replace("GRACE_S = 10.0", "GRACE_S = 0.5"))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    surroundings = {**os.environ, "CI": "false", **environment}
    return subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("options", [(), pytest.param(("-n1",), marks=pytest.mark.long)])
def test_a_skipped_test_fails_in_ci_unless_it_is_long(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = pytest_on(tmp_path, SKIPPED, "--long", *options, CI="true")
    assert done.returncode == 1
    assert "1 failed, 1 skipped, 1 xfailed, 1 error" in done.stdout
    assert "no such tool" in done.stdout


def test_a_module_that_skips_itself_fails_in_ci(tmp_path: Path) -> None:
    done = pytest_on(tmp_path, "import pytest\npytest.importorskip('no_such_module')\n", CI="true")
    assert done.returncode != 0
    assert "1 error" in done.stdout


def test_elsewhere_a_skipped_test_is_only_skipped_and_long_ones_are_left_out(tmp_path: Path) -> None:
    done = pytest_on(tmp_path, SKIPPED)
    assert done.returncode == 0
    assert "2 skipped, 1 deselected, 1 xfailed" in done.stdout


@pytest.mark.parametrize("options", [(), pytest.param(("-n1",), marks=pytest.mark.long)])
def test_a_process_that_outlives_the_tests_fails_them_and_is_ended(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = pytest_on(tmp_path, LEAVES_AN_ORPHAN, *options)
    assert done.returncode == 1
    assert "left running after the tests" in done.stdout
    assert "sleep 600" in done.stdout


def test_no_key_and_no_folder_of_the_host_is_seen(tmp_path: Path) -> None:
    source = """
import os, subprocess, keyring
from pathlib import Path
def test_it():
    assert not [name for name in os.environ if name.startswith("ANTHROPIC_")]
    assert list(Path.home().iterdir()) == []
    assert not Path(os.environ["AGENTPANE_HOME"]).exists()
    assert keyring.get_password("agentpane", "x") is None
    shown = subprocess.run(["git", "config", "--list", "--show-origin"], capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in shown.stdout.splitlines()} == {"file:" + os.environ["GIT_CONFIG_GLOBAL"]}
"""
    done = pytest_on(tmp_path, source, ANTHROPIC_API_KEY="secret", GIT_DIR="/nowhere", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_an_x_server_of_our_own_is_there(xvfb: str) -> None:
    script = "from PySide6.QtGui import QGuiApplication as A; print(A([]).platformName())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "DISPLAY": xvfb, "QT_QPA_PLATFORM": "xcb"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "xcb", done.stderr
