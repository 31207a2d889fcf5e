"""Ends what takes too much: processes without number, memory without measure, the last of the disk.

One look at /proc serves all commands of a sandbox, a few times a second and on a thread. A command is known by the
process below which all of its own are. Where there is no /proc (macOS) nothing is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.sandbox import memory

LOOK_EVERY_S = 0.2
GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True)
class Appetite:
    """What all processes of one command may take together. Bytes; `free_disk` is what must be left to others.

    tasks: processes and threads, of which the kernel makes no more where it can be told so.
    """

    processes: int = 512
    tasks: int = 2048
    memory: int = 8 * GIGABYTE
    free_disk: int = GIGABYTE // 2

    @classmethod
    def of_this_machine(cls) -> Appetite:
        """Three fifths of the memory, and at most the default."""
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(memory=min(cls().memory, total * 3 // 5))


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    resident: int  # bytes, those that are shared included


@dataclass(eq=False, slots=True)
class _Watched:
    root: int
    folder: Path
    verdict: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Watchdog:
    """Watches any number of commands."""

    def __init__(self, appetite: Appetite | None = None) -> None:
        self.appetite = appetite or Appetite.of_this_machine()
        self._watched: set[_Watched] = set()
        self._job: asyncio.Task[None] | None = None

    async def watch(self, root: int, folder: Path) -> str:
        """Wait until what runs below `root` takes too much; which, in words for whoever wrote the command."""
        one = _Watched(root, folder)
        self._watched.add(one)
        if self._job is None or self._job.done():
            self._job = asyncio.create_task(self._look_again_and_again())
        try:
            return await one.verdict
        finally:
            self._watched.discard(one)
            if not self._watched and self._job is not None:
                self._job.cancel()
                self._job = None

    async def _look_again_and_again(self) -> None:
        full = await asyncio.to_thread(self._full, {one.folder for one in self._watched})
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            present = tuple(self._watched)
            verdicts = await asyncio.to_thread(self._look, present, full)
            for one, verdict in zip(present, verdicts, strict=True):
                if verdict is not None and not one.verdict.done():
                    one.verdict.set_result(verdict)

    def _look(self, present: tuple[_Watched, ...], full: set[Path]) -> list[str | None]:
        table = _table()
        children: dict[int, list[int]] = {}
        for pid, process in table.items():
            children.setdefault(process.parent, []).append(pid)
        filled = self._full({one.folder for one in present}) - full
        return [self._verdict(table, one.root, _below(one.root, children), one.folder in filled) for one in present]

    def _verdict(self, table: Mapping[int, _Process], root: int, pids: list[int], disk_filled: bool) -> str | None:
        may = self.appetite
        if len(pids) > may.processes:
            return f"It was ended: {len(pids)} processes of it ran at once, and {may.processes} may."
        in_files = memory.in_files(root, pids)
        if sum(table[pid].resident for pid in pids) + in_files > may.memory:  # else looking closer is not worth it
            held = memory.held(pids, in_files) / GIGABYTE
            if held * GIGABYTE > may.memory:
                return f"It was ended: it held {held:.1f} GB of memory, and may hold {may.memory / GIGABYTE:.1f}."
        if disk_filled:
            return f"It was ended: less than {may.free_disk / GIGABYTE:.1f} GB of the disk are free."
        return None

    def _full(self, folders: set[Path]) -> set[Path]:
        """The folders on whose disk too little is left. One that is full from the beginning is nobody's fault."""
        full = set()
        for folder in folders:
            with contextlib.suppress(OSError):
                if shutil.disk_usage(folder).free < self.appetite.free_disk:
                    full.add(folder)
        return full


def _table() -> dict[int, _Process]:
    page = os.sysconf("SC_PAGE_SIZE")
    table: dict[int, _Process] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                    table[int(name)] = _Process(int(fields[1]), int(fields[21]) * page)
    return table


def _below(root: int, children: Mapping[int, list[int]]) -> list[int]:
    """All descendants of a process, without itself."""
    found = list(children.get(root, ()))
    for pid in found:  # grows while it is walked
        found += children.get(pid, ())
    return found
