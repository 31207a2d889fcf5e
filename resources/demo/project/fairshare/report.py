"""Puts a settled trip into words."""

from __future__ import annotations

from fairshare.ledger import Ledger
from fairshare.settle import settle
from fairshare.split import balances, paid_and_owed


def money(cents: int) -> str:
    return f"{cents / 100:.2f}"


def text(ledger: Ledger) -> str:
    """A line a person, then a line a payment."""
    width = max(len(person) for person in ledger.people)
    lines = []
    for person, (paid, owed) in paid_and_owed(ledger).items():
        verb = "is owed" if paid >= owed else "owes"
        figures = f"paid {money(paid):>7}   share {money(owed):>7}   {verb:>7} {money(abs(paid - owed)):>7}"
        lines.append(f"{person:<{width}}   {figures}")
    lines.append("")
    for payment in settle(balances(ledger)):
        lines.append(f"{payment.giver} gives {payment.taker} {money(payment.cents)}")
    return "\n".join(lines)
