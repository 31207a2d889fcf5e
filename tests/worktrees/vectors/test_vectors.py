"""Each vector works under plain git, and none does anything to what the engine asks of git."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from agentpane.worktrees import contents
from agentpane.worktrees import git as starting

from .calls import CALLS, Answer
from .catalogue import ALONE, TOGETHER, VECTORS
from .checking import answers, proves_nothing, wrong
from .scene import Stage
from .vector import Vector


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's patience is shorter here than a person's."""
    monkeypatch.setattr(starting, "LOOK_AFTER", 0.3)
    monkeypatch.setattr(starting, "CONFIG_TIMEOUT", 1.0)
    monkeypatch.setattr(contents, "LISTING_TIMEOUT", 1.0)


async def clean(stage: Stage) -> dict[str, Answer]:
    with stage.scene() as scene:
        return await answers(scene)
