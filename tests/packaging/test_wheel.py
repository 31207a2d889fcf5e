"""The built wheel, as a person would get it: into an empty environment, with everything it needs inside."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(kind: str, folder: Path, source: Path = ROOT) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (built,) = folder.iterdir()
    return built


def started(command: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=600)


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.split("\0") if name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, host_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an empty environment that the wheel was installed into, outside the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    uv = Path(sys.executable).with_name("uv")
    made = started([sys.executable, "-m", "venv", folder], host_environment)
    assert made.returncode == 0, made.stderr
    python = folder / "bin" / "python"
    done = started([uv, "pip", "install", "--python", python, wheel], host_environment)
    if done.returncode != 0:  # an index that only pip is told of
        done = started([python, "-m", "pip", "install", wheel], host_environment)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_wheel_holds_the_package_the_migrations_and_the_resources(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    wanted = tracked("agentpane") | {f"agentpane/_data/{name}" for name in tracked("migrations", "resources")}
    assert wanted <= inside
    extra = {name for name in inside - wanted if ".dist-info/" not in name}
    assert not [name for name in extra if name.startswith(("tests", "benchmarks", "devtools", "docs"))]


def test_the_wheel_that_the_source_archive_gives_is_the_same(wheel: Path, tmp_path: Path) -> None:
    archive = build("sdist", tmp_path / "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert not (source / ".venv").exists()
    again = build("wheel", tmp_path / "wheel", source)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())


@pytest.mark.timeout(900)
def test_the_installed_command_explains_itself(installed: Path) -> None:
    done = subprocess.run([installed / "agentpane", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


@pytest.mark.timeout(900)
def test_the_installed_program_finds_its_migrations_and_resources_inside_itself(
    installed: Path, tmp_path: Path
) -> None:
    script = "from agentpane.paths import shipped; print(shipped('migrations')); print(shipped('resources'))"
    done = subprocess.run(
        [installed / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    migrations, resources = map(Path, done.stdout.split())
    for folder in (migrations, resources):
        assert folder.is_dir()
        assert folder.is_relative_to(installed.parent)


@pytest.mark.timeout(900)
def test_the_installed_program_plays_the_sample_project_to_a_real_merge(installed: Path, home: Path) -> None:
    done = subprocess.run(
        [installed / "agentpane", "demo", "--headless", "--json"], cwd=home, capture_output=True, text=True, timeout=120
    )
    stopped = subprocess.run([installed / "agentpane", "engine", "stop", "--now"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert stopped.returncode == 0, stopped.stderr
    answer = json.loads(done.stdout)
    (repository,) = [path.parent for path in (home / "agentpane" / "demo").rglob(".git") if path.is_dir()]
    parents = subprocess.run(
        ["git", "rev-list", "--parents", "-1", answer["merge_commit"]],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(parents) == 3  # itself and the two that it joins
