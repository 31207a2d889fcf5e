"""Measure two things in turn and compare them: the machine's mood then falls on both alike.

A row is a module `benchmarks/row_NN_name.py` with a docstring and a function `run() -> list[Figure]`.
It builds its own data in `scratch_folder()` and calls `compare` for each of its figures.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LEAST_ROUNDS = 7
MEMORY_DISK = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Target:
    """What the ratio of ours to the floor should be."""

    bound: float
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One comparison: medians in `unit`, and their ratio, ours over the floor."""

    name: str
    ours: float
    floor: float
    ratio: float
    target: Target
    unit: str

    @property
    def met(self) -> bool:
        return self.target.met(self.ratio)


def at_most(bound: float) -> Target:
    return Target(bound)


def at_least(bound: float) -> Target:
    return Target(bound, at_least=True)


def compare(
    name: str,
    ours: Callable[[], float],
    floor: Callable[[], float],
    target: Target,
    unit: str = "ms",
    rounds: int = LEAST_ROUNDS,
) -> Figure:
    """Take both measures in turn, `rounds` times after one that does not count, and compare their medians.

    ours, floor: each measures once and returns the figure in `unit`; use `milliseconds` for a plain call.
    Raises ValueError for fewer than seven rounds: a median of less says little.
    """
    if rounds < LEAST_ROUNDS:
        raise ValueError(f"at least {LEAST_ROUNDS} rounds, not {rounds}")
    ours(), floor()
    of_ours, of_floor = [], []
    for number in range(rounds):
        if number % 2:  # whoever goes second may find the caches warm
            of_floor.append(floor())
            of_ours.append(ours())
        else:
            of_ours.append(ours())
            of_floor.append(floor())
    return figure(name, of_ours, of_floor, target, unit)


def figure(name: str, ours: list[float], floor: list[float], target: Target, unit: str) -> Figure:
    """Compare measures that were taken elsewhere, interleaved all the same."""
    middle_ours, middle_floor = statistics.median(ours), statistics.median(floor)
    if middle_floor <= 0:
        raise ValueError(f"the floor of {name!r} measured {middle_floor} {unit}: nothing can be compared with it")
    return Figure(name, middle_ours, middle_floor, middle_ours / middle_floor, target, unit)


def milliseconds(action: Callable[[], object]) -> Callable[[], float]:
    """A measure of how long `action` takes, with the garbage collector run beforehand and then held off."""

    def measure() -> float:
        gc.collect()
        gc.disable()
        try:
            start = time.perf_counter()
            action()
            return (time.perf_counter() - start) * 1_000
        finally:
            gc.enable()

    return measure


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder in memory where the system has one, gone afterwards: no figure rests on a disk."""
    parent = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="agentpane-bench-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
