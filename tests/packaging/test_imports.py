"""What each entrance loads: the window and the commands start quickly because they leave the heavy libraries alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY_FOR_CLIENTS = {"sqlalchemy", "alembic", "git", "anthropic", "pydantic"}
QT = {"PySide6", "shiboken6", "qasync"}


SCRIPT = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
print("\\n".join({name.partition(".")[0] for name in sys.modules}))
"""


def loaded_by(package: str) -> set[str]:
    """The top-level modules in a fresh interpreter after importing `package` and all that lies in it."""
    command = [sys.executable, "-c", SCRIPT, package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("agentpane.ui", HEAVY_FOR_CLIENTS),
        ("agentpane.cli", HEAVY_FOR_CLIENTS | QT),
        ("agentpane.api", HEAVY_FOR_CLIENTS | QT),
        ("agentpane.domain", HEAVY_FOR_CLIENTS | QT),
        ("agentpane.orchestrator", QT),
        ("agentpane.__main__", HEAVY_FOR_CLIENTS | QT),
    ],
)
def test_importing_a_package_loads_nothing_heavy_that_is_not_its_own(package: str, unwanted: set[str]) -> None:
    assert loaded_by(package) & unwanted == set()
