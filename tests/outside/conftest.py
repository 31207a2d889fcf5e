"""Boards to meet the program on: one that tests share, and one for a test that spoils its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.conftest import Commands
from tests.cli.conftest import board as board
from tests.cli.conftest import new_database as new_database
from tests.cli.conftest import pane as pane
from tests.cli.conftest import repo as repo
from tests.cli.conftest import shared as shared
from tests.outside.stage import Stage


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
