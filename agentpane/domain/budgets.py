"""How much may be used, in dollars and in tokens, what has been used of it, and what follows from that.

A run is held to four budgets at once: its own, its task's, its project's and the day's. What a person gives to one
run by hand takes the place of them all for that run, in the unit in which it is given: dollars, tokens or both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.limits import invalid
from agentpane.errors import AgentPaneError, ErrorCode

WARNING_SHARE = 0.8
LARGEST_STEP = 50_000  # tokens that one turn may add to a conversation that is still small
CACHE_WRITE_RATE = 1.25  # of the price of what is read anew
MOST_USD = 1_000_000.0
MOST_TOKENS = 10**12


@dataclass(frozen=True, slots=True)
class Budget:
    """None: no limit. `tokens` counts all that a model read and wrote, the cache's part included."""

    usd: float | None = None
    tokens: int | None = None

    @property
    def is_set(self) -> bool:
        return self.usd is not None or self.tokens is not None

    def without_units_of(self, other: Budget) -> Budget:
        """What of it is in units that the other one says nothing of."""
        return Budget(
            self.usd if other.usd is None else None,
            self.tokens if other.tokens is None else None,
        )

    def over(self, other: Budget) -> Budget:
        """This one, and the other's limits in units of which it says nothing."""
        rest = other.without_units_of(self)
        return Budget(rest.usd if self.usd is None else self.usd, rest.tokens if self.tokens is None else self.tokens)


NO_BUDGET = Budget()


class Scope(StrEnum):
    RUN = "run"
    TASK = "task"
    PROJECT = "project"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Spent:
    """What model calls have used. usd: of the calls whose cost is known; `unpriced`: how many others there were.

    largest: what the most expensive single call used.
    """

    usd: float = 0.0
    tokens: int = 0
    unpriced: int = 0
    largest_usd: float = 0.0
    largest_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Most:
    """What a request that is under way can use at most. 0: not known."""

    usd: float = 0.0
    tokens: int = 0


def most_of_request(context: int, answer: int, usd_of_million: tuple[float | None, float | None]) -> Most:
    """Of a request by a run whose last one had `context` tokens. answer: the most that the model may write.

    usd_of_million: of tokens in and out. What is new may be as much again and LARGEST_STEP more, and is written into
    the model's cache.
    """
    read = 2 * context + LARGEST_STEP
    inward, outward = usd_of_million
    known = inward is not None and outward is not None
    usd = (read * CACHE_WRITE_RATE * (inward or 0.0) + answer * (outward or 0.0)) / 1_000_000 if known else 0.0
    return Most(usd, read + answer)


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget and what has been used of it."""

    scope: Scope
    budget: Budget
    spent: Spent

    @property
    def share(self) -> float:
        """How much of it is used: 1.0 is all. Of dollars and tokens, whichever is further."""
        return max(_share(self.spent.usd, self.budget.usd), _share(self.spent.tokens, self.budget.tokens))

    @property
    def is_reached(self) -> bool:
        return self.share >= 1.0

    @property
    def is_near(self) -> bool:
        return WARNING_SHARE <= self.share < 1.0

    @property
    def is_blind(self) -> bool:
        """Whether dollars are limited and nobody knows what some calls have cost."""
        return self.budget.usd is not None and self.spent.unpriced > 0

    def has_room_beside(self, others: Sequence[Most]) -> bool:
        """Whether one more request may begin while `others` are under way, so that at most one goes beyond.

        None is taken for less than twice the largest call so far; before there is one, requests go one at a time.
        """
        if not others:
            return True
        if self.budget.usd is not None:
            if not self.spent.largest_usd:
                return False
            most = sum(max(one.usd, 2 * self.spent.largest_usd) for one in others)
            if self.spent.usd + most >= self.budget.usd:
                return False
        if self.budget.tokens is not None:
            if not self.spent.largest_tokens:
                return False
            most_tokens = sum(max(one.tokens, 2 * self.spent.largest_tokens) for one in others)
            return self.spent.tokens + most_tokens < self.budget.tokens
        return True

    def words(self) -> str:
        """“$4.10 of $5.00 for this task”, in the unit that is further along."""
        in_dollars = _share(self.spent.usd, self.budget.usd) >= _share(self.spent.tokens, self.budget.tokens)
        if self.budget.usd is not None and (in_dollars or self.budget.tokens is None):
            return f"${self.spent.usd:,.2f} of ${self.budget.usd:,.2f} {_FOR[self.scope]}"
        return f"{self.spent.tokens:,} of {self.budget.tokens or 0:,} tokens {_FOR[self.scope]}"


_FOR = {
    Scope.RUN: "for this run",
    Scope.TASK: "for this task",
    Scope.PROJECT: "for this project",
    Scope.DAY: "for today",
}
_HINT = (
    "Resume with more (headless: `resume --budget USD` or `--tokens N`), raise the budget in the settings, "
    "or finish here with what is done. Nothing was lost."
)


def reached(standings: Iterable[Standing]) -> AgentPaneError | None:
    """Why no further request may be made, if so: the budget that is used up furthest."""
    used_up = sorted((one for one in standings if one.is_reached), key=lambda one: one.share, reverse=True)
    if not used_up:
        return None
    worst = used_up[0]
    return AgentPaneError(
        ErrorCode.BUDGET_REACHED,
        f"The budget is used up: {worst.words()}.",
        hint=_HINT,
        details={"scope": worst.scope.value},
    )


def unknown_cost(standings: Sequence[Standing], model: str) -> AgentPaneError | None:
    """Why a budget in dollars cannot be held, if so."""
    blind = next((one for one in standings if one.is_blind), None)
    if blind is None:
        return None
    named = f"“{model}”" if model else "this agent"
    return AgentPaneError(
        ErrorCode.BUDGET_REACHED,
        f"What {named} costs is not known, so the budget of ${blind.budget.usd:,.2f} {_FOR[blind.scope]} "
        "cannot be held.",
        hint="Set a budget in tokens beside it. Resume to let this run go on all the same. Nothing was lost.",
        details={"scope": blind.scope.value, "unpriced": blind.spent.unpriced},
    )


def check_budget(field: str, budget: Budget) -> Budget:
    """Raises AgentPaneError with VALIDATION_ERROR naming the field if a limit is no amount."""
    if budget.usd is not None and not 0 < budget.usd <= MOST_USD:
        raise invalid(field, "A budget in dollars must be more than 0 and at most 1,000,000.")
    if budget.tokens is not None and not 0 < budget.tokens <= MOST_TOKENS:
        raise invalid(field, "A budget in tokens must be more than 0.")
    return budget


def with_more(spent: Spent, more: Budget) -> Budget:
    """The budget of a run that may use `more` from here on."""
    return Budget(
        None if more.usd is None else spent.usd + more.usd,
        None if more.tokens is None else spent.tokens + more.tokens,
    )


def _share(used: float, limit: float | None) -> float:
    return 0.0 if limit is None else used / limit
