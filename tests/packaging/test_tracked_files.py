"""What is committed works anywhere: no index address, no path of one machine, and a lock in step with the project."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Spelt in pieces, so that this file does not name what it looks for.
INDEX = "|".join(["pypi" + r"\.org", "files" + r"\.pythonhosted", r"--(extra-)?index" + "-url", "find" + "-links"])
HOME = pwd.getpwuid(os.getuid()).pw_dir
OWN_PLACES = [f"{ROOT}/", "/wo" + "rk/", *([f"{HOME}/"] if HOME != "/root" else [])]  # every Linux has a /root
MACHINE = "|".join(map(re.escape, OWN_PLACES))


def texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and b"\0" not in path.read_bytes()[:8_000]:
            yield name, path.read_text(errors="replace")


@pytest.mark.parametrize(
    ("what", "pattern"), [("index address", INDEX), ("path of a machine", MACHINE)], ids=["index", "machine"]
)
def test_no_tracked_file_names_an_index_or_a_machine(what: str, pattern: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found, f"{what}:\n" + "\n".join(found)


def pins(requirements: list[str]) -> set[tuple[str, str]]:
    """(name, version) of each, names spelt as the lock spells them; markers are the resolver's to rewrite."""
    found = set()
    for requirement in requirements:
        pin = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.+!]+)\s*(?:;.*)?", requirement)
        assert pin, f"not an exact pin: {requirement}"
        found.add((re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[2]))
    return found


def locked() -> set[tuple[str, str]]:
    return set(re.findall(r"^([a-z0-9-]+)==([\w.+!]+)", LOCK.read_text(), re.MULTILINE))


def test_the_lock_holds_exactly_what_the_project_asks_for() -> None:
    wanted = pins(PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"])
    assert wanted <= locked()


def test_the_build_backend_is_the_one_in_the_lock() -> None:
    assert pins(PROJECT["build-system"]["requires"]) <= locked()


def test_every_locked_requirement_has_hashes() -> None:
    requirements = re.split(r"^(?=[a-z0-9])", LOCK.read_text(), flags=re.MULTILINE)[1:]
    assert len(requirements) > 30
    for requirement in requirements:
        assert "--hash=sha256:" in requirement, requirement


def test_the_version_is_said_once() -> None:
    from agentpane import __version__

    assert PROJECT["project"]["version"] == __version__
