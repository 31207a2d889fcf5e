"""Settles balances with few payments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Payment:
    giver: str
    taker: str
    cents: int


def settle(balances: dict[str, int]) -> list[Payment]:
    """Payments that even out these balances: the one who owes most pays the one who is owed most, until all is even."""
    left = {person: cents for person, cents in balances.items() if cents}
    payments = []
    while left:
        giver = min(left, key=lambda person: left[person])
        taker = max(left, key=lambda person: left[person])
        cents = min(-left[giver], left[taker])
        if cents <= 0:  # what is left does not add up to nothing
            break
        payments.append(Payment(giver, taker, cents))
        left[giver] += cents
        left[taker] -= cents
        left = {person: cents for person, cents in left.items() if cents}
    return payments
