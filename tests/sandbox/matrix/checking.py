"""Whether a cell of the matrix is true: every attempt, unprotected and in the tier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import BareSandbox, Sandbox, find_bubblewrap, find_landlock

from .attempt import Attempt, Guarantee
from .features import lacking
from .scene import Stage


@dataclass(frozen=True, slots=True)
class Verdict:
    """wrong: what is not as the matrix says. skipped: what could not be tried here, and why."""

    tried: int
    wrong: tuple[str, ...]
    skipped: tuple[str, ...]


async def verdict(guarantee: Guarantee, attempts: Iterable[Attempt], sandbox: Sandbox) -> Verdict:
    stage = Stage()
    tried, wrong, skipped = 0, [], []
    try:
        for attempt in attempts:
            reason = lacking(attempt.needs)
            if reason is not None:
                skipped.append(f"{attempt.name}: {reason}")
                continue
            tried += 1
            words = await _wrong(guarantee, attempt, sandbox, stage)
            wrong += [f"{guarantee.name}, {attempt.name}: {one}" for one in words]
    finally:
        stage.close()
    return Verdict(tried, tuple(wrong), tuple(skipped))


async def _wrong(guarantee: Guarantee, attempt: Attempt, sandbox: Sandbox, stage: Stage) -> list[str]:
    with stage.scene() as free:
        if not await attempt.unprotected(free):
            return ["it does not succeed with the protection off, and proves nothing"]
    with stage.scene() as confined:
        succeeded = await attempt.confined(confined, sandbox)
    gap = guarantee.gap(attempt, sandbox.tier)
    if succeeded and gap is None:
        return [f"it succeeds in tier {sandbox.tier}"]
    if not succeeded and gap is not None:
        return [f"it is stopped in tier {sandbox.tier}, which is said to have a gap: {gap}"]
    return []


def tier(name: Tier) -> Sandbox | str:
    """The sandbox of a tier, or why this machine has none."""
    if name is Tier.NONE:
        return BareSandbox()
    if name is Tier.BUBBLEWRAP:
        return find_bubblewrap()
    return find_landlock()
