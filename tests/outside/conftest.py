"""Boards to meet the program on: one that tests share, and one for a test that spoils its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentpane.paths import DataFolder
from tests.cli.conftest import Commands
from tests.cli.conftest import pane as pane
from tests.cli.conftest import repo as repo
from tests.outside.stage import Stage

KEEP_S = "60"  # the shared engine must not end between two tests that are slow to come


@pytest.fixture(scope="session")
def shared(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    root = (tmp_path_factory.mktemp("shared") / "agentpane").resolve()
    commands = Commands(DataFolder(root), root.parent, {"AGENTPANE_HOME": str(root), "AGENTPANE_IDLE_S": KEEP_S})
    yield commands
    ended = commands("engine", "stop", "--now")
    assert ended.status == 0, ended


@pytest.fixture
def stage(shared: Commands, tmp_path: Path) -> Iterator[Stage]:
    """A stage on the shared board."""
    with ExitStack() as things:
        yield Stage(shared, tmp_path, things)


@pytest.fixture
def alone(pane: Commands, tmp_path: Path) -> Iterator[Stage]:
    """A stage with a data folder and an engine of its own."""
    with ExitStack() as things:
        yield Stage(pane, tmp_path, things)
