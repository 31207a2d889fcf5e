"""Who may import whom, and that what is imported is what is asked for at installation."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_packages_import_only_what_they_may() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout


def imported(folder: Path) -> set[str]:
    """The top-level names of everything that the modules below `folder` import, wherever in the module it stands."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name.partition(".")[0] for name in found}


def test_every_library_that_is_imported_is_a_dependency_of_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked_for = {spelt(re.split(r"[=\[; ]", requirement)[0]) for requirement in project["dependencies"]}
    providers = packages_distributions()
    outside = imported(ROOT / "agentpane") | imported(ROOT / "migrations")
    outside -= set(sys.stdlib_module_names) | {"agentpane", "shiboken6"}  # shiboken6 is Qt's own half
    assert [name for name in outside if not asked_for & set(map(spelt, providers.get(name, ())))] == []


def spelt(distribution: str) -> str:
    return distribution.replace("_", "-").lower()
