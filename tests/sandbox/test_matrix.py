"""The matrix of docs/sandbox.md is true: every cell, gaps included, by attempts that succeed where nothing protects."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import BareSandbox, BubblewrapSandbox, Sandbox
from tests.conftest import HOST_ENVIRONMENT

from .matrix.attempt import Attempt, Guarantee
from .matrix.catalogue import GUARANTEES
from .matrix.checking import Verdict, sample, tier, verdict
from .matrix.commands import Command
from .matrix.document import DOCUMENT, render
from .matrix.endings import Outliving
from .matrix.features import lacking
from .matrix.hogs import Hog
from .matrix.scene import Stage, forget_template
from .matrix.tools import ToolCall, Waiting
from .ordinary import User

SEED = HOST_ENVIRONMENT.get("AGENTPANE_MATRIX_SEED", "")  # another one makes other attempts
ALL = pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee.name)
# What an ordinary user's sample leaves out, since nothing of it depends on the user.
SLOW = {"after a command", "after Stop", "after the engine"}

Told = Callable[[str, object], None]


@pytest.fixture(scope="module", autouse=True)
def template() -> Iterator[None]:
    yield
    forget_template()


@pytest.fixture
def tiers(bubblewrap: BubblewrapSandbox) -> Sequence[Sandbox]:
    """Every tier of this machine; a kernel without Landlock has no tier B, which the tests' summary says."""
    landlock = tier(Tier.LANDLOCK)
    return (bubblewrap, *(() if isinstance(landlock, str) else (landlock,)), BareSandbox())


def what_is_tried(attempt: Attempt) -> tuple[object, ...]:
    match attempt:
        case Command():
            return ("command", attempt.script, attempt.network, attempt.prepare is None)
        case Hog():
            return ("hog", attempt.script)
        case Outliving():
            return ("outliving", attempt.script, attempt.until, attempt.spoken_with)
        case ToolCall():
            return ("tool", attempt.tool, attempt.path, attempt.prepare, attempt.beside)
        case Waiting():
            return ("waiting", attempt.tool)
    raise AssertionError(f"an attempt of no known kind: {attempt.name}")


def test_there_are_at_least_two_hundred_attempts_and_no_two_are_the_same() -> None:
    tried = Counter(what_is_tried(attempt) for guarantee in GUARANTEES for attempt in guarantee.attempts)
    names = Counter((guarantee.name, attempt.name) for guarantee in GUARANTEES for attempt in guarantee.attempts)
    assert [one for one, times in (*tried.items(), *names.items()) if times > 1] == []
    assert len(tried) >= 500
    assert len({script for kind, script, *_ in tried if kind in ("command", "hog")}) >= 400


def test_the_guarantees_differ_and_every_tier_keeps_some() -> None:
    assert len({guarantee.name for guarantee in GUARANTEES}) == len(GUARANTEES)
    assert len({guarantee.sentence for guarantee in GUARANTEES}) == len(GUARANTEES)
    kept = {tier: sum(tier not in guarantee.gaps for guarantee in GUARANTEES) for tier in Tier}
    assert kept[Tier.BUBBLEWRAP] > kept[Tier.LANDLOCK] > kept[Tier.NONE] > 0


def test_the_page_says_what_the_attempts_show() -> None:
    assert DOCUMENT.read_text() == render(), "python -m tests.sandbox.matrix document"


def told(found: Verdict, guarantee: Guarantee, record_property: Told) -> None:
    for words in found.lacking:
        record_property("not tried", f"{guarantee.name}, {words}")
    assert found.wrong == ()


@ALL
async def test_one_attempt_of_each_guarantee_is_as_the_page_says(
    guarantee: Guarantee, tiers: Sequence[Sandbox], record_property: Told
) -> None:
    told(await verdict(guarantee, sample(guarantee, SEED), tiers), guarantee, record_property)


def test_an_ordinary_users_attempts_are_as_the_page_says(ordinary_user: User, tiers: Sequence[Sandbox]) -> None:
    some = [guarantee.name for guarantee in GUARANTEES if guarantee.name not in SLOW][:: 12 if os.getuid() else 3]
    letters = "".join(one.tier.value for one in tiers)
    done = ordinary_user.run(
        *("-m", "tests.sandbox.matrix", "check", "--tiers", letters, "--seed", f"{SEED} as a user", *some),
        timeout_s=110,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count(": 1 tried") >= len(some) - 3


async def test_a_cell_that_is_not_true_is_found(tiers: Sequence[Sandbox]) -> None:
    """A page that promises too much, one that promises too little, and an attempt that proves nothing."""
    harmless = Command("harmless", "true", lambda scene, ran, before: False)
    reads = Command("reads", "cat @out@/secret.txt", lambda scene, ran, before: scene.secret.encode() in ran.output)
    promised = Guarantee("promised", "In every tier nothing is read", (reads, harmless))
    found = await verdict(promised, promised.attempts, tiers)
    assert [words.split(", ", 1)[1] for words in found.wrong] == [
        "reads: it succeeds in tier C",
        "harmless: it does not succeed with the protection off, and proves nothing",
    ]
    modest = Guarantee("modest", "Everything is read", (reads,), dict.fromkeys(Tier, "it is said to"))
    stopped = (await verdict(modest, modest.attempts, tiers)).wrong
    assert len(stopped) == len(tiers) - 1 and all("is stopped in tier" in words for words in stopped)


def test_a_scene_is_the_same_for_every_attempt() -> None:
    stage = Stage()
    try:
        with stage.scene() as first:
            (first.out / "secret.txt").unlink()
            changed = first.base
        with stage.scene() as second:
            assert second.base != changed and (second.out / "secret.txt").exists()
            (second.worktree / "made").touch()
            kept, mark = second.base, second.mark
        with stage.scene() as third:
            assert third.base == kept and third.mark != mark and not (third.worktree / "made").exists()
    finally:
        stage.close()
    assert not changed.exists() and not kept.exists()


@pytest.mark.long
@pytest.mark.timeout(1800)
@ALL
async def test_every_attempt_is_as_the_page_says(
    guarantee: Guarantee, tiers: Sequence[Sandbox], record_property: Told
) -> None:
    found = await verdict(guarantee, guarantee.attempts, tiers)
    told(found, guarantee, record_property)
    assert found.tried == sum(lacking(attempt.needs) is None for attempt in guarantee.attempts)


@pytest.mark.long
@pytest.mark.timeout(1800)
@ALL
def test_every_attempt_of_an_ordinary_user_is_as_the_page_says(
    guarantee: Guarantee, ordinary_user: User, tiers: Sequence[Sandbox], record_property: Told
) -> None:
    letters = "".join(one.tier.value for one in tiers)
    done = ordinary_user.run(
        "-m", "tests.sandbox.matrix", "check", "--all", "--tiers", letters, guarantee.name, timeout_s=1700
    )
    for line in done.stdout.splitlines():
        if line.startswith("  lacking: "):
            record_property("not tried", f"an ordinary user: {guarantee.name}, {line.removeprefix('  lacking: ')}")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
