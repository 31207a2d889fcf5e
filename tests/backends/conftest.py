"""What the tests of backends share: a place for a run, and the stand-in that speaks the Agent Client Protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.backends.backend_rigs import AcpRig
from tests.backends.conformance import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        made = Place(tmp_path, stack)
        made.worktree.mkdir()
        made.state.mkdir()
        yield made


@pytest.fixture
def rig(place: Place) -> AcpRig:
    return AcpRig(place)
