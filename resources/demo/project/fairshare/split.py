"""Divides amounts among people. All amounts are whole cents."""

from __future__ import annotations

from collections import Counter

from fairshare.ledger import Ledger


def shares(cents: int, people: tuple[str, ...]) -> dict[str, int]:
    """What each of `people` owes for a bill that they share equally."""
    return dict.fromkeys(people, cents // len(people))


def paid_and_owed(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """For each person: what they paid, and what their share of everything comes to."""
    paid: Counter[str] = Counter()
    owed: Counter[str] = Counter()
    for bill in ledger.bills:
        paid[bill.payer] += bill.cents
        owed.update(shares(bill.cents, bill.shared_by))
    return {person: (paid[person], owed[person]) for person in ledger.people}


def balances(ledger: Ledger) -> dict[str, int]:
    """What each person gets back; below zero is what they still have to pay."""
    return {person: paid - owed for person, (paid, owed) in paid_and_owed(ledger).items()}
