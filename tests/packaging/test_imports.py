"""What each entrance loads: the window and the commands start quickly because they leave the heavy libraries alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY_FOR_CLIENTS = {"sqlalchemy", "alembic", "git", "anthropic", "pydantic"}
QT = {"PySide6", "shiboken6", "qasync"}


def loaded_by(module: str) -> set[str]:
    """The top-level modules in a fresh interpreter after importing `module`."""
    script = f"import sys, {module}\nprint('\\n'.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("agentpane.ui", HEAVY_FOR_CLIENTS),
        ("agentpane.cli", HEAVY_FOR_CLIENTS | QT),
        ("agentpane.api", HEAVY_FOR_CLIENTS | QT),
        ("agentpane.domain", HEAVY_FOR_CLIENTS | QT),
        ("agentpane.orchestrator", QT),
        ("agentpane.__main__", HEAVY_FOR_CLIENTS | QT),
    ],
)
def test_importing_a_package_loads_nothing_heavy_that_is_not_its_own(module: str, unwanted: set[str]) -> None:
    assert loaded_by(module) & unwanted == set()
