"""What models have cost, added up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CostGroup(StrEnum):
    RUN = "run"
    TASK = "task"
    AGENT = "agent"
    PROJECT = "project"
    DAY = "day"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class CostLine:
    """One sum. key: the id, the day (YYYY-MM-DD, local time) or the model; label: for people.

    input_tokens excludes the cache's part. cost_usd: of the calls whose cost is known; `unpriced`: how many are not.
    """

    key: str
    label: str
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float
    unpriced: int
    latency_ms: int
