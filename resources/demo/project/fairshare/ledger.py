"""Reads a ledger: who paid how much, for what, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation


class LedgerError(Exception):
    """A line that cannot be read; the message names it."""


@dataclass(frozen=True)
class Bill:
    payer: str
    cents: int
    what: str
    shared_by: tuple[str, ...]


@dataclass(frozen=True)
class Ledger:
    people: tuple[str, ...]
    bills: tuple[Bill, ...]


def parse(text: str) -> Ledger:
    """Read a ledger. Raises LedgerError, naming the line, if it is not one."""
    people: tuple[str, ...] = ()
    bills = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("people:"):
            people = _names(line.removeprefix("people:"))
        elif people:
            bills.append(_bill(number, line, people))
        else:
            raise LedgerError(f"line {number}: say first who the people are, as in `people: Ana, Ben`")
    return Ledger(people, tuple(bills))


def _bill(number: int, line: str, people: tuple[str, ...]) -> Bill:
    what, _, names = line.partition("->")
    words = what.split(maxsplit=2)
    if len(words) < 3:
        raise LedgerError(f"line {number}: expected a payer, an amount and what it was for")
    shared_by = _names(names) or people
    for name in (words[0], *shared_by):
        if name not in people:
            raise LedgerError(f"line {number}: who is {name}?")
    return Bill(words[0], _cents(number, words[1]), words[2].strip(), shared_by)


def _cents(number: int, amount: str) -> int:
    try:
        return int(Decimal(amount) * 100)
    except (InvalidOperation, ValueError):
        raise LedgerError(f"line {number}: {amount} is not an amount") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
