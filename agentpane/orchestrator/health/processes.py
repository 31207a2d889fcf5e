"""Programs that are at work in a worktree although no run of this engine started them.

One that bears the mark of a command of an agent's, and does not descend from this engine, was left by an engine that is
gone. Any other belongs to a person and is only told of.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from agentpane.domain.health import HealthCode
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.health.ailments import Ailment, Ward, ailment
from agentpane.sandbox import COMMAND_MARK

ENDED_S = 5.0


@dataclass(frozen=True, slots=True)
class Stray:
    """left: an engine that is gone left it. began: tells it from another process with the same number."""

    pid: int
    began: float
    name: str
    path: str
    left: bool


@dataclass(frozen=True, slots=True)
class Processes:
    async def look(self, ward: Ward) -> AsyncIterator[Ailment]:
        paths = tuple(row.path for row in ward.rows if row.status is not WorktreeStatus.REMOVED)
        strays = await asyncio.to_thread(_strays, paths) if paths else ()
        for path in sorted({stray.path for stray in strays}):
            left = [stray for stray in strays if stray.path == path and stray.left]
            others = [stray for stray in strays if stray.path == path and not stray.left]
            if left:
                text = f"A command of an agent outlived its engine: {_named(left)}."
                yield ailment(
                    HealthCode.PROCESS_LEFT, text, path, "End it.", about=_about(left), mend=partial(self._end, left),
                    project=ward.project.id,
                )  # fmt: skip
            if others:
                text = f"Programs that no run started are at work in a worktree: {_named(others)}. They are left alone."
                yield ailment(
                    HealthCode.PROCESS_FOREIGN, text, path, about=_about(others), notice=True, project=ward.project.id
                )

    async def on_database(self, database: Path) -> AsyncIterator[Ailment]:
        """Another engine that has lost its lock, or whatever else has the database open."""
        for name, pid, engine in await asyncio.to_thread(_holders, database):
            what = "Another engine" if engine else f"{name} ({pid})"
            fix = f"Two engines on one database lose what they write. End process {pid}." if engine else "Close it."
            text = f"{what} has the database open, process {pid}."
            yield ailment(HealthCode.DATABASE_SHARED, text, str(database), fix, about=(str(pid),), notice=not engine)

    async def _end(self, strays: Sequence[Stray]) -> str:
        alive = await asyncio.to_thread(_end_all, strays)
        if alive:
            raise AgentPaneError(
                ErrorCode.RESOURCE_LOCKED, f"{len(alive)} of them did not end: {_named(alive)}.", "End them by hand."
            )
        return f"Ended: {_named(strays)}."


def _holders(database: Path) -> tuple[tuple[str, int, bool], ...]:
    """Which other processes of this user have the database open: name, number, and whether it is an engine. Blocks."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.uids().real != os.getuid():
                continue
            if any(file.path == str(database) for file in process.open_files()):
                engine = any("agentpane" in word for word in process.cmdline())
                found.append((process.name(), process.pid, engine))
    return tuple(found)


def _strays(paths: Sequence[str]) -> tuple[Stray, ...]:
    ours = os.getpid()
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.uids().real != os.getuid():
                continue
            cwd = process.cwd()
            path = next((each for each in paths if cwd == each or cwd.startswith(f"{each}{os.sep}")), None)
            if path is None or process.pid == ours or any(parent.pid == ours for parent in process.parents()):
                continue
            left = COMMAND_MARK in process.environ()
            found.append(Stray(process.pid, process.create_time(), process.name(), path, left))
    return tuple(found)


def _end_all(strays: Sequence[Stray]) -> list[Stray]:
    """Kill exactly these, and say which of them would not go."""
    processes = []
    for stray in strays:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(stray.pid)
            if process.create_time() == stray.began and COMMAND_MARK in process.environ():
                processes.append(process)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()  # which looks once more that the number is still the same process's
    _, alive = psutil.wait_procs(processes, timeout=ENDED_S)
    return [stray for stray in strays if stray.pid in {process.pid for process in alive}]


def _named(strays: Sequence[Stray]) -> str:
    return ", ".join(f"{stray.name} ({stray.pid})" for stray in strays)


def _about(strays: Sequence[Stray]) -> tuple[str, ...]:
    return tuple(f"{stray.pid}-{stray.began}" for stray in strays)
