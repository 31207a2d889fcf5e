"""Many stories, one after the other: first some without a death, to learn the steps; then each step is died at in turn.

`python -m tests.crash.campaign --points 500` prints the histogram. A seed gives the same stories and the same choice
among the steps; when exactly git is hit depends on the machine as well.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agentpane.domain.review import MergeStrategy
from tests.crash.ground import ELSEWHERE, HERE, NOWHERE, Ground
from tests.crash.host import Host
from tests.crash.sequences import ADVANCE, ENTRIES, STORIES
from tests.crash.steps import Point, chosen
from tests.crash.story import Line, Story, ViolatedError

STORIES_A_FOLDER = 8  # the next data folder is new: nothing grows for ever
LEAST = 10
DEATHS, MANY_DEATHS = 2, 4  # in each sequence of an act, all but the first when it is begun again
Kind = tuple[str, str, int]  # of story, where the target is, number of the act
Step = tuple[str, str]


@dataclass(slots=True)
class Known:
    """How often a step occurs in an act of a kind, and how long it takes at most."""

    times: int = 0
    longest_s: float = 0.0


@dataclass(slots=True)
class Campaign:
    """hits: the points of each step that were hit. violations: what was found, in words."""

    place: Path
    seed: int
    deaths: int = DEATHS
    hits: Counter[Step] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    said: Callable[[str], object] = lambda line: None
    known: dict[Kind, dict[Step, Known]] = field(default_factory=dict)
    number: int = 0
    _host: Host | None = None
    _played: int = 0

    @property
    def points(self) -> int:
        return self.hits.total()

    @property
    def least(self) -> int:
        """How often the rarest of the named steps was died at."""
        return min(map(self.hits.__getitem__, self.named), default=0)

    @property
    def named(self) -> set[Step]:
        """The steps that a sequence takes when nobody dies; the others are taken where a death has left something."""
        return {step for steps in self.known.values() for step, known in steps.items() if known.times}

    async def learn(self, kinds: Sequence[tuple[str, str]]) -> None:
        """Play stories in which nobody dies."""
        for name, where in kinds:
            await self._play(name, where, learning=True)

    async def go_on(self, name: str, where: str) -> None:
        """Play one story with some deaths in each of its sequences."""
        await self._play(name, where, learning=False)

    def wanting(self, kind: tuple[str, str], least: int) -> int:
        """How many deaths the named steps of a kind of story still want until each has `least`."""
        steps = {step for known, steps in self.known.items() if known[:2] == kind for step in steps}
        return sum(max(0, least - self.hits[step]) for step in steps & self.named)

    async def close(self) -> None:
        if self._host is not None:
            host, self._host = self._host, None
            await host.stop()

    async def _play(self, name: str, where: str, learning: bool) -> None:
        rng = random.Random(f"{self.seed}-{self.number}")
        self.number += 1
        host = await self._ready()
        ground = Ground(host.folder.root.parent / f"r{self.number}", where, rng, f"token-{self.seed}-{self.number}")
        acts = STORIES[name]

        def points(at: int) -> dict[str, list[Point]]:
            return {} if learning else self._choose(rng, (name, where, at))

        goes_on = acts[1] is ADVANCE  # before the first merge, which can then be no fast-forward
        strategies = [each for each in MergeStrategy if not (goes_on and each is MergeStrategy.FF)]
        story = Story(host, ground, acts, rng.choice(strategies), points, partial(self._remember, name, where))
        began = time.monotonic()
        try:
            await story.play()
        except ViolatedError as violated:
            self.said(f"{self.number}: {violated}")
            self.violations.append(f"story {self.number} of seed {self.seed}, {name}:\n{violated}")
            await self.close()  # what follows begins on clean ground
        for point in story.hits:
            self.hits[point.sequence, point.step] += 1
        self.said(
            f"story {self.number}: {name}, target {where}: {len(story.hits)} deaths, {time.monotonic() - began:.1f} s; "
            f"{self.points} points, least {self.least}"
        )

    async def _ready(self) -> Host:
        if self._played >= STORIES_A_FOLDER:
            await self.close()
        if self._host is None:
            folder = Path(tempfile.mkdtemp(prefix="c", dir=self.place))
            self._host, self._played = Host(folder, ENTRIES), 0
            await self._host.start()
        self._played += 1
        return self._host

    def _choose(self, rng: random.Random, kind: Kind) -> dict[str, list[Point]]:
        """For each sequence of an act the steps that were died at least so far."""
        points: dict[str, list[Point]] = {}
        steps = self.known.get(kind) or self._of(STORIES[kind[0]][kind[2]].sequences)
        for sequence in dict.fromkeys(sequence for sequence, _ in steps):
            found = sorted(step for step in steps if step[0] == sequence)
            rng.shuffle(found)
            rarest = sorted(found, key=self.hits.__getitem__)[: self.deaths]
            points[sequence] = [chosen(rng, *step, steps[step].times, steps[step].longest_s) for step in rarest]
        return points

    def _of(self, sequences: Sequence[str]) -> dict[Step, Known]:
        """What is known of some sequences from acts of every kind."""
        found: dict[Step, Known] = {}
        for steps in self.known.values():
            for step, known in steps.items():
                if step[0] in sequences:
                    before = found.get(step, Known())
                    found[step] = Known(max(before.times, known.times), max(before.longest_s, known.longest_s))
        return found

    def _remember(self, name: str, where: str, at: int, lines: Sequence[Line]) -> None:
        steps = self.known.setdefault((name, where, at), {})
        quiet = not any(hit for _, _, hit, _ in lines)
        seen: Counter[Step] = Counter()
        for number, (sequence, step, hit, began) in enumerate(lines):
            if hit:
                continue
            seen[sequence, step] += 1
            known = steps.setdefault((sequence, step), Known())
            if quiet and number + 1 < len(lines):
                known.longest_s = max(known.longest_s, min(lines[number + 1][3] - began, 0.05))
        if quiet:
            for step_, count in seen.items():
                steps[step_].times = max(steps[step_].times, count)

    def histogram(self) -> str:
        named = sorted(self.named)
        others = sorted({step for steps in self.known.values() for step in steps} - self.named)
        return "\n".join(
            [
                *self._counted(named),
                "Taken only after another death:",
                *self._counted(others),
                f"{self.points:5}  points, {len(named)} named steps, each at least {self.least} times, "
                f"{len(self.violations)} violations, {self.number} stories",
            ]
        )

    def _counted(self, steps: Sequence[Step]) -> list[str]:
        return [f"{self.hits[step]:5}  {step[0]:21} {step[1]}" for step in steps]


KINDS = tuple((name, where) for name in STORIES for where in (HERE, NOWHERE, ELSEWHERE))


async def run(
    place: Path,
    seed: int,
    points: int,
    least: int,
    kinds: Sequence[tuple[str, str]] = KINDS,
    ahead: bool = True,
    said: Callable[[str], object] = lambda line: None,
) -> Campaign:
    """Die at `points` points or more, until each known step was died at `least` times.

    ahead: play each kind once without a death first; else a sequence is lived through once, wherever it is first met.
    """
    campaign = Campaign(place, seed, MANY_DEATHS if least else DEATHS, said=said)
    try:
        await campaign.learn(kinds if ahead else ())
        turns = itertools.cycle(kinds)
        at = 0
        while (campaign.points < points or campaign.least < least) and len(campaign.violations) < 20:
            wanted = max(kinds, key=lambda kind: campaign.wanting(kind, least))
            at += 1
            await campaign.go_on(*(wanted if at % 2 == 0 and campaign.wanting(wanted, least) else next(turns)))
            if at > 40 + points:
                break
    finally:
        said(campaign.histogram())  # also of a run that is broken off
        await campaign.close()
    return campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--least", type=int, default=LEAST)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", type=int, default=len(KINDS), help="of how many kinds of story")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ap-crash-", ignore_cleanup_errors=True) as place:
        done = asyncio.run(
            run(
                Path(place),
                wanted.seed,
                wanted.points,
                wanted.least,
                KINDS[: wanted.kinds],
                said=partial(print, flush=True),
            )
        )
    for violation in done.violations:
        print(f"\n{violation}")
    return 1 if done.violations else 0


if __name__ == "__main__":
    sys.exit(main())
