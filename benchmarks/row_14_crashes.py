"""Row 14: how many of 500 deaths of the engine cost anything: each named step of each sequence at least ten times.

Ours counts the violated invariants, over the number of deaths. The harness is `tests/crash`; its histogram is printed.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from benchmarks.harness import MEMORY_DISK, Figure, at_least, at_most
from tests.crash.campaign import LEAST
from tests.crash.campaign import run as play

POINTS = 500
SEED = 0


def run() -> list[Figure]:
    parent = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="apc-", dir=parent, ignore_cleanup_errors=True) as place:
        _be_somebody(Path(place))
        done = asyncio.run(play(Path(place), SEED, POINTS, LEAST))
    print(done.histogram())
    for violation in done.violations:
        print(violation)
    violated, points = float(len(done.violations)), float(done.points)
    return [
        Figure("violated invariants / deaths", violated, points, violated / points, at_most(0), ""),
        Figure("deaths at the rarest step / ten", done.least, LEAST, done.least / LEAST, at_least(1), ""),
        Figure("deaths / five hundred", points, POINTS, points / POINTS, at_least(1), ""),
    ]


def _be_somebody(place: Path) -> None:
    """An identity and sockets of the harness's own; the person's are out of sight."""
    (place / "run").mkdir(mode=0o700)
    config = place / "gitconfig"
    config.write_text("[user]\n\tname = Bench\n\temail = bench@example.invalid\n[gc]\n\tauto = 0\n")
    os.environ.update(GIT_CONFIG_GLOBAL=str(config), GIT_CONFIG_SYSTEM=os.devnull, XDG_RUNTIME_DIR=str(place / "run"))
