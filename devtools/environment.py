"""The virtual environment: made once, brought in step when the lock or the project's metadata changed.

Two ./dev at once are safe: the second waits for the first. What is installed is exactly what
requirements.lock names, by hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devtools import system
from devtools.needs import Lack
from devtools.processes import quietly, starts
from devtools.words import SetupError, say

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
STAMP = VENV / "agentpane-installed.json"
SCRATCH = ROOT / ".dev"


def ready() -> Path:
    """The environment's Python, with everything installed that the lock names."""
    with _alone():
        if not _usable():
            _make()
        wanted = fingerprints()
        found = _stamp()
        if found.get("lock") != wanted["lock"]:
            say("installing the exact versions of requirements.lock into .venv")
            _install_locked()
        if found != wanted:
            _install_project()
            STAMP.write_text(json.dumps(wanted))
    return PYTHON


def fingerprints() -> dict[str, str]:
    """What decides about an installation: the lock, and the parts of pyproject.toml that a build reads."""
    project = tomllib.loads(PROJECT.read_text())
    metadata = {
        "build-system": project["build-system"],
        "project": project["project"],
        "hatch": project.get("tool", {}).get("hatch", {}),
    }
    return {
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "project": hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest(),
        "folder": str(ROOT),  # an environment that was moved or copied points to another checkout
    }


def find_uv() -> str | None:
    """A uv that starts; a shim of a version manager may be on PATH and not work."""
    for candidate in (shutil.which("uv"), str(VENV / "bin" / "uv")):
        if candidate and starts([candidate, "--version"]):
            return candidate
    return None


@contextmanager
def _alone() -> Iterator[None]:
    SCRATCH.mkdir(exist_ok=True)
    with open(SCRATCH / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another ./dev that is setting up")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _usable() -> bool:
    return PYTHON.exists() and starts([str(PYTHON), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])


def _make() -> None:
    say(f"making .venv with Python {sys.version_info.major}.{sys.version_info.minor}")
    if VENV.exists():
        shutil.rmtree(VENV)
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        system.supply(Lack("Python's venv module", (f"python3.{sys.version_info.minor}-venv",)))
    if not quietly([sys.executable, "-m", "venv", str(VENV)]):
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError("could not make .venv; what Python said stands above.")


def _install_locked() -> None:
    """With uv where it works, since it takes seconds, else with pip. Either compiles what it installs: an engine that
    has to compile the libraries itself takes three times as long to start."""
    uv = find_uv()
    options = ["--quiet", "--require-hashes", "--compile-bytecode", "--python", str(PYTHON), str(LOCK)]
    if uv and _run([uv, "pip", "sync", *options]):
        return
    if not _run([*_pip(), "install", "--quiet", "--require-hashes", "-r", str(LOCK)]):
        raise SetupError("could not install requirements.lock; what pip said stands above. Nothing else was changed.")


def _install_project() -> None:
    """Editable: the checkout itself is what runs. hatchling comes from the lock, so nothing is fetched."""
    options = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    uv = find_uv()
    if uv and _run([uv, "pip", "install", "--quiet", "--python", str(PYTHON), *options]):
        return
    if not _run([*_pip(), "install", "--quiet", *options]):
        raise SetupError("could not install the project into .venv; what pip said stands above.")


def _pip() -> list[str]:
    if not starts([str(PYTHON), "-m", "pip", "--version"]):
        _run([str(PYTHON), "-m", "ensurepip"])
    return [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]


def _stamp() -> dict[str, str]:
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def _run(command: Sequence[str]) -> bool:
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    return quietly(command, ROOT, environment)
