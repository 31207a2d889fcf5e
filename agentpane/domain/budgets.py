"""How much may be used, in dollars and in tokens, and what has been used of it."""

from __future__ import annotations

from dataclasses import dataclass

WARNING_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Budget:
    """None: no limit. `tokens` counts all that a model read and wrote, the cache's part included."""

    usd: float | None = None
    tokens: int | None = None


NO_BUDGET = Budget()
