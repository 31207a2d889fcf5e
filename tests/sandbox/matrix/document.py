"""docs/sandbox.md, as the catalogue has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from agentpane.domain.sandbox import Tier

from .attempt import UNSCOPED, Attempt, Guarantee
from .catalogue import GUARANTEES

DOCUMENT = Path(__file__).parents[3] / "docs" / "sandbox.md"
PAGE = Path(__file__).with_name("page.md")  # its prose, with places for the table and the attempts
WIDTH = 118


def render() -> str:
    notes: dict[str, int] = {}
    rows = [_row(guarantee, notes) for guarantee in GUARANTEES]
    number = sum(len(guarantee.attempts) for guarantee in GUARANTEES)
    lines = ["| guarantee | A | B | C | attempts |", "|---|---|---|---|---|", *rows]
    lines += [f"| all | | | | {number} |", "", *(f"{n}. {_sentence(text)}" for text, n in notes.items())]
    details = "\n\n".join("\n".join(_details(guarantee)) for guarantee in GUARANTEES)
    return PAGE.read_text().replace("@table@", "\n".join(lines)).replace("@attempts@", details)


def _row(guarantee: Guarantee, notes: dict[str, int]) -> str:
    cells = [_cell(guarantee, tier, notes) for tier in Tier]
    return f"| {guarantee.sentence} | {' | '.join(cells)} | {len(guarantee.attempts)} |"


def _cell(guarantee: Guarantee, tier: Tier, notes: dict[str, int]) -> str:
    gaps = [guarantee.gap_in_general(attempt, tier) for attempt in guarantee.attempts]
    words = list(dict.fromkeys(gap for gap in gaps if gap is not None))
    if tier is Tier.LANDLOCK and (guarantee.scoped or any(attempt.scoped for attempt in guarantee.attempts)):
        words.append(UNSCOPED)
    numbers = ", ".join(str(notes.setdefault(text, len(notes) + 1)) for text in words)
    verdict = "gap" if None not in gaps else "in part" if any(gaps) else "holds"
    return f"{verdict} ({numbers})" if numbers else verdict


def _details(guarantee: Guarantee) -> Iterator[str]:
    yield f"**{guarantee.name[0].upper()}{guarantee.name[1:]}.** {guarantee.sentence}."
    yield from _wrapped(f"{_attempt(guarantee, attempt)};" for attempt in guarantee.attempts)


def _attempt(guarantee: Guarantee, attempt: Attempt) -> str:
    """Its name, and the tiers that treat it otherwise than most of its guarantee."""
    exceptions = []
    for tier in Tier:
        usual, here = guarantee.gaps.get(tier), guarantee.gap_in_general(attempt, tier)
        if (usual is None) != (here is None):
            exceptions.append(f"{'stopped' if here is None else 'gap'} in {tier}")
    return f"{attempt.name} ({', '.join(exceptions)})" if exceptions else attempt.name


def _wrapped(pieces: Iterable[str]) -> Iterator[str]:
    line = ""
    for piece in pieces:
        if line and len(line) + 1 + len(piece) > WIDTH:
            yield line
            line = ""
        line = f"{line} {piece}" if line else piece
    yield line.removesuffix(";") + "."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
