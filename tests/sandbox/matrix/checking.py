"""Whether a cell of the matrix is true: every attempt, unprotected and in the tier."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import BareSandbox, Sandbox, find_bubblewrap, find_landlock

from .attempt import Attempt, Guarantee
from .features import lacking
from .scene import Stage


@dataclass(frozen=True, slots=True)
class Verdict:
    """wrong: what is not as the matrix says. lacking: what could not be tried here, and why."""

    tried: int
    wrong: tuple[str, ...]
    lacking: tuple[str, ...]


def sample(guarantee: Guarantee, seed: object) -> tuple[Attempt, ...]:
    """One of the attempts that can be tried here; none where there is no such."""
    possible = [attempt for attempt in guarantee.attempts if lacking(attempt.needs) is None]
    return (random.Random(f"{seed} {guarantee.name}").choice(possible),) if possible else ()


async def verdict(guarantee: Guarantee, attempts: Iterable[Attempt], sandboxes: Sequence[Sandbox]) -> Verdict:
    """Each attempt is made once with the protection off, and then in each tier."""
    stage = Stage()
    tried, wrong, not_here = 0, [], []
    try:
        for attempt in attempts:
            reason = lacking(attempt.needs)
            if reason is not None:
                not_here.append(f"{attempt.name}: {reason}")
                continue
            tried += 1
            words = [one async for one in _wrong(guarantee, attempt, sandboxes, stage)]
            wrong += [f"{guarantee.name}, {attempt.name}: {one}" for one in words]
    finally:
        stage.close()
    return Verdict(tried, tuple(wrong), tuple(not_here))


async def _wrong(
    guarantee: Guarantee, attempt: Attempt, sandboxes: Sequence[Sandbox], stage: Stage
) -> AsyncIterator[str]:
    with stage.scene() as free:
        if not await attempt.unprotected(free):
            yield "it does not succeed with the protection off, and proves nothing"
            return
    for sandbox in sandboxes:
        with stage.scene() as confined:
            succeeded = await attempt.confined(confined, sandbox)
        gap = guarantee.gap(attempt, sandbox.tier)
        if succeeded and gap is None:
            yield f"it succeeds in tier {sandbox.tier}"
        if not succeeded and gap is not None:
            yield f"it is stopped in tier {sandbox.tier}, which is said to have a gap: {gap}"


def tier(name: Tier) -> Sandbox | str:
    """The sandbox of a tier, or why this machine has none."""
    if name is Tier.NONE:
        return BareSandbox()
    if name is Tier.BUBBLEWRAP:
        return find_bubblewrap()
    return find_landlock()
