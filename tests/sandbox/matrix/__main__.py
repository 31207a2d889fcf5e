"""`python -m tests.sandbox.matrix document` writes docs/sandbox.md, `… check` makes attempts and says what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys

from agentpane.domain.sandbox import Tier

from .catalogue import GUARANTEES
from .checking import sample, tier, verdict
from .document import DOCUMENT, render
from .scene import forget_template


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.matrix", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("document", help="write docs/sandbox.md")
    check = commands.add_parser("check", help="make attempts: one of each guarantee, or all")
    check.add_argument("guarantees", nargs="*", help="only these, by their names")
    check.add_argument("--tiers", default="ABC", help="such as AB")
    check.add_argument("--seed", default="", help="which one of each guarantee")
    check.add_argument("--all", action="store_true", help="all attempts")
    given = parser.parse_args()
    if given.command == "document":
        DOCUMENT.write_text(render())
        return 0
    try:
        return asyncio.run(_check(given))
    finally:
        forget_template()


async def _check(given: argparse.Namespace) -> int:
    sandboxes = [tier(Tier(letter)) for letter in given.tiers]
    missing = [found for found in sandboxes if isinstance(found, str)]
    if missing:
        print(*missing, sep="\n")
        return 1
    right = True
    for guarantee in GUARANTEES:
        if given.guarantees and guarantee.name not in given.guarantees:
            continue
        attempts = guarantee.attempts if given.all else sample(guarantee, given.seed)
        found = await verdict(guarantee, attempts, [one for one in sandboxes if not isinstance(one, str)])
        print(f"{guarantee.name}: {found.tried} tried", flush=True)
        print(
            *(f"  wrong: {words}\n" for words in found.wrong),
            *(f"  lacking: {w}\n" for w in found.lacking),
            sep="",
            end="",
        )
        right = right and not found.wrong
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
