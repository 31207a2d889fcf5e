"""Each vector works under plain git, and none does anything to what the engine asks of git."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from agentpane.worktrees.git import runner as starting
from agentpane.worktrees.keeping import contents
from tests.conftest import HOST_ENVIRONMENT

from .calls import CALLS
from .catalogue import ALONE, TOGETHER, VECTORS
from .checking import answers, proves_nothing, wrong
from .document import DOCUMENT, render
from .scene import Stage
from .vector import Place, Vector

SEED = HOST_ENVIRONMENT.get("AGENTPANE_MATRIX_SEED", "")  # another one plants others
SAMPLE = 2


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's patience is shorter here than in earnest."""
    monkeypatch.setattr(starting, "LOOK_AFTER", 0.3)
    monkeypatch.setattr(starting, "CONFIG_TIMEOUT", 1.0)
    monkeypatch.setattr(contents, "LISTING_TIMEOUT", 1.0)


def test_there_are_more_than_a_hundred_vectors_and_no_two_are_the_same() -> None:
    assert [name for name, times in Counter(vector.name for vector in VECTORS).items() if times > 1] == []
    assert len(VECTORS) > 100 and len(TOGETHER) > 40
    assert {vector.place for vector in VECTORS} == set(Place)


def test_the_page_lists_them() -> None:
    assert DOCUMENT.read_text() == render(), "python -m tests.worktrees.vectors"


async def test_what_can_be_planted_together_works_under_plain_git_and_not_under_ours(stage: Stage) -> None:
    assert proves_nothing(stage, TOGETHER) == []
    with stage.scene() as clean:
        expected = await answers(clean)
    assert [name for name, answer in expected.items() if isinstance(answer, Exception)] == []
    assert await wrong(stage, TOGETHER, expected) == []


@pytest.mark.parametrize("vector", random.Random(SEED).sample(ALONE, SAMPLE), ids=lambda vector: vector.name)
async def test_what_has_to_be_planted_alone_works_under_plain_git_and_not_under_ours(
    stage: Stage, vector: Vector
) -> None:
    assert proves_nothing(stage, [vector]) == []
    assert await wrong(stage, [vector], None) == []


async def test_a_vector_that_works_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is forced a hook runs; and what never works under plain git proves nothing."""
    hooked = next(one for one in VECTORS if one.name == "hook reference-transaction")
    idle = Vector("idle", Place.TREE, "", lambda scene: None, lambda scene: False, lambda scene: False)
    assert proves_nothing(stage, [hooked, idle]) == ["idle"]
    monkeypatch.setattr("agentpane.worktrees.git.config.ALWAYS", {})
    calls = [call for call in CALLS if call.name == "a worktree for a branch that exists"]
    assert await wrong(stage, [hooked], None, calls) == ["hook reference-transaction: it has worked"]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
async def test_every_vector_is_planted_alone_against_each_call_of_its_own(stage: Stage, vector: Vector) -> None:
    assert proves_nothing(stage, [vector]) == []
    assert await wrong(stage, [vector], None) == []
    for call in CALLS:
        assert await wrong(stage, [vector], None, [call]) == []
