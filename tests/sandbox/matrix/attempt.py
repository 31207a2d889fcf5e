"""What an attempt and a guarantee are.

An attempt succeeds or fails twice: without any protection, where it has to succeed, and in a tier, where it has
to be what the matrix says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import Sandbox, landlock

from .scene import Scene

# What only Landlock's scope of signals keeps apart in tier B.
UNSCOPED = "before Linux 6.12 Landlock does not keep signals from other processes of the same user"


class Attempt(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]:
        """What a machine has to offer for the attempt to succeed unprotected; see `features`."""
        ...

    @property
    def gaps(self) -> Mapping[Tier, str]:
        """Where it succeeds all the same although the rest of its guarantee holds, and why."""
        ...

    @property
    def held(self) -> frozenset[Tier]:
        """Where it is stopped all the same although its guarantee has a gap there."""
        ...

    @property
    def scoped(self) -> bool:
        """Whether tier B stops it by the scope of signals alone, which older kernels lack."""
        ...

    async def unprotected(self, scene: Scene) -> bool:
        """Try it with the protection off; did it succeed?"""
        ...

    async def confined(self, scene: Scene, sandbox: Sandbox) -> bool:
        """Try it in a tier; did it succeed?"""
        ...


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A row of the matrix.

    gaps: the tiers in which it does not hold, and why, in words for the documentation. scoped: see Attempt.
    """

    name: str
    sentence: str
    attempts: tuple[Attempt, ...]
    gaps: Mapping[Tier, str] = field(default_factory=dict)
    scoped: bool = False

    def gap(self, attempt: Attempt, tier: Tier) -> str | None:
        """Why the attempt succeeds in a tier of this machine; None where it is stopped."""
        if tier is Tier.LANDLOCK and (self.scoped or attempt.scoped) and landlock.abi() < landlock.SCOPES_ABI:
            return UNSCOPED
        return self.gap_in_general(attempt, tier)

    def gap_in_general(self, attempt: Attempt, tier: Tier) -> str | None:
        """Why it succeeds in a tier of a machine whose kernel is new enough for all of Landlock."""
        if tier in attempt.gaps:
            return attempt.gaps[tier]
        return None if tier in attempt.held else self.gaps.get(tier)
